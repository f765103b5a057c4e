"""What every store of a fleet promises, whatever engine it is: mail, beats, the bell and its end."""

from __future__ import annotations

import os
import threading

import pytest
from tests.support import stores
from tests.support.stores import CREW, SHORT, Place, Worker
from tests.support.waiting import PATIENCE, until

from recloser.fleet import Store

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
        return len(received) >= CREW * texts

    until(all_are_there, "all mail")
    for worker in crew:
        worker.result()

    for number in range(CREW):
        of_one = [text for text in received if text.startswith(f"{number} ")]
        assert of_one == [f"{number} {each}" for each in range(texts)]
    assert len(received) == CREW * texts


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
