"""Foresight: calls in flight that tell of an outage before the first of them is overdue."""

from __future__ import annotations

import pytest
from tests.support.limits import hang
from tests.support.training import everyday, teach

from recloser import Breaker, Permit, State
from recloser.testing import ManualClock, no_jitter

GAP = 0.01


@pytest.fixture
def breaker(breaker: Breaker, clock: ManualClock) -> Breaker:
    """It has seen two thousand calls of about 0.1 s, and calls 0.25 to 0.3 s slow."""
    teach(breaker, clock, everyday(2_000))
    assert 0.2 < breaker.metrics().slow_threshold < 0.31
    return breaker


def ask(breaker: Breaker, clock: ManualClock, seconds: float) -> list[Permit]:
    """Ask to call at even distances; the calls that were admitted, none of which ends."""
    admitted: list[Permit] = []
    for _ in range(round(seconds / GAP)):
        clock.advance(GAP)
        permit = breaker.try_acquire()
        if permit is not None:
            admitted.append(permit)
    return admitted


def test_calls_of_which_none_comes_back_limit_before_one_is_overdue(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold = breaker.metrics().slow_threshold

    hung = ask(breaker, clock, threshold - GAP)

    assert breaker.state is State.LIMITED
    assert len(hung) < threshold / GAP
    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.numbers["late"] >= 5
    # Until one comes back, no more calls are let through than are in flight.
    assert reason.numbers["limit"] == len(hung)


def test_calls_of_which_none_comes_back_open_when_the_callee_is_mute(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold, began = breaker.metrics().slow_threshold, clock.now

    hang(breaker, clock, until=State.OPEN, gap=GAP)

    assert clock.now - began < 9.0 * threshold


def test_calls_that_come_back_though_later_ones_do_not_speak_against_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold = breaker.metrics().slow_threshold
    calls = ask(breaker, clock, 0.5 * threshold)

    for permit in calls[1::2]:
        permit.success()
    ask(breaker, clock, 0.5 * threshold - GAP)

    assert breaker.state is State.CLOSED


def test_fewer_late_calls_than_min_failures_say_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(4):
        breaker.acquire()
    clock.advance(0.9 * breaker.metrics().slow_threshold)

    breaker.acquire()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0


def test_a_call_that_has_begun_to_answer_is_not_late(breaker: Breaker, clock: ManualClock) -> None:
    threshold = breaker.metrics().slow_threshold
    for _ in range(round(threshold / GAP) - 2):
        clock.advance(GAP)
        breaker.acquire().mark()

    assert breaker.state is State.CLOSED


def test_a_key_that_has_seen_few_calls_foresees_nothing(clock: ManualClock) -> None:
    """The first calls to end are the fast ones: what is known of a young key is too fast."""
    breaker = Breaker("k", clock=clock, random=no_jitter)
    teach(breaker, clock, everyday(200))

    ask(breaker, clock, breaker.metrics().slow_threshold - GAP)

    assert breaker.state is State.CLOSED


def test_what_was_foreseen_wrongly_is_learned(breaker: Breaker, clock: ManualClock) -> None:
    """A pause of the callee that was over before anything was slow was no outage."""
    before = breaker.metrics().normal_bad_rate
    late = ask(breaker, clock, breaker.metrics().slow_threshold - GAP)
    assert breaker.state is State.LIMITED

    for permit in late:
        permit.success()
    for _ in range(100):
        clock.advance(GAP)
        if (probe := breaker.try_acquire()) is not None:
            probe.success()

    assert breaker.metrics().state is State.CLOSED
    assert breaker.metrics().normal_bad_rate > before
