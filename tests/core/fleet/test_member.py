"""A member: its turns, what it bears, and what it does when its store fails."""

from __future__ import annotations

import logging
from itertools import pairwise
from math import inf

import pytest
from tests.support.fleets import KEY, World, bad, good

from recloser import Policy, State
from recloser._fleet.facts import KeyFact, key_name
from recloser.fleet import StoreError

GARBAGE = ["", "{", '{"format": 2}', '{"format": 1, "state": "ajar"}']


@pytest.fixture
def world() -> World:
    return World(3)


def open_all(world: World) -> None:
    world.run(10.0, bad, until=State.OPEN)
    assert world.states == [State.OPEN] * len(world.workers)


def fail(world: World, fault: str) -> None:
    for worker in world.workers:
        worker.store.fault = fault


# Turns


def test_every_worker_knows_how_many_there_are(world: World) -> None:
    assert [worker.fleet.workers for worker in world.workers] == [3, 3, 3]

    world.add()
    world.run(6.0)

    assert [worker.fleet.workers for worker in world.workers] == [4, 4, 4, 4]


def test_who_leaves_is_gone_at_once_and_who_dies_after_some_beats(world: World) -> None:
    world.workers[2].leave()
    world.run(6.0)
    assert world.workers[0].fleet.workers == 2

    world.workers[1].die()
    world.run(22.0)

    assert world.workers[0].fleet.workers == 1


def test_a_turn_says_for_how_long_there_is_nothing_to_do(world: World) -> None:
    member, now = world.workers[0].member, world.clock.now

    assert 0.0 < member.turn(now) <= 1.0


def test_a_key_that_nobody_has_heard_of_for_long_is_forgotten(world: World) -> None:
    open_all(world)
    world.run(30.0, good, until=State.CLOSED)
    world.run(20.0, good)
    assert [KEY in worker.member._shared.keys for worker in world.workers] == [True] * 3

    world.run(180.0)

    assert [KEY in worker.member._shared.keys for worker in world.workers] == [False] * 3


def test_what_the_fleet_has_decided_is_no_news_of_this_worker(world: World) -> None:
    world.workers[1].breaker.open()
    world.settle()
    member = world.workers[0].member
    (opening,) = world.workers[0].listener.transitions

    assert opening.reason.rule == "fleet_open"
    assert not member.note_change(opening)


def test_a_suspicion_is_noted_once(world: World) -> None:
    member = world.workers[0].member

    assert member.suspect("k")
    assert not member.suspect("k")


# Garbage


@pytest.mark.parametrize("text", GARBAGE)
def test_a_garbage_fact_is_ignored_counted_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    store = world.workers[0].store
    with caplog.at_level(logging.WARNING, "recloser"):
        for epoch in range(5):
            store.swap(key_name(KEY), epoch, epoch + 1, text, 60.0)
            world.settle()

    assert world.states == [State.CLOSED] * 3
    for worker in world.workers[1:]:
        assert worker.fleet.garbage == 5
    logged = [each for each in caplog.records if "garbage" in each.getMessage()]
    assert len(logged) == 3  # once by each worker


def test_a_fleet_opens_over_garbage(world: World) -> None:
    world.workers[0].store.swap(key_name(KEY), 0, 17, "garbage", 600.0)
    world.run(1.0)

    open_all(world)
    world.settle()

    assert world.data.facts[key_name(KEY)][0] > 17
    assert KeyFact.from_text(world.data.facts[key_name(KEY)][1]).state is State.OPEN


def test_garbage_in_the_box_of_a_leader_is_ignored_and_counted(world: World) -> None:
    open_all(world)
    world.workers[0].store.send(KEY, "garbage")

    world.run(30.0, good, until=State.CLOSED)

    assert world.states == [State.CLOSED] * 3
    assert sum(worker.fleet.garbage for worker in world.workers) == 1


# Stores that fail


def test_a_worker_warns_once_counts_each_failure_and_says_when_it_works_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "recloser"):
        fail(world, "the disk is full")
        world.run(30.0, good)
        fail(world, "")
        world.run(2.0, good)

    texts = [each.getMessage() for each in caplog.records]
    assert sum("fails (the disk is full)" in text for text in texts) == 3
    assert sum("works again, after 3" in text for text in texts) == 3
    fleet = world.workers[0].fleet
    assert fleet.last_failure == "the disk is full"
    assert fleet.is_connected
    # The pauses between two tries grow up to about a second.
    assert 25 <= fleet.failures <= 50


def test_the_first_pauses_are_short_and_double(world: World) -> None:
    member, worker = world.workers[0].member, world.workers[0]
    worker.store.fault = "gone"
    worker.due_at = float("inf")
    now, pauses = world.clock.now + 10.0, list[float]()
    for _ in range(7):
        pauses.append(member.turn(now))
        now += pauses[-1] + 1e-9

    assert 0.05 < pauses[0] < 0.15
    assert all(later < 3.5 * before for before, later in pairwise(pauses))
    assert pauses[2] > 2.0 * pauses[0]
    assert 0.75 <= pauses[-1] <= 1.25


def test_while_the_store_fails_each_worker_decides_alone(world: World) -> None:
    fail(world, "gone")
    world.run(3.0)
    assert [worker.fleet.is_connected for worker in world.workers] == [False] * 3

    world.run(10.0, bad)

    assert world.states == [State.OPEN] * 3
    assert [worker.rules[0] for worker in world.workers] == ["failures"] * 3


def test_after_a_trouble_who_is_open_alone_closes_with_the_others(world: World) -> None:
    fail(world, "gone")
    world.run(3.0)
    first = world.workers[0]
    world.run(10.0, lambda worker: bad(worker) if worker is first else good(worker))
    assert world.states == [State.OPEN, State.CLOSED, State.CLOSED]

    fail(world, "")
    world.run(2.0, good)

    assert world.states == [State.CLOSED] * 3
    assert first.rules[-1] == "fleet_closed"


@pytest.mark.parametrize("is_flushed", [False, True])
def test_who_is_back_first_after_a_long_trouble_waits_for_the_others(is_flushed: bool) -> None:
    """All have been silent for so long that it seems to be the only worker."""
    world = World(3, policy=Policy(open_for=60.0))
    fail(world, "gone")
    first = world.workers[0]
    world.run(25.0, lambda worker: bad(worker) if worker is first else good(worker))
    assert world.states == [State.OPEN, State.CLOSED, State.CLOSED]
    if is_flushed:
        world.data.flush()
    first.store.fault = ""
    first.member._retry_at = -inf
    first.turn()
    assert first.fleet.workers == 1

    fail(world, "")
    world.run(4.0, good)

    assert world.states == [State.CLOSED] * 3
    assert first.rules[-1] == "fleet_closed"


def test_a_worker_that_was_open_goes_on_alone_and_closes(world: World) -> None:
    open_all(world)
    fail(world, "gone")

    world.run(60.0, good, until=State.CLOSED)

    assert world.states == [State.CLOSED] * 3
    assert [worker.rules[-1] for worker in world.workers] == ["recovered"] * 3


def test_two_seconds_after_the_store_works_again_all_are_of_one_opinion(world: World) -> None:
    fail(world, "gone")
    world.run(3.0)
    world.workers[0].breaker.open(by="ann")
    world.run(20.0)
    assert world.states == [State.OPEN, State.CLOSED, State.CLOSED]

    fail(world, "")
    world.run(2.0)

    assert world.states == [State.OPEN] * 3


def test_a_short_failure_changes_no_opinion(world: World) -> None:
    open_all(world)
    told = [len(worker.rules) for worker in world.workers]
    leaders = [worker.member._shared.keys[KEY].incident is not None for worker in world.workers]

    fail(world, "a hiccup")
    world.run(0.2)
    fail(world, "")
    world.run(0.2)

    assert [len(worker.rules) for worker in world.workers] == told
    assert leaders == [
        worker.member._shared.keys[KEY].incident is not None for worker in world.workers
    ]


def test_a_store_that_lost_everything_is_told_anew(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()

    world.data.flush()
    world.run(3.0)

    assert world.states == [State.OPEN] * 3
    known = KeyFact.from_text(world.data.facts[key_name(KEY)][1])
    assert known.state is State.OPEN
    assert known.wait == pytest.approx(57.0, abs=1.5)


def test_a_fleet_opens_in_a_store_that_lost_everything(world: World) -> None:
    open_all(world)
    world.run(30.0, good, until=State.CLOSED)
    world.run(10.0, good)
    world.data.flush()
    world.run(6.0, good)

    open_all(world)


# Forks and the end


def test_a_forked_child_is_another_worker_that_forgets_orders(world: World) -> None:
    open_all(world)
    worker = world.workers[0]
    name = worker.name

    worker.member.after_fork()
    worker.breaker.after_fork()

    assert worker.name != name
    assert worker.fleet.workers == 1
    assert worker.breaker.following.orders is None
    assert dict(worker.fleet.status().keys) == {}


def test_a_child_hears_the_news_of_its_fleet_again(world: World) -> None:
    world.workers[1].breaker.open()
    world.settle()
    worker = world.workers[0]
    worker.member.after_fork()
    worker.breaker.after_fork()

    world.run(1.0)

    assert worker.breaker.state is State.OPEN
    assert worker.breaker.following.orders is not None
    assert worker.name in world.data.beats


def test_who_leaves_decides_alone_and_a_store_that_fails_does_not_hold_it(world: World) -> None:
    world.workers[1].breaker.open()
    world.settle()
    worker = world.workers[0]
    worker.store.fault = "gone"

    worker.fleet.close()

    assert not worker.fleet.is_connected
    assert worker.breaker.following.orders is None


def test_only_errors_of_the_store_are_borne(world: World) -> None:
    """Any other one is a fault of the program: the thread counts it as that."""
    worker = world.workers[0]

    def broken(*_: object) -> int:
        raise RuntimeError

    worker.store.beat = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        worker.member.turn(world.clock.now + 60.0)
    assert not issubclass(RuntimeError, StoreError)


def test_the_beat_of_a_worker_tells_what_it_leads_and_decides_alone() -> None:
    world = World(2)
    world.run(20.0, lambda worker: (0.1, worker is not world.workers[0]))
    assert world.states == [State.OPEN, State.CLOSED]
    world.run(6.0, lambda worker: (0.1, worker is not world.workers[0]))

    told = world.workers[1].fleet.status().workers

    assert dict(told[world.workers[0].name].alone or {}).keys() == {KEY}
    assert dict(told[world.workers[1].name].alone or {}) == {}
