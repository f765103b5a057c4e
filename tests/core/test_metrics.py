"""Metrics: the figures of a breaker, and its own explanation of what it does."""

from __future__ import annotations

import pytest
from tests.support.training import record

from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener


@pytest.fixture
def policy() -> Policy:
    return Policy(open_for=0.5)


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def breaker(registry: Registry, listener: RecordingListener) -> Breaker:
    registry.subscribe(listener)
    return registry["k"]


def test_a_fresh_breaker_says_what_it_goes_by(breaker: Breaker) -> None:
    assert breaker.explain().startswith("closed: bad is failed or slower than the ceiling of 60 s")


def test_a_closed_breaker_says_what_is_normal(breaker: Breaker) -> None:
    record(breaker, 200, success=True, latency=0.2)

    sentence = breaker.explain()

    assert sentence.startswith("closed: ")
    assert "sigma" in sentence
    assert "over a median of " in sentence
    assert "is normal" in sentence


def test_a_suspicious_breaker_says_how_far_it_is(breaker: Breaker) -> None:
    record(breaker, 200, success=True, latency=0.2)
    for _ in range(3):
        breaker.record(0.2, success=False)

    assert breaker.explain().startswith("closed, but 3 of the last 3 calls were bad, evidence ")


def test_probes_are_explained_while_they_run_and_when_they_have_decided(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().success()
    assert breaker.explain().startswith("half-open: 1 good and 0 bad probes of ")

    while breaker.state is not State.CLOSED:
        breaker.acquire().success()
    reason = listener.transitions[-1].reason

    assert reason.rule == "recovered"
    assert str(reason).startswith("recovered after ")
    assert f"{reason.numbers['good']:.0f} of " in str(reason)


def test_the_mean_the_deviation_and_the_error_rate_are_those_of_all_calls_that_ended(
    breaker: Breaker,
) -> None:
    for latency, success in [(0.1, True), (0.2, True), (0.3, False), (0.4, True)]:
        breaker.record(latency, success=success)
    breaker.acquire().ignore()
    left = breaker.acquire()

    metrics = breaker.metrics()

    assert (metrics.calls, metrics.count, metrics.in_flight) == (6, 4, 1)
    assert metrics.mean == pytest.approx(0.25)
    assert metrics.standard_deviation == pytest.approx((0.05 / 4) ** 0.5)
    assert metrics.error_rate == 0.25
    left.cancel()


def test_before_the_first_call_every_figure_is_a_number(breaker: Breaker) -> None:
    metrics = breaker.metrics()

    assert (metrics.mean, metrics.standard_deviation, metrics.error_rate) == (0.0, 0.0, 0.0)
    assert (metrics.p50, metrics.p90, metrics.p99) == (0.0, 0.0, 0.0)


def test_quantiles_are_of_the_good_calls_to_a_few_percent(breaker: Breaker) -> None:
    for call in range(100):
        breaker.record(0.1 + call * 37 % 100 / 1000, success=True)
    for _ in range(3):
        breaker.record(50.0, success=False)

    metrics = breaker.metrics()

    assert metrics.p50 == pytest.approx(0.15, rel=0.05)
    assert metrics.p90 == pytest.approx(0.19, rel=0.05)
    assert metrics.p99 == pytest.approx(0.199, rel=0.05)
