"""Counting: who believes to be alone, and when that is asked again."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.fleets import KEY, Worker, World


@pytest.fixture
def world() -> World:
    """One worker that has counted 0.1 s ago, and another one that begins when a test lets it."""
    world = World(1)
    other = world.add()
    other.learn()
    other.due_at = inf
    first = world.workers[0]
    world.run(6.0, until=None)
    world.run(first.member._beats.at + 5.1 - world.clock.now)
    assert first.member._beats.at == pytest.approx(world.clock.now - 0.1, abs=0.05)
    return world


def test_a_ring_soon_after_a_beat_is_answered_when_two_seconds_are_over(world: World) -> None:
    first, other = world.workers
    beat_at = first.member._beats.at

    other.turn()
    world.run(1.0)
    assert (first.fleet.workers, first.member._beats.at) == (1, beat_at)
    world.run(beat_at + 2.05 - world.clock.now)

    assert first.fleet.workers == 2


def test_a_suspicion_is_thrown_away_only_after_a_count_that_is_newer(world: World) -> None:
    """The bell may not be heard: then it is counted when two seconds are over."""
    first, other = world.workers
    other.turn()
    first.member.rung = False
    first.member.suspect(KEY)

    first.turn()
    assert KEY in first.member._suspicious
    world.run(2.0)

    assert first.fleet.workers == 2
    assert is_watched(first)


def test_who_suspects_something_and_has_heard_the_bell_counts_at_once_before_it_is_alone(
    world: World,
) -> None:
    first, other = world.workers
    other.turn()
    world.run(0.1)
    assert first.fleet.workers == 1

    first.member.suspect(KEY)
    first.turn()

    assert first.fleet.workers == 2
    assert is_watched(first)


def test_who_is_alone_throws_its_suspicion_away(world: World) -> None:
    first, _ = world.workers

    first.member.suspect(KEY)
    world.run(2.1)

    assert KEY not in first.member._suspicious
    assert not is_watched(first)


def is_watched(worker: Worker) -> bool:
    return worker.member._shared.known(KEY).is_watched


@pytest.mark.parametrize("well_for", [5.5, 6.5, 7.5, 8.5, 9.5])
def test_after_the_store_has_failed_for_long_all_are_counted_soon(well_for: float) -> None:
    """The first one that comes back may find none of the others, since all were silent for long."""
    world = World(3)
    world.run(well_for)
    for worker in world.workers:
        worker.store.fault = "no route"
    world.run(14.0)
    for worker in world.workers:
        worker.store.fault = ""

    world.run(2.6)

    assert [worker.fleet.workers for worker in world.workers] == [3, 3, 3]
