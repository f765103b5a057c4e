"""Obeying: a worker does what its fleet has decided, by what it hears and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.support.fleets import KEY, World

from recloser import Reason, State
from recloser._circuit.learned import Learned
from recloser._fleet.facts import KeyFact, key_name
from recloser._fleet.obeying import part_of, reason_of

FAILED = Reason("failures", "5 of 5 failed")


def fact(state: State, **values: Any) -> KeyFact:
    values = {"leader": "the other", "lease": 1e6, "reason": FAILED, "workers": 2, **values}
    return KeyFact(state=state, **values)


class Told:
    """A worker, and somebody who tells it what the fleet has decided."""

    def __init__(self) -> None:
        self.world = World(1)
        self.worker = self.world.workers[0]
        self.epoch = 0

    def tell(self, given: KeyFact, *, late_by: float = 0.0) -> None:
        self.epoch += 1
        self.worker.store.swap(key_name(KEY), self.epoch - 1, self.epoch, given.as_text(), 600.0)
        self.world.clock.advance(late_by)
        self.worker.member.rung = True
        self.worker.turn()

    @property
    def state(self) -> State:
        return self.worker.breaker.state

    def open_alone(self) -> None:
        for _ in range(10):
            permit = self.worker.breaker.try_acquire()
            if permit is not None:
                permit.failure()
        assert self.state is State.OPEN
        assert self.worker.rules[-1] == "failures"

    @contextmanager
    def store_fails(self) -> Iterator[None]:
        """It has noticed that the store has failed; afterwards, the store is back for a moment."""
        self.worker.store.fault = "gone"
        self.worker.turn()
        yield
        self.worker.store.fault = ""
        self.world.clock.advance(0.2)

    def admitted(self, calls: int = 5) -> int:
        permits = [self.worker.breaker.try_acquire() for _ in range(calls)]
        given = [permit for permit in permits if permit is not None]
        for permit in given:
            permit.cancel()
        return len(given)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize("state", [State.OPEN, State.LIMITED, State.HALF_OPEN])
def test_a_worker_follows_and_closes_again(told: Told, state: State) -> None:
    told.tell(fact(state, wait=5.0, size=4.0, permits=4.0))
    assert told.state is state
    assert told.worker.rules == [f"fleet_{state.value}"]

    told.tell(fact(State.CLOSED, leader=""))

    assert told.state is State.CLOSED
    assert told.worker.rules[-1] == "fleet_closed"


def test_a_watch_leaves_a_worker_closed(told: Told) -> None:
    told.tell(fact(State.CLOSED))

    assert told.state is State.CLOSED
    assert told.worker.rules == []


def test_the_end_of_a_watch_does_not_close_what_the_worker_opened_alone(told: Told) -> None:
    told.tell(fact(State.CLOSED))
    told.open_alone()

    told.tell(fact(State.CLOSED, leader="", overrules=True))

    assert told.state is State.OPEN


@pytest.mark.parametrize("leader", ["the other", ""])
def test_what_it_decided_while_the_store_failed_ends_when_most_others_are_closed(
    told: Told, leader: str
) -> None:
    with told.store_fails():
        told.open_alone()

    told.tell(fact(State.CLOSED, leader=leader))
    assert told.worker.rules == ["failures"]

    told.tell(fact(State.CLOSED, leader=leader, overrules=True))
    assert told.worker.rules == ["failures", "fleet_closed"]


def test_what_it_decides_after_the_store_is_back_stands_against_all_others(told: Told) -> None:
    with told.store_fails():
        told.open_alone()
    told.tell(fact(State.CLOSED, overrules=True))
    assert told.worker.rules[-1] == "fleet_closed"

    told.open_alone()
    told.tell(fact(State.CLOSED, overrules=True))

    assert told.state is State.OPEN


def test_news_from_before_do_not_end_what_it_has_decided_since(told: Told) -> None:
    with told.store_fails():
        told.world.clock.advance(3.0)
        told.open_alone()

    told.tell(fact(State.CLOSED, leader="", overrules=True), late_by=1.0)
    assert told.worker.rules == ["failures", "fleet_closed"]

    with told.store_fails():
        told.world.clock.advance(3.0)
        told.open_alone()
    told.worker.member._shared.known(KEY).fact = None
    told.worker.member._hearing.forget()
    told.worker.member.rung = True
    told.worker.turn()  # it reads the same fact again

    assert told.state is State.OPEN


def test_what_an_operator_does_while_the_store_fails_is_not_overruled(told: Told) -> None:
    with told.store_fails():
        told.open_alone()
        told.worker.breaker.open(by="ann")

    told.tell(fact(State.CLOSED, overrules=True))

    assert told.state is State.OPEN


def test_what_has_closed_by_itself_is_not_closed_later(told: Told) -> None:
    with told.store_fails():
        told.open_alone()
        told.world.clock.advance(3.0)
        while told.state is not State.CLOSED:
            permit = told.worker.breaker.try_acquire()
            told.world.clock.advance(0.1)
            if permit is not None:
                permit.success()
    told.tell(fact(State.CLOSED))

    assert told.worker.member._shared.known(KEY).unheard_since == inf


def test_a_wait_is_shorter_by_the_time_that_the_news_took(told: Told) -> None:
    told.tell(fact(State.OPEN, wait=5.0), late_by=2.0)

    assert told.worker.breaker.retry_after == pytest.approx(3.0)


@pytest.mark.parametrize("tickets", [None, ("the other", "host/1/0")])
def test_who_has_a_ticket_probes_when_the_wait_is_over(
    told: Told, tickets: tuple[str, ...] | None
) -> None:
    told.tell(fact(State.OPEN, wait=1.0, tickets=tickets, ticket=2.0))
    assert told.admitted() == 0
    told.world.clock.advance(1.1)

    assert told.worker.breaker.try_acquire() is not None
    assert told.state is State.HALF_OPEN


@pytest.mark.parametrize("tickets", [(), ("the other",)])
def test_who_has_none_does_not(told: Told, tickets: tuple[str, ...]) -> None:
    told.tell(fact(State.OPEN, wait=1.0, tickets=tickets, ticket=2.0))
    told.world.clock.advance(1.1)

    assert told.admitted() == 0


def test_a_ticket_that_arrives_after_its_time_is_none(told: Told) -> None:
    told.tell(fact(State.OPEN, wait=1.0, tickets=None, ticket=1.0), late_by=2.5)

    assert told.admitted() == 0


@pytest.mark.parametrize(("tickets", "admitted"), [(None, 1), ((), 0)])
def test_while_half_open_probers_have_their_places(
    told: Told, tickets: tuple[str, ...] | None, admitted: int
) -> None:
    told.tell(fact(State.HALF_OPEN, tickets=tickets, places=1))

    permits = [told.worker.breaker.try_acquire() for _ in range(5)]

    assert sum(permit is not None for permit in permits) == admitted


def test_a_worker_that_stands_still_sends_no_probe_when_it_goes_on(told: Told) -> None:
    told.tell(fact(State.OPEN, wait=1.0))
    told.world.clock.advance(60.0)

    assert told.admitted() == 0


def test_news_with_the_same_or_a_smaller_epoch_are_none(told: Told) -> None:
    told.tell(fact(State.OPEN, wait=100.0))
    member, now = told.worker.member, told.world.clock.now

    for epoch in (0, 1):
        member._hearing.hear(KEY, epoch, fact(State.CLOSED, leader=""), now, now)

    assert told.state is State.OPEN


def test_by_hand_closed_is_closed_whatever_the_worker_decided_alone(told: Told) -> None:
    for _ in range(10):
        permit = told.worker.breaker.try_acquire()
        if permit is not None:
            permit.failure()
    assert "failures" in told.worker.rules

    told.tell(fact(State.CLOSED, leader="", by_hand="close", reason=Reason("manual", "by hand")))

    assert told.state is State.CLOSED


def test_a_reset_forgets_what_was_learned_and_a_closing_does_not(told: Told) -> None:
    known = told.worker.breaker.slow_threshold
    told.tell(fact(State.CLOSED, leader="", by_hand="close"))
    assert told.worker.breaker.slow_threshold == known

    told.tell(fact(State.CLOSED, leader="", by_hand="reset", reason=Reason("reset", "by hand")))

    assert told.worker.breaker.slow_threshold == told.world.policy.slow_ceiling


@pytest.mark.parametrize("leader", ["the other", ""])
def test_a_new_normal_is_taken_over_with_the_closing(told: Told, leader: str) -> None:
    slow = World(1).workers[0]
    slow.breaker.reset()
    for _ in range(100):
        permit = slow.breaker.acquire()
        slow.clock.advance(1.0)
        permit.success()
    lesson: Learned = slow.breaker.following.learned(slow.clock.now)
    told.tell(fact(State.LIMITED, size=4.0, permits=4.0))

    told.tell(fact(State.CLOSED, leader=leader, learned=lesson))

    assert told.worker.breaker.slow_threshold == pytest.approx(slow.breaker.slow_threshold, rel=0.1)


@pytest.mark.parametrize("leader", ["the other", ""])
def test_shares_that_are_normal_are_taken_over_with_the_closing(told: Told, leader: str) -> None:
    told.tell(fact(State.OPEN, wait=5.0))

    told.tell(fact(State.CLOSED, leader=leader, expected=(0.0, 0.45)))

    evidence = told.worker.breaker.following.detector.evidence
    assert evidence.share(0)[1] > 0.25  # it is drawn towards what is usual anywhere


# Parts of a limit

LIMIT = fact(State.LIMITED, size=10.0, permits=10.0, demand=100.0, workers=4)


def test_the_parts_of_a_limit_are_in_proportion_to_the_calls() -> None:
    busy = [part_of(LIMIT, 97.0, f"busy {n}") for n in range(200)]
    calm = [part_of(LIMIT, 1.0, f"calm {n}") for n in range(200)]

    assert min(busy) >= 9
    assert max(calm) <= 1


@pytest.mark.parametrize("workers", [1, 2, 4, 32])
def test_the_parts_of_all_add_up_to_the_limit_on_average(workers: int) -> None:
    limit = replace(LIMIT, workers=workers, demand=25.0 * workers)

    sums = [
        sum(part_of(limit, 25.0, f"worker {worker} {epoch}") for worker in range(workers))
        for epoch in range(300)
    ]

    assert sum(sums) / len(sums) == pytest.approx(10.0, rel=0.1)


def test_no_worker_has_more_than_the_limit() -> None:
    assert part_of(LIMIT, 1e6, "x") <= 10


def test_a_worker_of_whose_calls_nothing_is_known_gets_its_turn() -> None:
    parts = [part_of(LIMIT, 0.0, f"me {epoch}") for epoch in range(500)]

    assert 0 < sum(parts) < 50


# Reasons


def test_a_reason_says_that_it_is_the_fleets() -> None:
    reason = reason_of(fact(State.OPEN))

    assert reason.rule == "fleet_open"
    assert reason.sentence == "the fleet of 2 workers: 5 of 5 failed"


def test_what_was_done_by_hand_names_who_did_it_and_no_fleet() -> None:
    by_hand = Reason("manual", "by hand by 'ann': 'deploy'", by="ann")

    reason = reason_of(fact(State.OPEN, reason=by_hand))

    assert (reason.sentence, reason.by) == (by_hand.sentence, "ann")
