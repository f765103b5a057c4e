"""Limited: what becomes of calls that are slow while others fail."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from tests.support.limits import everyday_latency, fill, hang, limit, limit_of, play, rule

from recloser import Breaker, Policy, State
from recloser._permit import LoosePermit
from recloser.testing import ManualClock


def half_slow(chance: Random, running: int) -> float:
    """Every other call takes five times as long."""
    return everyday_latency(chance, running) * (5.0 if chance.random() < 0.5 else 1.0)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_where_half_of_the_calls_are_slow_and_some_fail_hardly_any_is_refused(
    breaker: Breaker, clock: ManualClock, share: float
) -> None:
    play(breaker, clock, everyday_latency, 50.0, 100.0)

    admitted, refused = play(breaker, clock, half_slow, 50.0, 600.0, failing=share)

    assert refused <= 0.05 * (admitted + refused)
    assert breaker.state is State.CLOSED


def test_a_callee_that_is_slow_and_fails_at_times_is_the_new_normal_in_the_end(
    breaker: Breaker, clock: ManualClock
) -> None:
    play(breaker, clock, everyday_latency, 50.0, 100.0)

    def slow(chance: Random, running: int) -> float:
        return 5.0 * everyday_latency(chance, running)

    patience = Policy().latency_patience
    play(breaker, clock, slow, 50.0, 2.0 * patience, failing=0.3)
    admitted, refused = play(breaker, clock, slow, 50.0, 300.0, failing=0.3)

    assert refused <= 0.02 * (admitted + refused)


def test_failures_that_end_before_the_calls_in_flight_open_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Those that fail end sooner: the others may still be good."""
    limit(breaker, clock)
    limit_of(breaker).size = 40.0
    limit_of(breaker).shed()  # nothing was answered since
    running = fill(breaker)

    for permit in running[:9]:
        permit.failure()
    limit_of(breaker)

    for permit in running[9:]:
        permit.failure()
    assert rule(breaker) == "failures"


def test_a_callee_that_dies_while_some_failures_are_usual_is_noticed_at_once(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    limit_of(breaker).failures.are_usual = True

    calls = 0
    while breaker.state is State.LIMITED:
        breaker.acquire().failure()
        clock.advance(0.01)
        calls += 1

    assert calls <= 10


def test_after_failures_a_probe_has_time_until_its_answer_is_hopeless(
    breaker: Breaker, clock: ManualClock
) -> None:
    play(breaker, clock, everyday_latency, 50.0, 100.0)
    while breaker.state is State.CLOSED:
        breaker.acquire().failure()
    clock.advance(breaker.retry_after)
    hopeless = breaker._circuit.detector.baseline.hopeless
    assert hopeless >= 2.0 * breaker.slow_threshold

    probe = breaker.acquire()
    clock.advance(0.9 * hopeless)
    breaker.try_acquire()
    probe.success()

    assert breaker.state is State.HALF_OPEN
    assert breaker._circuit.recovery is not None
    assert breaker._circuit.recovery.good == 1


def test_calls_that_wait_for_their_client_fill_no_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    waiting = fill(breaker)
    for permit in waiting:
        assert isinstance(permit, LoosePermit)
        permit.wait()

    served = fill(breaker)

    assert len(served) == len(waiting)
    assert breaker.try_acquire() is None
    served.pop().success()
    clock.advance(0.01)
    assert breaker.try_acquire() is not None


def test_a_call_from_before_the_trouble_says_nothing_of_how_long_calls_take_now(
    breaker: Breaker, clock: ManualClock
) -> None:
    before = breaker.acquire()
    limit(breaker, clock)
    within = breaker.acquire()
    clock.advance(0.4)
    answers = breaker._circuit.recovery
    assert answers is not None

    before.success()
    assert answers.answers.slowest < 0.4

    within.success()
    assert answers.answers.slowest == pytest.approx(0.4)


# How long calls take now


def lasting(seconds: float) -> Callable[[Random, int], float]:
    return lambda chance, running: seconds * chance.lognormvariate(0.0, 0.3)


@pytest.mark.parametrize("rate", [1.0, 5.0, 20.0, 100.0])
@pytest.mark.parametrize(("before", "now"), [(0.001, 0.2), (0.001, 2.0), (0.005, 5.0), (0.01, 10)])
def test_a_callee_that_has_become_far_slower_is_not_taken_for_dead_again_and_again(
    breaker: Breaker, clock: ManualClock, before: float, now: float, rate: float
) -> None:
    """A cold cache: until the first answer it looks like a hang, and then it is known to be none."""
    play(breaker, clock, lasting(before), rate, 100.0 / rate + 20.0)
    play(breaker, clock, lasting(now), rate, 2.0 * now + 5.0)
    generation = breaker._circuit.generation

    play(breaker, clock, lasting(now), rate, 240.0)

    assert breaker._circuit.generation - generation <= 4
    assert breaker.state is State.CLOSED


def test_a_hang_after_slow_answers_is_noticed_by_how_long_those_took(
    breaker: Breaker, clock: ManualClock
) -> None:
    play(breaker, clock, lasting(0.01), 20.0, 30.0)
    play(breaker, clock, lasting(1.0), 20.0, 8.0)
    assert breaker.state is State.LIMITED

    began = clock.now
    hang(breaker, clock, until=State.OPEN)

    assert rule(breaker) == "mute"
    assert 4.0 < clock.now - began < 10.0
