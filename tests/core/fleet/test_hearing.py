"""Hearing: what a member reads in the store, and what it believes of that."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from tests.support.fleets import KEY, World, bad

from recloser import Mode, Reason, State
from recloser._fleet.facts import KeyFact, key_name, mode_name
from recloser._fleet.hearing import Hearing
from recloser._fleet.member_state import MemberState


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


def test_epochs_grow_over_all_lives_of_a_store(world: World) -> None:
    for epoch in range(1, 11):
        write(world, epoch, fact(State.CLOSED, leader=""))
    world.run(125.0)
    assert not any(worker.member._shared.keys for worker in world.workers)
    world.data.flush()
    world.run(3.0)

    world.run(3.0, bad)

    assert world.states == [State.OPEN] * 2
    assert world.data.facts[key_name(KEY)][0] > 10


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


def hearing(world: World) -> tuple[Hearing, MemberState, float]:
    """What the first worker hears, what it works with, and the time."""
    member = world.workers[0].member
    return member._hearing, member._shared, world.clock.now


def test_the_same_epoch_again_is_no_news(world: World) -> None:
    write(world, 7, fact(State.OPEN))
    each, shared, now = hearing(world)

    each.hear(KEY, 7, fact(State.LIMITED), now, now)

    known = shared.known(KEY).fact
    assert known is not None
    assert known.state is State.OPEN


def test_an_older_fact_of_a_key_that_nobody_watches_is_believed(world: World) -> None:
    """The store has lost what there was, and somebody has begun anew."""
    write(world, 7, fact(State.CLOSED, leader=""))
    each, shared, now = hearing(world)

    each.hear(KEY, 6, fact(State.OPEN), now, now)

    assert world.states[0] is State.OPEN
    assert shared.known(KEY).epoch == 6


def test_who_led_and_has_given_up_takes_the_lead_again_at_once(world: World) -> None:
    each, shared, now = hearing(world)

    each.hear(KEY, 7, fact(State.OPEN, leader=shared.name), now, now)

    assert shared.known(KEY).take_over_at == now
    assert world.states[0] is State.OPEN


def test_who_leads_needs_not_hear_what_it_has_said(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    each, shared, now = hearing(world)
    known = shared.known(KEY)
    incident, epoch = known.incident, known.epoch
    assert incident is not None

    each.hear(KEY, epoch + 1, fact(State.CLOSED, leader=shared.name), now, now)

    assert known.incident is incident
    assert world.states[0] is State.OPEN


def test_where_another_worker_leads_this_one_does_not(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    each, shared, now = hearing(world)
    known = shared.known(KEY)
    known.take_over_at = now

    each.hear(KEY, known.epoch + 1, fact(State.OPEN, leader="somebody"), now, now)

    assert known.incident is None
    assert known.take_over_at == inf


def test_the_member_knows_the_version_of_what_it_has_read(world: World) -> None:
    write(world, 7, fact(State.OPEN))
    each, shared, now = hearing(world)

    each.read(now)

    assert shared.version == world.workers[0].store.news(0).version > 0
    assert each.at == now
    each.forget()
    assert each._version == 0


def test_what_an_empty_store_may_have_lost_can_be_written_again_before_a_new_worker_asks(
    world: World,
) -> None:
    first, _ = world.workers
    for number in range(10):
        write(world, 7 + number, fact(State.CLOSED, leader=""))
    world.data.flush()
    newcomer = world.add()
    newcomer.learn()
    first.turn()  # it is alive, and has nothing to write
    newcomer.turn()
    newcomer.member.suspect(KEY)

    now = world.clock.now
    newcomer.member.turn(now + 0.25)
    assert key_name(KEY) not in world.data.facts

    newcomer.member.turn(now + 0.35)
    assert key_name(KEY) in world.data.facts


def test_who_leads_a_key_writes_it_anew_as_soon_as_it_reads_that_the_store_has_lost_it(
    world: World,
) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    world.data.flush()

    world.add().turn()  # it rings the bell
    world.run(0.05)

    assert KeyFact.from_text(world.data.facts[key_name(KEY)][1]).state is State.OPEN


@pytest.mark.parametrize(("by_hand", "state"), [("", State.CLOSED), ("open", State.OPEN)])
def test_what_nobody_leads_any_more_does_not_open_who_is_closed(
    world: World, by_hand: str, state: State
) -> None:
    """All workers have decided alone meanwhile. What was done by hand holds all the same."""
    told = replace(fact(State.OPEN), lease=2.0, by_hand=by_hand)
    # They do not hear of it in time.
    world.data.version += 1
    stored = (7, told.as_text(), world.clock.now, inf, world.data.version)
    world.data.facts[key_name(KEY)] = stored
    world.clock.advance(10.0)

    for worker in world.workers:
        worker.turn()

    assert world.states == [state] * 2
    assert [worker.member._shared.known(KEY).epoch >= 7 for worker in world.workers] == [True] * 2


def test_a_new_worker_asks_at_once_where_the_store_has_not_lost_anything(world: World) -> None:
    write(world, 7, fact(State.CLOSED, leader=""))
    newcomer = world.add()
    newcomer.learn()
    newcomer.turn()
    newcomer.member.suspect(KEY)

    newcomer.member.turn(world.clock.now + 0.1)

    assert world.data.facts[key_name(KEY)][0] > 7


@pytest.mark.parametrize("text", ["garbage", fact(State.OPEN).as_text()])
def test_a_fact_of_a_huge_epoch_is_garbage_that_is_written_over(world: World, text: str) -> None:
    now = world.clock.now
    world.data.version += 1
    for name in (key_name(KEY), mode_name(KEY)):
        world.data.facts[name] = 2**63 - 1, text, now, now + 3600.0, world.data.version

    world.run(2.0)
    assert world.states == [State.CLOSED] * 2
    assert [worker.fleet.garbage for worker in world.workers] == [2, 2]
    world.workers[0].breaker.open(by="ann")
    world.workers[0].breaker.override("observe", by="ann")
    world.settle()

    assert world.states == [State.OPEN] * 2
    assert [worker.breaker.mode for worker in world.workers] == [Mode.OBSERVE] * 2
    assert all(worker.fleet.is_connected for worker in world.workers)


def test_a_huge_version_makes_no_huge_epoch(world: World) -> None:
    world.data.version = 2**63 - 1

    world.workers[0].breaker.open(by="ann")
    world.settle()

    assert world.states == [State.OPEN] * 2
    assert world.data.facts[key_name(KEY)][0] < 2**53
