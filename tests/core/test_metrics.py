"""Metrics: the figures of a breaker, and its own explanation of what it does."""

from __future__ import annotations

import re
from collections import deque
from math import ceil

import pytest
from tests.support.breaker_state import is_closed
from tests.support.limits import everyday_latency, fill, hang, limit, play
from tests.support.training import learned, record

from recloser import Breaker, Permit, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter


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


HALF_OPEN = re.compile(
    r"half-open: (\d+) good and (\d+) bad probes of (\d+) good ones needed, at most \d+ at a time"
)


def told(breaker: Breaker) -> tuple[int, int, int]:
    """The good and the bad probes so far, and how many good ones are needed, as `explain` tells."""
    match = HALF_OPEN.fullmatch(breaker.explain())
    assert match is not None, breaker.explain()
    good, bad, needed = map(int, match.groups())
    return good, bad, needed


PROBED = [
    # 0.8 of ten, of the 98 % that normally are good: 7.84.
    (Policy(), 8),
    (Policy(half_open_requests=1), 1),
    (Policy(half_open_requests=4, success_rate_threshold=0.7), 3),
    (Policy(half_open_requests=25), 20),
    (Policy(success_rate_threshold=1.0, normal_bad_rate=0.0001), 10),
    (Policy(success_rate_threshold=0.01), 1),
    (Policy(normal_bad_rate=0.3), 6),
]


@pytest.mark.parametrize(("policy", "needed"), PROBED)
def test_the_number_of_good_probes_that_it_tells_is_the_one_that_closes_it(
    breaker: Breaker, policy: Policy, needed: int
) -> None:
    breaker.half_open()
    for good in range(needed):
        assert told(breaker) == (good, 0, needed)
        breaker.acquire().success()

    assert is_closed(breaker)


@pytest.mark.parametrize("policy", [policy for policy, needed in PROBED if needed > 2])
@pytest.mark.parametrize("good_before", [1, 2])
def test_after_a_bad_probe_it_tells_the_number_that_closes_it_then(
    breaker: Breaker, policy: Policy, good_before: int
) -> None:
    """It is then decided by the share of good probes, if that takes fewer of them."""
    breaker.half_open()
    for _ in range(good_before):
        breaker.acquire().success()
    breaker.acquire().failure()
    needed = told(breaker)[2]

    for good in range(good_before, needed):
        assert told(breaker) == (good, 1, needed)
        breaker.acquire().success()

    assert is_closed(breaker)
    assert needed < 2 * policy.half_open_requests


def test_on_a_busy_key_the_number_that_explain_tells_is_the_one_that_closes_it() -> None:
    """Where many calls usually run at once, the window must be as wide before it closes."""
    clock = ManualClock(1000.0)
    breaker = Breaker("k", clock=clock, random=no_jitter)
    running: deque[Permit] = deque()
    for _ in range(12_000):  # 300 calls at a time
        running.append(breaker.acquire())
        if len(running) > 300:
            running.popleft().success()
        clock.advance(0.1 / 300)
    for permit in running:
        permit.success()
    breaker.open(for_=1.0)
    clock.advance(1.0)
    good, told = 0, ""
    while breaker.state is not State.CLOSED:
        breaker.acquire().success()
        good += 1
        if breaker.state is State.HALF_OPEN:
            told = breaker.explain()

    assert f"of {good} good ones needed" in told


def test_after_slow_calls_it_tells_that_two_good_probes_are_enough(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The load then returns by a limit, which would notice if more calls were slow."""
    learned(breaker, clock)
    hang(breaker, clock, until=State.OPEN)
    clock.advance(breaker.retry_after)
    breaker.acquire().success()
    assert told(breaker) == (1, 0, 2)

    breaker.acquire().success()

    assert breaker.state is State.LIMITED


def test_a_limited_breaker_says_how_many_calls_may_run_and_how_many_do(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    sentence = breaker.explain()
    size = int(re.findall(r"^limited: at most (\d+) calls at a time, 0 in flight: ", sentence)[0])
    assert f"at first at most {size} calls at a time" in sentence
    assert "5 of the last 5 calls were slower than 201 ms" in sentence

    running = fill(breaker)

    assert len(running) == size
    assert breaker.explain().startswith(f"limited: at most {size} calls at a time, {size} in fl")


@pytest.mark.parametrize("size", [1.0, 2.4, 2.5, 3.0, 7.01])
def test_the_limit_that_is_told_is_the_number_of_calls_that_pass(
    breaker: Breaker, clock: ManualClock, size: float
) -> None:
    limit(breaker, clock)
    assert breaker._circuit.limit is not None
    breaker._circuit.limit.size = size

    running = fill(breaker)

    passed = len(running)
    assert passed == ceil(size)
    assert f"at most {passed} calls at a time, {passed} in flight" in breaker.explain()


def test_a_limited_breaker_that_lets_single_calls_through_says_so_and_why(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Each call takes nine times as long, however few there are."""
    play(breaker, clock, everyday_latency, 20.0, 200.0)
    play(
        breaker, clock, lambda chance, running: 9.0 * everyday_latency(chance, running), 20.0, 60.0
    )
    assert breaker.explain().startswith("limited: one call at a time, ")

    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.rule == "sick"
    assert reason.numbers["median"] > reason.numbers["slow_threshold"]
    assert "however few there are" in str(reason)


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
