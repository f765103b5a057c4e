"""What every store of a fleet promises, whatever engine it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support import stores
from tests.support.stores import ENGINES, Engine, Place, Worker
from tests.support.waiting import PATIENCE, until

from recloser.fleet import Store, StoreError

WORKERS = 8
SHORT = 0.05  # seconds that a text lives, where its end is waited for


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Iterator[Place]:
    with engine.started(tmp_path) as place:
        yield place


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    store = place.open()
    yield store
    store.close()


@pytest.fixture
def other(place: Place) -> Iterator[Store]:
    """The store of another worker."""
    store = place.open()
    yield store
    store.close()


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = [Worker() for _ in range(WORKERS)]
        for worker in workers:
            stack.callback(worker.end)
        yield workers


@pytest.fixture
def crew(engine: Engine, processes: list[Worker]) -> list[Worker]:
    if not engine.between_processes:
        pytest.skip("an engine for one process")
    return processes


@pytest.fixture
def wake() -> Iterator[int]:
    """A file descriptor that cannot be read."""
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


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
def test_each_epoch_is_won_by_one_of_eight_processes(
    place: Place, store: Store, crew: list[Worker], loud: bool
) -> None:
    rounds = 25

    for worker in crew:
        worker.start(place, stores.race, "name", rounds, loud)
    won = [worker.result() for worker in crew]

    assert sorted(epoch for each in won for epoch in each) == [*range(1, WORKERS * rounds + 1)]
    fact = store.get("name")
    assert fact is not None
    assert fact.epoch == WORKERS * rounds


# Mail


def test_mail_is_taken_once_the_oldest_first(store: Store, other: Store) -> None:
    for number in range(5):
        store.send("box", str(number))
    store.send("another", "text")

    received = other.receive("box")

    assert [text for text, _ in received] == ["0", "1", "2", "3", "4"]
    assert all(0.0 <= age < PATIENCE for _, age in received)
    assert store.receive("box") == other.receive("box") == []
    assert [text for text, _ in store.receive("another")] == ["text"]


def test_a_full_box_loses_the_oldest(store: Store) -> None:
    sent = [str(number) for number in range(5000)]
    for text in sent:
        store.send("box", text)

    received = [text for text, _ in store.receive("box")]

    assert 100 <= len(received) <= 2000
    assert received == sent[-len(received) :]


def test_mail_of_eight_processes_arrives_once_and_each_ones_in_order(
    place: Place, store: Store, crew: list[Worker]
) -> None:
    texts = 50

    for number, worker in enumerate(crew):
        worker.start(place, stores.send_all, "box", number, texts)
    received: list[str] = []

    def all_are_there() -> bool:
        received.extend(text for text, _ in store.receive("box"))
        return len(received) >= WORKERS * texts

    until(all_are_there, "all mail")
    for worker in crew:
        worker.result()

    for number in range(WORKERS):
        of_one = [text for text in received if text.startswith(f"{number} ")]
        assert of_one == [f"{number} {each}" for each in range(texts)]
    assert len(received) == WORKERS * texts


def test_two_who_empty_a_box_share_what_is_in_it(
    place: Place, store: Store, crew: list[Worker]
) -> None:
    readers = crew[:2]
    for worker in readers:
        worker.start(place, stores.receive_for, "box", "the end")

    sent = [str(number) for number in range(300)]
    for text in [*sent, "the end"]:
        store.send("box", text)
    received = [worker.result() for worker in readers]

    assert sorted(received[0] + received[1]) == sorted([*sent, "the end"])


# Beats


def test_who_beats_is_alive_until_he_leaves(store: Store, other: Store) -> None:
    assert store.beat("a", "one", 60.0) == 1
    assert other.beat("b", "two", 60.0) == 2
    assert store.beat("a", "three", 60.0) == 2
    assert other.workers() == {"a": "three", "b": "two"}

    other.leave("b")
    other.leave("b")

    assert store.workers() == {"a": "three"}
    assert store.beat("a", "four", 60.0) == 1


def test_who_does_not_beat_any_more_is_dead(store: Store) -> None:
    store.beat("a", "one", SHORT)
    store.beat("b", "two", 60.0)

    until(lambda: store.workers() == {"b": "two"}, "the end of a worker")

    assert store.beat("b", "two", 60.0) == 1


# The bell


def test_a_ring_wakes_another_process(place: Place, store: Store, crew: list[Worker]) -> None:
    crew[0].start(place, stores.wait_for_ring, 2 * PATIENCE)

    def has_woken() -> bool:
        store.ring()
        return crew[0].has_ended()

    until(has_woken, "a ring is heard")

    assert crew[0].result() is True


def test_a_loud_change_rings_and_a_quiet_one_does_not(
    store: Store, other: Store, wake: int
) -> None:
    other.wait(0.0, wake)  # from now on it hears
    store.wait(0.0, wake)
    store.swap("quiet", 0, 1, "", 60.0, loud=False)
    assert not other.wait(0.1, wake)

    store.swap("loud", 0, 1, "", 60.0)
    assert not store.swap("loud", 0, 1, "", 60.0)

    assert other.wait(PATIENCE, wake)
    assert not store.wait(0.05, wake), "who rings hears himself"


def test_many_rings_are_heard_once(store: Store, other: Store, wake: int) -> None:
    other.wait(0.0, wake)
    for _ in range(100):
        store.ring()

    assert other.wait(PATIENCE, wake)
    until(lambda: not other.wait(0.1, wake), "the bell is still")


def test_a_wait_ends_by_its_file_descriptor_and_reads_nothing(store: Store) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")

    assert not store.wait(2 * PATIENCE, reader)

    assert os.read(reader, 2) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_wait_does_not_raise_whatever_it_is_given(store: Store) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)

    assert not store.wait(SHORT, reader)
    assert not store.wait(-1.0, reader)
    assert not store.wait(0.0, -1)


# Processes, threads and the end


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_child_and_its_parent_use_it_both(
    place: Place, store: Store, crew: list[Worker]
) -> None:
    code, rang, seen = crew[0].do(place, stores.fork_while_open)

    assert (code, rang, seen) == (0, True, True)
    assert {fact.name for fact in store.news(0).facts} == {"parent", "child"}


def test_another_thread_may_use_it(store: Store, wake: int) -> None:
    done: list[bool] = []

    def work() -> None:
        done.append(store.swap("name", 0, 1, "text", 60.0))
        done.append(not store.wait(0.0, wake))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)

    assert done == [True, True]
    assert store.get("name") is not None


def test_it_may_be_closed_twice(place: Place) -> None:
    unused, used = place.open(), place.open()
    used.swap("name", 0, 1, "text", 60.0)

    for _ in range(2):
        unused.close()
        used.close()

    again = place.open()
    assert again.get("name") is not None
    again.close()
