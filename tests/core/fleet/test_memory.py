"""The store in memory: what `tests/contract` does not ask, since it is for tests and simulations."""

from __future__ import annotations

from functools import partial

import pytest

from recloser.fleet import MemoryData, MemoryStore
from recloser.testing import ManualClock


@pytest.fixture
def data(clock: ManualClock) -> MemoryData:
    return MemoryData(clock)


def test_times_are_those_of_the_clock_that_was_given(data: MemoryData, clock: ManualClock) -> None:
    store = MemoryStore(data)
    store.swap("a", 0, 1, "text", ttl=60.0)
    store.send("box", "mail")
    clock.advance(5.0)

    (fact,) = store.news(0).facts
    assert fact.age == 5.0
    assert store.receive("box") == [("mail", 5.0)]
    clock.advance(55.0)
    assert store.get("a") is None
    assert store.news(0).facts == ()


def test_old_mail_is_not_delivered(data: MemoryData, clock: ManualClock) -> None:
    store = MemoryStore(data)
    store.send("box", "old")
    clock.advance(10.0)
    store.send("box", "new")

    assert store.receive("box") == [("new", 0.0)]


def test_a_bell_rings_for_all_others_and_for_nobody_who_has_left(data: MemoryData) -> None:
    heard: list[str] = []
    stores = {name: MemoryStore(data, partial(heard.append, name)) for name in "abc"}

    stores["a"].ring()
    assert sorted(heard) == ["b", "c"]
    heard.clear()
    stores["b"].close()
    stores["a"].swap("x", 0, 1, "", 60.0)

    assert heard == ["c"]


def test_a_quiet_change_rings_nobody(data: MemoryData) -> None:
    heard: list[str] = []
    store = MemoryStore(data)
    _ = MemoryStore(data, lambda: heard.append("rung"))

    store.swap("x", 0, 1, "", 60.0, loud=False)

    assert heard == []


def test_a_flush_loses_all_and_begins_another_life(data: MemoryData) -> None:
    store = MemoryStore(data)
    store.swap("a", 0, 7, "text", 60.0)
    store.send("box", "mail")
    store.beat("me", "", 60.0)
    life = store.news(0).life

    data.flush()

    assert store.get("a") is None
    assert store.receive("box") == []
    assert store.workers() == {}
    news = store.news(0)
    assert news.version == 0
    assert news.life != life


def test_operations_are_counted_by_name(data: MemoryData) -> None:
    store = MemoryStore(data)
    store.get("a")
    store.get("b")
    store.news(0)

    assert data.operations == {"get": 2, "news": 1}
