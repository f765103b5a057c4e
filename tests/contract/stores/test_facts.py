"""What every store of a fleet promises, whatever engine it is: facts and their news."""

from __future__ import annotations

import pytest
from tests.support import stores
from tests.support.stores import CREW, SHORT, Place, Worker
from tests.support.waiting import PATIENCE, until

from recloser.fleet import MAX_EPOCH, Store, StoreError


def test_a_store_has_all_that_the_protocol_names(store: Store) -> None:
    assert isinstance(store, Store)
    assert store.place


def test_a_new_store_is_empty(store: Store) -> None:
    news = store.news(0)

    assert (news.version, news.facts) == (0, ())
    assert news.life
    assert store.get("key payments") is None
    assert store.receive("box") == []
    assert store.workers() == {}


# Facts


def test_what_was_set_can_be_read_by_others(store: Store, other: Store) -> None:
    assert store.swap("key payments", 0, 3, '{"state": "open"}', 60.0)

    fact = other.get("key payments")

    assert fact is not None
    assert (fact.name, fact.epoch, fact.text) == ("key payments", 3, '{"state": "open"}')
    assert 0.0 <= fact.age < PATIENCE


def test_an_age_grows(store: Store) -> None:
    store.swap("name", 0, 1, "text", 60.0)

    def age() -> float:
        fact = store.get("name")
        assert fact is not None
        return fact.age

    first = age()
    until(lambda: age() > first, "an age grows")


@pytest.mark.parametrize("loud", [True, False])
def test_who_does_not_know_the_epoch_changes_nothing(
    store: Store, other: Store, loud: bool
) -> None:
    assert store.swap("name", 0, 1, "first", 60.0, loud=loud)
    assert other.swap("name", 1, 2, "second", 60.0, loud=loud)

    assert not store.swap("name", 1, 3, "late", 60.0, loud=loud)
    assert not store.swap("name", 0, 3, "late", 60.0, loud=loud)
    assert not store.swap("name", 7, 8, "early", 60.0, loud=loud)

    fact = store.get("name")
    assert fact is not None
    assert (fact.epoch, fact.text) == (2, "second")


@pytest.mark.parametrize("loud", [True, False])
def test_where_there_is_no_fact_any_epoch_is_right(store: Store, loud: bool) -> None:
    assert store.swap("name", 41, 42, "text", 60.0, loud=loud)

    fact = store.get("name")
    assert fact is not None
    assert fact.epoch == 42


@pytest.mark.parametrize("loud", [True, False])
def test_a_fact_whose_time_is_over_is_none(store: Store, loud: bool) -> None:
    store.swap("name", 0, 5, "text", SHORT, loud=loud)

    until(lambda: store.get("name") is None, "the end of a fact")

    assert store.news(0).facts == ()
    assert store.swap("name", 2, 3, "anew", 60.0, loud=loud)
    fact = store.get("name")
    assert fact is not None
    assert (fact.epoch, fact.text) == (3, "anew")


def test_news_are_told_once(store: Store, other: Store) -> None:
    store.swap("a", 0, 1, "one", 60.0)
    store.swap("b", 0, 1, "two", 60.0)

    first = other.news(0)
    again = other.news(first.version)
    store.swap("a", 1, 2, "three", 60.0)
    then = other.news(first.version)

    assert sorted((fact.name, fact.text) for fact in first.facts) == [("a", "one"), ("b", "two")]
    assert again.facts == ()
    assert again.version == first.version
    assert [(fact.name, fact.epoch, fact.text) for fact in then.facts] == [("a", 2, "three")]
    assert then.version > first.version
    assert first.life == again.life == then.life
    assert len(other.news(0).facts) == 2


def test_who_changes_a_fact_has_news_of_it_too(store: Store) -> None:
    version = store.news(0).version
    store.swap("a", 0, 1, "one", 60.0)

    assert [fact.name for fact in store.news(version).facts] == ["a"]


def test_a_quiet_change_is_no_news(store: Store, other: Store) -> None:
    store.swap("loud", 0, 1, "", 60.0)
    version = other.news(0).version
    store.swap("quiet", 0, 1, "one", 60.0, loud=False)
    store.swap("quiet", 1, 2, "two", 60.0, loud=False)
    store.swap("loud", 1, 2, "hush", 60.0, loud=False)

    assert other.news(version).facts == ()
    fact = other.get("quiet")
    assert fact is not None
    assert fact.text == "two"


def test_a_quiet_change_does_not_hide_a_loud_one(store: Store, other: Store) -> None:
    store.swap("name", 0, 1, "loud", 60.0)
    store.swap("name", 1, 2, "quiet", 60.0, loud=False)

    assert [(fact.epoch, fact.text) for fact in other.news(0).facts] == [(2, "quiet")]


def test_a_quiet_fact_can_become_loud(store: Store, other: Store) -> None:
    store.swap("name", 0, 1, "quiet", 60.0, loud=False)
    version = other.news(0).version
    store.swap("name", 1, 2, "loud", 60.0)

    assert [fact.text for fact in other.news(version).facts] == ["loud"]


def test_namespaces_know_nothing_of_each_other(place: Place, store: Store) -> None:
    elsewhere = place.open("another")
    store.swap("name", 0, 1, "text", 60.0)
    store.send("box", "text")
    store.beat("worker", "text", 60.0)

    assert elsewhere.get("name") is None
    assert elsewhere.news(0).facts == ()
    assert elsewhere.receive("box") == []
    assert elsewhere.workers() == {}
    assert elsewhere.swap("name", 0, 1, "mine", 60.0)
    assert elsewhere.beat("worker", "mine", 60.0) == 1
    elsewhere.leave("worker")
    elsewhere.close()
    fact = store.get("name")
    assert fact is not None
    assert fact.text == "text"
    assert store.workers() == {"worker": "text"}


ODD = ["", "a'b\"c;--", "line\nline\r\n", "nul\0nul", "grün 桜 🌸", "{}[]:*?\\%", "x" * 300_000]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_texts_and_names_come_back_as_they_were(store: Store, text: str) -> None:
    name = text[:200]
    assert store.swap(name, 0, 1, text, 60.0)
    store.send(name, text)
    store.beat(name, text, 60.0)

    fact = store.get(name)

    assert fact is not None
    assert (fact.name, fact.text) == (name, text)
    assert [(fact.name, fact.text) for fact in store.news(0).facts] == [(name, text)]
    assert [text for text, _ in store.receive(name)] == [text]
    assert store.workers() == {name: text}


@pytest.mark.parametrize(
    ("before", "epoch", "text", "ttl"),
    [
        (1, 1, "text", 60.0),
        (2, 1, "text", 60.0),
        (0, 1, "text", 0.0),
        (0, 1, "text", -1.0),
        (0, 1, "text", float("nan")),
        (0, 1, "text", float("inf")),
        (0, 1, "\ud800", 60.0),
        (0, 1, "x" * 1_000_001, 60.0),
        (0, 1, "ü" * 600_000, 60.0),
    ],
)
def test_what_cannot_be_kept_is_refused(
    store: Store, before: int, epoch: int, text: str, ttl: float
) -> None:
    with pytest.raises(StoreError):
        store.swap("name", before, epoch, text, ttl)

    assert store.get("name") is None
    assert store.swap("name", 0, 1, "text", 60.0)


@pytest.mark.parametrize("loud", [True, False])
def test_the_largest_epoch_is_kept_exactly_and_a_larger_one_is_not_set(
    store: Store, other: Store, loud: bool
) -> None:
    """A failure of the store would be wrong: after one, a worker decides alone."""
    assert store.swap("name", 0, MAX_EPOCH - 1, "text", 60.0, loud=loud)
    assert store.swap("name", MAX_EPOCH - 1, MAX_EPOCH, "last", 60.0, loud=loud)

    for epoch in (MAX_EPOCH + 1, 2**63 - 1, 2**63, 10**29, 10**99):
        assert not store.swap("name", MAX_EPOCH, epoch, "text", 60.0, loud=loud)
        assert not store.swap("new", 0, epoch, "text", 60.0, loud=loud)

    fact = other.get("name")
    assert fact is not None
    assert (fact.epoch, fact.text) == (MAX_EPOCH, "last")
    assert not other.swap("name", MAX_EPOCH - 2, MAX_EPOCH - 1, "late", 60.0, loud=loud)
    assert other.get("new") is None


@pytest.mark.parametrize("loud", [True, False])
def test_each_epoch_is_won_by_one_of_eight_processes(
    place: Place, store: Store, crew: list[Worker], loud: bool
) -> None:
    rounds = 25

    for worker in crew:
        worker.start(place, stores.race, "name", rounds, loud)
    won = [worker.result() for worker in crew]

    assert sorted(epoch for each in won for epoch in each) == [*range(1, CREW * rounds + 1)]
    fact = store.get("name")
    assert fact is not None
    assert fact.epoch == CREW * rounds
