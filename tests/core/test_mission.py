"""The mission's source: the eleven tests of llmkit's circuit_breaker.rs, one by one."""

from __future__ import annotations

import copy

import pytest

from recloser import Breaker, BreakerOpenError, Policy, State
from recloser.testing import ManualClock, no_jitter


def breaker_with(policy: Policy | None = None) -> Breaker:
    return Breaker("openai", policy, clock=ManualClock(), random=no_jitter)


def record_failures(breaker: Breaker, number: int) -> None:
    for _ in range(number):
        breaker.record(0.1, success=False)


def test_creation_keeps_the_key() -> None:
    breaker = breaker_with()

    assert breaker.key == "openai"
    assert breaker.state is State.CLOSED


def test_successes_keep_it_closed() -> None:
    breaker = breaker_with()

    for _ in range(10):
        breaker.acquire().success()

    assert breaker.state is State.CLOSED


def test_ten_failures_open_it_and_it_refuses() -> None:
    breaker = breaker_with()

    record_failures(breaker, 10)

    assert breaker.state is State.OPEN
    with pytest.raises(BreakerOpenError):
        breaker.acquire()


def test_half_open_admits_five_of_ten() -> None:
    breaker = breaker_with(Policy(half_open_requests=5))
    breaker.open()

    breaker.half_open()
    permits = [breaker.try_acquire() for _ in range(10)]

    assert sum(permit is not None for permit in permits) == 5
    assert breaker.state is State.HALF_OPEN


def test_four_good_of_five_close_it() -> None:
    breaker = breaker_with(Policy(half_open_requests=5, success_rate_threshold=0.8))
    breaker.open()
    breaker.half_open()

    breaker.record(0.1, success=False)
    for _ in range(4):
        assert breaker.state is State.HALF_OPEN
        breaker.record(0.1, success=True)

    assert breaker.state is State.CLOSED


def test_reset_closes_it() -> None:
    breaker = breaker_with()
    record_failures(breaker, 10)

    breaker.reset()

    assert breaker.state is State.CLOSED
    assert breaker.try_acquire() is not None


def test_history_and_mean_are_right() -> None:
    breaker = breaker_with()

    for latency in (0.050, 0.060, 0.055):
        breaker.record(latency, success=True)

    metrics = breaker.metrics()
    assert metrics.count == 3
    assert metrics.mean == pytest.approx(0.055)
    assert metrics.standard_deviation == pytest.approx(0.00408, abs=1e-5)
    # From buckets an eighth of an octave wide.
    assert metrics.p50 == pytest.approx(0.055, rel=0.09)


def test_error_rate_of_one_in_three() -> None:
    breaker = breaker_with()

    for success in (True, False, True):
        breaker.record(0.05, success=success)

    assert breaker.metrics().error_rate == pytest.approx(1 / 3)


def test_half_a_second_is_an_anomaly_where_a_tenth_is_normal() -> None:
    breaker = breaker_with()

    for index in range(110):
        breaker.record(0.100 + index % 11 / 1000, success=True)

    assert breaker.is_slow(0.500)
    assert not breaker.is_slow(0.105)


def test_copies_share_state() -> None:
    breaker = breaker_with()

    record_failures(copy.copy(breaker), 10)

    assert breaker.state is State.OPEN
    assert copy.deepcopy(breaker).state is State.OPEN


def test_slow_successes_after_ten_failures_leave_it_open() -> None:
    breaker = breaker_with()
    record_failures(breaker, 10)

    for _ in range(5):
        breaker.record(5.0, success=True)

    assert breaker.state is State.OPEN
