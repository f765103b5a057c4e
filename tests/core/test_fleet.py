"""The store of a fleet as its engines see it."""

from __future__ import annotations

import inspect
import pickle

import pytest

from recloser import fleet
from recloser.fleet import Fact, News, Store, StoreError


@pytest.mark.parametrize("name", fleet.__all__)
def test_what_an_engine_needs_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(fleet, name))


def test_what_has_not_all_methods_is_no_store() -> None:
    methods = {name: lambda *_: None for name in vars(Store) if not name.startswith("_")}

    assert isinstance(type("Whole", (), methods)(), Store)
    for name in methods:
        lacking = {each: method for each, method in methods.items() if each != name}
        assert not isinstance(type("Lacking", (), lacking)(), Store)


def test_facts_and_news_can_be_sent_to_another_process() -> None:
    news = News(7, (Fact("key payments", 3, "{}", 0.5),), "life")

    assert pickle.loads(pickle.dumps(news)) == news
    assert issubclass(StoreError, Exception)
