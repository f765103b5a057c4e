"""Calls that outlive those that fail, and what a breaker makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random

import pytest
from tests.support.training import teach

from recloser import Breaker, Permit, State
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.outliving import Outliving
from recloser._circuit.votes import Ending
from recloser._outcome import Outcome
from recloser.testing import ManualClock


def in_flight(*began: float) -> InFlight:
    calls = InFlight()
    for token, start in enumerate(began, 1):
        calls.voting[token] = call = Timing()
        call.started, call.answered = start, float("inf")
    return calls


def failed(took: float) -> Ending:
    return Ending(99, Outcome.FAILURE, took, 10.0)


def test_before_a_call_has_failed_none_outlives_it() -> None:
    assert not Outliving(1).count(in_flight(1.0, 2.0), 10.0)


def test_a_call_outlives_those_that_failed_after_twice_as_long_and_counts_once() -> None:
    outliving, calls = Outliving(1), in_flight(9.5, 9.7, 9.9)
    outliving.note_failed(failed(0.1))

    assert len(outliving.count(calls, 10.0)) == 2
    assert not outliving.count(calls, 10.0)
    assert outliving.latest == 2
    assert len(outliving.count(calls, 10.2)) == 1


def test_the_failure_that_took_longest_decides() -> None:
    outliving, calls = Outliving(1), in_flight(9.5, 9.7)
    for took in (0.01, 0.2, 0.02):
        outliving.note_failed(failed(took))

    assert len(outliving.count(calls, 10.0)) == 1


def test_a_call_that_is_bad_after_all_is_taken_back() -> None:
    """No more calls count before their end until one was answered."""
    outliving, calls = Outliving(1), in_flight(1.0, 2.0, 9.99)
    outliving.note_failed(failed(0.1))
    first, second = outliving.count(calls, 10.0)

    assert outliving.take_back(first)
    assert not outliving.take_back(first)
    assert not outliving.count(calls, 20.0)

    outliving.note_answered(second)
    assert not outliving.take_back(second)
    assert len(outliving.count(calls, 20.0)) == 1


def test_nothing_outlives_a_stream_that_stalled() -> None:
    outliving, stalled = Outliving(1), failed(0.1)
    stalled.going_on = True
    outliving.note_failed(stalled)
    outliving.note_failed(failed(0.1))

    assert not outliving.count(in_flight(1.0), 10.0)


def test_calls_from_before_do_not_count() -> None:
    outliving = Outliving(2)
    outliving.note_failed(failed(0.1))

    assert len(outliving.count(in_flight(9.0, 9.0), 10.0)) == 1


# A callee whose good calls take long, and whose bad ones fail at once


class Load:
    """Calls at random: some fail after 10 ms, the others take long."""

    def __init__(self, breaker: Breaker, clock: ManualClock, rate: float, takes: float) -> None:
        self.breaker, self.clock, self.rate, self.takes = breaker, clock, rate, takes
        self.random, self.running = Random(1), list[tuple[float, int, Permit, bool]]()
        self.calls = self.refused = 0

    def play(self, seconds: float, fails: float) -> Iterator[float]:
        until = self.clock.now + seconds
        while (at := self.clock.now + self.random.expovariate(self.rate)) < until:
            while self.running and self.running[0][0] <= at:
                self._end()
            self.clock.now = at
            self.calls += 1
            permit = self.breaker.try_acquire()
            if permit is None:
                self.refused += 1
            else:
                bad = self.random.random() < fails
                takes = 0.01 if bad else self.takes * (0.5 + self.random.random())
                heappush(self.running, (at + takes, self.calls, permit, bad))
            yield self.refused / self.calls

    def _end(self) -> None:
        self.clock.now, _, permit, bad = heappop(self.running)
        permit.failure() if bad else permit.success()


@pytest.mark.parametrize("fails", [0.1, 0.3, 0.4])
@pytest.mark.parametrize("takes", [1.0, 5.0, 20.0])
def test_failures_that_end_sooner_than_good_calls_are_no_more_than_they_are(
    breaker: Breaker, clock: ManualClock, takes: float, fails: float
) -> None:
    teach(breaker, clock, [takes * (0.7 + 0.06 * step) for step in range(10)] * 5)
    load = Load(breaker, clock, 20.0, takes)
    [*load.play(3.0 * takes, 0.0)]

    shares = [*load.play(120.0, fails)]

    assert shares[-1] < 0.05


def test_if_all_fail_calls_in_flight_from_before_are_no_excuse(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [5.0 * (0.7 + 0.06 * step) for step in range(10)] * 5)
    load = Load(breaker, clock, 20.0, 5.0)
    [*load.play(30.0, 0.0)]
    before = load.calls - load.refused

    for _ in load.play(60.0, 1.0):
        if breaker.state is State.OPEN:
            break

    assert load.calls - load.refused - before <= 10


@pytest.mark.parametrize("fails_for", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("share", [0.7, 1.0])
def test_calls_that_hang_after_some_have_failed_at_once_are_as_bad_as_those_that_fail(
    breaker: Breaker, clock: ManualClock, share: float, fails_for: float
) -> None:
    """Each outlives those that have failed: it is good for a moment, but not half good for ever."""
    teach(breaker, clock, [0.1] * 500)
    chance, ends, let_through = Random(1), list[tuple[float, int, Permit]](), 0
    hangs_from, over = clock.now + fails_for, clock.now + fails_for + 60.0
    number = 0
    while clock.now < over:
        number += 1
        clock.advance(0.02)
        while ends and ends[0][0] <= clock.now:
            heappop(ends)[2].failure()
        permit, hangs = breaker.try_acquire(), clock.now >= hangs_from
        if permit is None:
            continue
        let_through += hangs
        if not hangs and chance.random() >= share:
            permit.success()
        else:
            heappush(ends, (clock.now + (10.0 if hangs else 0.005), number, permit))

    assert breaker.state in (State.OPEN, State.HALF_OPEN)
    assert let_through < 120  # of 3,000; alone, a hang takes 40 to 60
