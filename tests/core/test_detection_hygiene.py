"""What other breakers learned the hard way."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import pytest
from tests.support.training import everyday, teach

from recloser import Breaker, Permit, Registry, State
from recloser.testing import ManualClock, RecordingListener


def healthy(breaker: Breaker, clock: ManualClock, calls: int = 2_000, seed: int = 1) -> None:
    teach(breaker, clock, everyday(calls, seed), pause=0.01)


@pytest.fixture
def breaker(breaker: Breaker, clock: ManualClock) -> Breaker:
    healthy(breaker, clock)
    assert breaker.state is State.CLOSED
    return breaker


def fail_until_open(breaker: Breaker, clock: ManualClock) -> int:
    calls = 0
    while breaker.state is State.CLOSED:
        permit = breaker.acquire()
        clock.advance(0.02)
        permit.failure()
        calls += 1
        assert calls < 100
    return calls


def recover(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(1_000):
        if breaker.state is State.CLOSED:
            return
        permit = breaker.try_acquire()
        clock.advance(0.1)
        if permit is not None:
            permit.success()
    raise AssertionError("it did not recover")


def test_its_own_refusals_are_no_failures(breaker: Breaker, clock: ManualClock) -> None:
    """go-zero#5551: refusals fed the ratio, and it never recovered."""
    fail_until_open(breaker, clock)
    failures = breaker.metrics().failures

    for _ in range(5_000):
        assert breaker.try_acquire() is None
    clock.advance(breaker.retry_after)
    recover(breaker, clock)

    assert breaker.metrics().failures == failures
    assert breaker.metrics().refused >= 5_000
    healthy(breaker, clock, 200)
    assert breaker.state is State.CLOSED


def test_an_outage_is_never_learned(breaker: Breaker, clock: ManualClock) -> None:
    """envoy#38338: the baseline took in the outage, which made the next one harder to see."""
    before = breaker.metrics()
    needed = []

    for _ in range(5):
        needed.append(fail_until_open(breaker, clock))
        clock.advance(60.0)
        recover(breaker, clock)
        healthy(breaker, clock, 300)

    after = breaker.metrics()
    assert after.slow_threshold == pytest.approx(before.slow_threshold, rel=0.1)
    assert after.normal_bad_rate <= before.normal_bad_rate + 0.005
    assert max(needed) <= needed[0] + 1


def test_idle_nights_teach_nothing(breaker: Breaker, clock: ManualClock) -> None:
    """Semian fed an empty window to its smoother: quiet hours taught that 0 % is normal."""
    before = breaker.metrics()

    for _ in range(30):
        clock.advance(36_000.0)
        assert breaker.state is State.CLOSED

    after = breaker.metrics()
    assert after.slow_threshold == before.slow_threshold
    assert after.normal_bad_rate == before.normal_bad_rate
    healthy(breaker, clock, 200)
    assert breaker.state is State.CLOSED


def test_a_late_result_does_not_move_a_newer_generation(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Polly lets the first result decide, even of a call made before it opened."""
    late = [breaker.acquire() for _ in range(20)]
    fail_until_open(breaker, clock)

    for permit in late[:10]:
        permit.success()
    assert breaker.state is State.OPEN
    clock.advance(breaker.retry_after)
    probe = breaker.acquire()
    for permit in late[10:]:
        permit.failure()

    assert probe.is_probe
    assert breaker.metrics().state is State.HALF_OPEN


def test_there_is_a_floor_under_what_is_learned(breaker: Breaker, clock: ManualClock) -> None:
    """smartcb#3: where 0 % was learned, one error tripped."""
    healthy(breaker, clock, 20_000, seed=2)

    for _ in range(4):
        permit = breaker.acquire()
        clock.advance(0.02)
        permit.failure()

    assert breaker.state is State.CLOSED


def test_fast_failures_do_not_make_a_sick_service_look_fast(
    breaker: Breaker, clock: ManualClock
) -> None:
    """linkerd2#4537: fast errors pulled the latency baseline down."""
    before = breaker.metrics().slow_threshold

    for index in range(2_000):
        permit = breaker.acquire()
        if index % 4:
            clock.advance(0.1)
            permit.success()
        else:
            clock.advance(0.001)
            permit.failure()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().slow_threshold > 0.5 * before


def test_a_lost_probe_does_not_hold_it_half_open(breaker: Breaker, clock: ManualClock) -> None:
    """The most reported bug of all: resilience4j#935, Polly#1979, opossum#276, Sentinel#1638."""
    fail_until_open(breaker, clock)
    clock.advance(breaker.retry_after)
    lost = breaker.acquire()

    clock.advance(3600.0)
    recover(breaker, clock)

    assert not lost.ended
    assert breaker.state is State.CLOSED


# Slowness that nobody notices


def fast(chance: Random) -> float:
    return chance.uniform(0.01, 0.02)


@pytest.mark.parametrize("slow", [0.051, 0.06])
@pytest.mark.parametrize("at_a_time", [1, 2, 5, 20])
def test_a_few_answers_above_the_slow_floor_refuse_nobody(
    clock: ManualClock, slow: float, at_a_time: int
) -> None:
    """`slow_floor` is where slowness begins to matter, and no outage."""
    chance, listener = Random(1), RecordingListener()
    registry = Registry(clock=clock)
    registry.subscribe(listener)
    breaker, in_flight = registry["k"], list[tuple[float, int, Permit]]()
    for number in range(800):
        clock.advance(0.015 / at_a_time)
        while in_flight and in_flight[0][0] <= clock.now:
            heappop(in_flight)[2].success()
        latency = slow if 300 <= number < 305 else fast(chance)
        permit = breaker.acquire()  # or it raises
        heappush(in_flight, (clock.now + latency, number, permit))

    assert State.OPEN not in {each.after for each in listener.transitions}


def test_answers_that_stay_above_the_slow_floor_never_open(clock: ManualClock) -> None:
    chance, listener = Random(1), RecordingListener()
    registry = Registry(clock=clock)
    registry.subscribe(listener)
    teach(registry["k"], clock, [fast(chance) for _ in range(300)])

    teach(registry["k"], clock, [0.051] * 2000)

    assert State.OPEN not in {each.after for each in listener.transitions}


@pytest.mark.parametrize("at_once", [1, 5, 10, 20, 100])
def test_calls_that_come_all_at_once_are_not_refused_for_it_either(
    clock: ManualClock, at_once: int
) -> None:
    registry, chance = Registry(clock=clock), Random(1)

    def make(latencies: list[float]) -> None:
        started = clock.now
        permits = [registry["k"].acquire() for _ in latencies]  # or it raises
        for latency, permit in zip(sorted(latencies), permits, strict=True):
            clock.advance(started + latency - clock.now)
            permit.success()

    for _ in range(max(300 // at_once, 2)):
        make([fast(chance) for _ in range(at_once)])
    for _ in range(2):
        make([0.051] * 5)
    for _ in range(20):
        make([fast(chance) for _ in range(at_once)])


def test_calls_that_take_far_longer_than_the_slow_floor_are_limited_as_ever(
    clock: ManualClock,
) -> None:
    chance = Random(1)
    breaker = Registry(clock=clock)["k"]
    teach(breaker, clock, [fast(chance) for _ in range(300)])

    teach(breaker, clock, [0.2] * 5)

    assert breaker.state is State.LIMITED
    limit = breaker._circuit.limit
    assert limit is not None
    assert limit.size < 10.0
