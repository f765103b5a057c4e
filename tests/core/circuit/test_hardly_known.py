"""Keys of which hardly anything is known: a hang is noticed, and slowness is none."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import pytest
from tests.support.limits import limit_of
from tests.support.training import teach

from recloser import Breaker, BreakerOpenError, Outcome, Policy, State
from recloser._circuit import votes
from recloser._circuit.votes import Ending
from recloser.testing import ManualClock, no_jitter

HANGS = 1e6
Takes = Callable[[int, Random], float]


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker("k", clock=clock, random=no_jitter)


def refused_at(
    breaker: Breaker, clock: ManualClock, rate: float, seconds: float, takes: Takes
) -> list[float]:
    """When calls were refused, in seconds from the beginning; `takes` gets the number of a call."""
    chance, began, ends = Random(1), clock(), list[tuple[float, int, Callable[[], None]]]()
    refused: list[float] = []
    at = began
    for number in range(1, round(rate * seconds)):
        at += chance.expovariate(rate)
        while ends and ends[0][0] <= at:
            ended, _, end = heapq.heappop(ends)
            clock.advance(max(ended - clock(), 0.0))
            end()
        clock.advance(max(at - clock(), 0.0))
        try:
            permit = breaker.acquire()
        except BreakerOpenError:
            refused.append(at - began)
        else:
            heapq.heappush(ends, (at + takes(number, chance), number, permit.success))
    return refused


def after(good: int, latency: float, then: float) -> Takes:
    """The first calls take about `latency` seconds, and all others about `then`."""
    return lambda number, chance: (
        (latency if number <= good else then) * chance.lognormvariate(0.0, 0.2)
    )


# A hang


@pytest.mark.parametrize(
    ("good", "latency", "noticed"),
    [(0, 0.05, 61.0), (3, 0.05, 55.0), (10, 0.05, 20.0), (29, 0.05, 20.0), (29, 0.5, 45.0)],
)
def test_a_hang_is_noticed_the_sooner_the_more_answers_are_known(
    breaker: Breaker, clock: ManualClock, good: int, latency: float, noticed: float
) -> None:
    refused = refused_at(breaker, clock, 5.0, 120.0, after(good, latency, HANGS))

    assert 10.0 < refused[0] < noticed + good / 5.0
    assert len(refused) > 0.8 * 5.0 * (119.0 - refused[0])


def test_when_the_callee_answers_again_nobody_is_refused_any_more(
    breaker: Breaker, clock: ManualClock
) -> None:
    def takes(number: int, chance: Random) -> float:
        return 0.05 if number <= 10 or clock() > 1060.0 else HANGS

    refused = refused_at(breaker, clock, 5.0, 300.0, takes)

    assert refused
    assert refused[-1] < 60.0 + 15.0
    assert breaker.state is State.CLOSED


def test_a_few_calls_that_hang_while_others_are_answered_are_no_outage(
    breaker: Breaker, clock: ManualClock
) -> None:
    held = [breaker.acquire() for _ in range(8)]
    for _ in range(20):
        teach(breaker, clock, [0.05])
        clock.advance(5.0)

    assert breaker.state is State.CLOSED
    assert len(held) == 8


def test_calls_of_a_label_may_take_longer_while_that_label_is_unknown(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.05] * 20)
    held = [breaker.acquire(label="export") for _ in range(20)]
    clock.advance(55.0)

    assert breaker.acquire() is not None
    assert breaker.state.value == "closed"
    clock.advance(6.0)
    breaker.try_acquire()
    assert breaker.state is State.LIMITED
    assert len(held) == 20


def test_sizes_of_which_the_least_are_known_are_noticed_all_the_same(
    breaker: Breaker, clock: ManualClock
) -> None:
    for number in range(20):
        permit = breaker.acquire(size=2.0 ** (number % 4))
        clock.advance(0.05)
        permit.success()
    held = [breaker.acquire(size=2.0 ** (number % 8)) for number in range(10)]
    clock.advance(11.0)

    breaker.try_acquire(size=1.0)

    assert breaker.state is State.LIMITED
    assert len(held) == 10


# Slowness


@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("good", [0, 3, 10, 20])
@pytest.mark.parametrize("latency", [0.05, 1.0])
def test_a_model_that_takes_40_s_from_then_on_never_opens(
    breaker: Breaker, clock: ManualClock, good: int, latency: float, rate: float
) -> None:
    refused = refused_at(breaker, clock, rate, 400.0, after(good, latency, 40.0))

    assert breaker.state in (State.CLOSED, State.LIMITED)
    assert len(refused) <= 0.1 * rate * 400.0


@pytest.mark.parametrize("rate", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("good", [10, 20, 30])
def test_cheap_answers_after_a_restart_and_then_a_normal_route(
    breaker: Breaker, clock: ManualClock, good: int, rate: float
) -> None:
    refused = refused_at(breaker, clock, rate, 100.0, after(good, 0.001, 0.2))

    assert len(refused) <= 0.02 * rate * 100.0


def test_the_first_late_answer_shows_that_the_callee_is_slow_only(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.05] * 20)
    held = [breaker.acquire() for _ in range(10)]
    clock.advance(12.0)
    breaker.try_acquire()
    assert breaker.state.value == "limited"

    held[0].success()

    assert breaker.state is State.CLOSED
    assert breaker._circuit.hopeless == Policy().slow_ceiling


def test_its_reason_says_how_little_is_known(breaker: Breaker, clock: ManualClock) -> None:
    teach(breaker, clock, [0.05] * 20)
    held = [breaker.acquire() for _ in range(10)]
    clock.advance(12.0)
    breaker.try_acquire()

    assert "far slower than the 20 answers known so far" in breaker.explain()
    assert len(held) == 10


@pytest.mark.parametrize(("ceiling", "soonest"), [(60.0, 10.0), (0.5, 0.5)])
def test_once_a_call_may_be_overdue_that_is_checked_often(
    clock: ManualClock, ceiling: float, soonest: float
) -> None:
    breaker = Breaker("k", Policy(slow_ceiling=ceiling), clock=clock, random=no_jitter)
    circuit, began = breaker._circuit, clock.now
    held = breaker.acquire()

    assert circuit._overdue_at_first(began) == (soonest, began + soonest)
    clock.advance(soonest)
    assert circuit._overdue_at_first(clock.now) == (ceiling, clock.now + soonest / 32.0)
    assert not held.ended


def test_under_a_limit_it_looks_again_only_after_ten_seconds_without_an_answer(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.05] * 20)
    held = [breaker.acquire() for _ in range(10)]
    clock.advance(12.0)
    breaker.try_acquire()
    assert breaker.state is State.LIMITED
    limited_at = clock.now

    while (one_more := breaker.try_acquire()) is None:
        clock.advance(0.5)

    assert 10.0 <= clock.now - limited_at <= 11.0
    assert len(held) == 10
    assert not one_more.ended


# Cut-offs


@pytest.mark.parametrize(
    ("good", "latency", "timeout"),
    [(0, 1.0, 60.0), (5, 1.0, 60.0), (5, 0.05, 45.0), (29, 0.01, 45.0)],
)
def test_no_call_is_cut_off_before_a_long_answer_would_have_come(
    breaker: Breaker, clock: ManualClock, good: int, latency: float, timeout: float
) -> None:
    teach(breaker, clock, [latency] * good)

    assert breaker.timeout == timeout
    assert breaker.acquire().timeout >= timeout


def test_overdue_calls_are_noticed_without_another_call(
    breaker: Breaker, clock: ManualClock
) -> None:
    held = [breaker.acquire() for _ in range(10)]
    clock.advance(61.0)

    breaker.notice()

    assert breaker.state is State.LIMITED
    assert len(held) == 10


@pytest.mark.parametrize("then", [30.0, 40.0])
@pytest.mark.parametrize("good", [1, 10, 20, 29])
@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_few_cheap_answers_are_no_measure_of_the_calls_after_the_first_long_one(
    breaker: Breaker, clock: ManualClock, good: int, then: float, rate: float
) -> None:
    """With 29 cheap ones, the next answer made them normal, and a fifth of the calls was refused."""
    refused = refused_at(breaker, clock, rate, 400.0, after(good, 0.01, then))

    assert max(refused, default=0.0) < 1.5 * then + good / rate


def test_once_latency_is_judged_it_says_when_an_answer_is_hopeless(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.05] * 100)
    circuit = breaker._circuit

    assert circuit.hopeless == circuit.detector.baseline.hopeless < Policy().slow_ceiling


@pytest.mark.parametrize("crowding", [True, False])
def test_an_answer_ends_no_limit_that_is_there_because_calls_fail_together(
    breaker: Breaker, clock: ManualClock, crowding: bool
) -> None:
    circuit = breaker._circuit
    recovery = circuit._new_recovery(clock.now)
    circuit._begin_limit(4.0, clock.now, recovery)
    limit_of(breaker).failures.are_crowding = crowding
    good = Ending(1, Outcome.SUCCESS, 0.1, clock.now)

    assert circuit._take_first_answer(votes.GOOD, good, recovery) is not crowding
    assert (breaker.state is State.LIMITED) is crowding


def test_once_latency_is_judged_an_answer_to_a_call_from_before_shows_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    """None of the calls since then came back: as many are let through as are in flight, not twice."""
    teach(breaker, clock, [0.1] * 100)
    before = breaker.acquire()
    breaker.acquire().failure()  # it may be the first one of an outage
    in_flight = [breaker.acquire() for _ in range(60)]
    clock.advance(0.12)
    before.success()
    clock.advance(0.1)

    breaker.try_acquire()

    assert breaker.state is State.LIMITED
    assert limit_of(breaker).size == len(in_flight)
