"""Counts: how many calls ended in which way, how fast calls come, and how many run at a time."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser import Breaker
from recloser._circuit.counts import Counts
from recloser.testing import ManualClock

LATENCIES = st.lists(st.floats(0.0, 1e6, allow_subnormal=False), max_size=50)

# Totals


@pytest.mark.parametrize(
    "name", ["successes", "failures", "throttled", "ignored", "cancelled", "refused"]
)
def test_a_call_was_asked_for_however_it_ended(name: str) -> None:
    counts = Counts()

    setattr(counts, name, 3)

    assert counts.asked == 3


def test_a_slow_call_was_asked_for_once_though_it_is_a_success_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    clock.advance(100.0)
    permit.success()

    metrics = breaker.metrics()

    assert (metrics.calls, metrics.successes, metrics.slow) == (1, 1, 1)


def test_a_failure_has_a_latency_as_a_success_has() -> None:
    counts = Counts()

    counts.count(2.0, success=True)
    counts.count(3.0, success=False)

    assert (counts.successes, counts.failures) == (1, 1)
    assert (counts.latency_sum, counts.latency_squares) == (5.0, 13.0)


@given(LATENCIES)
def test_successes_counted_together_are_those_counted_one_by_one(latencies: list[float]) -> None:
    together, one_by_one = Counts(), Counts()

    assert together.take_successes(recent := [*latencies]) == latencies
    assert recent == []
    for latency in latencies:
        one_by_one.count(latency, success=True)

    assert together.successes == one_by_one.successes == len(latencies)
    assert together.latency_sum == pytest.approx(one_by_one.latency_sum)
    assert together.latency_squares == pytest.approx(one_by_one.latency_squares)


# The rate


def measured(counts: Counts, *, calls: int, seconds: float) -> bool:
    """Measure after so many calls in all, so long after the rate began to be watched at 5.0."""
    counts.watch_rate(5.0)
    return counts.measure_rate(calls, 5.0 + seconds)


def test_the_rate_is_calls_per_second() -> None:
    counts = Counts()

    assert measured(counts, calls=40, seconds=4.0)
    assert counts.rate == 10.0


def test_a_measurement_begins_where_the_last_one_ended() -> None:
    counts = Counts()
    measured(counts, calls=40, seconds=4.0)

    assert measured(counts, calls=60, seconds=14.0)
    assert counts.rate == 2.0
    assert measured(counts, calls=100, seconds=15.0)
    assert counts.rate == 40.0


@pytest.mark.parametrize(
    ("calls", "seconds", "expected"), [(7, 1.0, False), (8, 1.0, True), (8, 0.0, False)]
)
def test_few_calls_or_no_time_measure_no_rate(calls: int, seconds: float, expected: bool) -> None:
    counts = Counts()

    assert measured(counts, calls=calls, seconds=seconds) is expected
    assert counts.rate == (8.0 if expected else 0.0)


def test_a_clock_that_goes_back_measures_no_rate_and_loses_no_call() -> None:
    counts = Counts()

    assert not measured(counts, calls=10, seconds=-1.0)

    assert measured(counts, calls=20, seconds=2.0)
    assert counts.rate == 10.0


def test_calls_that_were_too_few_count_in_the_next_measurement() -> None:
    counts = Counts()
    measured(counts, calls=5, seconds=1.0)

    assert measured(counts, calls=10, seconds=2.0)
    assert counts.rate == 5.0


def test_without_a_beginning_there_is_no_rate() -> None:
    counts = Counts()

    assert not counts.measure_rate(100, 10.0)
    assert counts.rate == 0.0


def test_to_watch_the_rate_again_does_not_begin_anew() -> None:
    counts = Counts()
    counts.watch_rate(1.0)
    counts.watch_rate(9.0)

    counts.measure_rate(90, 10.0)

    assert counts.rate == 10.0


# Concurrency


def test_more_calls_in_flight_are_usual_at_once() -> None:
    counts = Counts()

    counts.measure_concurrency(50)

    assert counts.concurrency == 50


def test_fewer_calls_in_flight_are_usual_step_by_step() -> None:
    counts = Counts()
    counts.measure_concurrency(100)
    seen: list[int] = []

    for _ in range(20):
        counts.measure_concurrency(10)
        seen.append(counts.concurrency)

    assert seen[:3] == [90, 81, 72]
    assert seen[-1] == 10


def test_one_call_at_a_time_is_the_least() -> None:
    counts = Counts()

    counts.measure_concurrency(0)

    assert counts.concurrency == 1


def test_the_pace_can_be_forgotten_and_totals_stay() -> None:
    counts = Counts()
    counts.count(1.0, success=True)
    measured(counts, calls=40, seconds=4.0)
    counts.measure_concurrency(50)

    counts.forget_pace()

    assert (counts.rate, counts.concurrency) == (0.0, 1)
    assert (counts.successes, counts.latency_sum) == (1, 1.0)
    # It is measured on from there.
    assert measured(counts, calls=60, seconds=14.0)
    assert counts.rate == 2.0


@pytest.mark.parametrize("now", [100.0, 99.0, inf, nan])
def test_a_clock_that_stands_or_jumps_measures_no_rate(now: float) -> None:
    counts = Counts()
    counts.watch_rate(100.0)

    assert not counts.measure_rate(1_000, now)
    assert counts.rate == 0.0
    assert counts.measure_rate(1_000, 110.0)
    assert counts.rate == 100.0


def test_until_it_is_measured_one_call_at_a_time_is_usual() -> None:
    assert Counts().concurrency == 1
