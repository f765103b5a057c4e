"""Hearing: what a member reads in the store, and what it believes of that."""

from __future__ import annotations

import pytest
from tests.support.fleets import KEY, World

from recloser import Reason, State
from recloser._fleet.facts import KeyFact, key_name


def fact(state: State, leader: str = "somebody") -> KeyFact:
    return KeyFact(
        state=state, leader=leader, lease=600.0, reason=Reason("failures", "x"), wait=60.0
    )


@pytest.fixture
def world() -> World:
    return World(2)


def write(world: World, epoch: int, given: KeyFact) -> None:
    there = world.data.facts.get(key_name(KEY))
    store = world.workers[0].store
    assert store.swap(
        key_name(KEY), 0 if there is None else there[0], epoch, given.as_text(), 600.0
    )
    for worker in world.workers:
        worker.member.rung = True
        worker.due_at = 0.0
    world.run(0.1)


def test_a_newer_fact_is_obeyed_and_epochs_may_leap(world: World) -> None:
    write(world, 1, fact(State.OPEN))
    assert world.states == [State.OPEN] * 2

    write(world, 50, fact(State.CLOSED, leader=""))

    assert world.states == [State.CLOSED] * 2


def test_an_older_fact_of_a_watched_key_is_ignored(world: World) -> None:
    write(world, 7, fact(State.OPEN))
    now = world.clock.now
    for worker in world.workers:
        worker.member._hearing.hear(KEY, 6, fact(State.CLOSED, leader=""), now, now)

    assert world.states == [State.OPEN] * 2


def test_what_was_written_into_an_empty_store_is_believed_only_a_second_later(
    world: World,
) -> None:
    """Who leads writes anew what the store has lost; who knows nothing may be faster."""
    write(world, 7, fact(State.OPEN))
    world.data.flush()

    write(world, 1, fact(State.CLOSED, leader=""))
    assert world.states == [State.OPEN] * 2
    world.run(3.0)

    assert world.states == [State.CLOSED] * 2


def test_who_leads_says_again_what_the_store_has_lost(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    epoch = world.data.facts[key_name(KEY)][0]
    world.data.flush()

    world.run(2.0)

    there = world.data.facts[key_name(KEY)]
    assert there[0] > epoch
    assert KeyFact.from_text(there[1]).state is State.OPEN


def test_facts_of_a_newer_version_about_something_else_are_no_garbage(world: World) -> None:
    world.workers[0].store.swap("weather", 0, 1, "fine", 60.0)
    world.run(2.0)

    assert [worker.fleet.garbage for worker in world.workers] == [0, 0]
