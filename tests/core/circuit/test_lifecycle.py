"""The lifecycle: how a limit begins and ends, by the calls and by hand."""

from __future__ import annotations

from contextlib import suppress
from math import ceil, inf, nan
from random import Random

import pytest
from tests.support.interrupts import Interrupt
from tests.support.limits import (
    calm_of,
    fill,
    hang,
    limit,
    limit_of,
    rule,
    serve,
    served_until,
    slow_down,
)
from tests.support.strikes import Strike
from tests.support.training import learned

from recloser import Breaker, Permit, Policy, Registry, State
from recloser._circuit.sentences import by_hand
from recloser.testing import ManualClock, RecordingListener, no_jitter

CLOSED, LIMITED = State.CLOSED, State.LIMITED
OPEN, HALF_OPEN = State.OPEN, State.HALF_OPEN


# The limit begins


def test_a_limit_begins_with_twice_as_many_calls_as_are_in_flight_if_they_come_back(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    running = [breaker.acquire() for _ in range(13)]
    clock.advance(0.3)

    while breaker.state is CLOSED:
        running.pop(0).success()

    assert limit_of(breaker).size == 2.0 * breaker.metrics().in_flight
    assert len(fill(breaker)) == len(running)


def test_if_none_comes_back_it_begins_with_those_in_flight_until_the_first_one_does(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    running = hang(breaker, clock, until=LIMITED, gap=0.02)
    assert limit_of(breaker).size == len(running) > 5
    assert breaker.try_acquire() is None

    running[-1].success()

    assert limit_of(breaker).size == 2.0 * len(running)


@pytest.mark.parametrize("rate", [1.0, 3.0, 9.0])
def test_of_a_callee_that_others_may_use_none_may_pile_up_until_one_comes_back(
    breaker: Breaker, clock: ManualClock, rate: float
) -> None:
    """Less than one call at a time is usual: `rate` times 0.1 s."""
    learned(breaker, clock)
    breaker._circuit.counts.rate = rate

    running = hang(breaker, clock, until=LIMITED, gap=0.02)

    assert limit_of(breaker).size == 2.0 < len(running)
    running[-1].success()
    assert limit_of(breaker).size == 2.0 * len(running)


def test_if_the_first_one_was_severely_slow_it_stays_as_narrow(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    running = hang(breaker, clock, until=LIMITED, gap=0.02)

    clock.advance(0.5)
    running[-1].success()

    assert limit_of(breaker).size == len(running)


def test_it_begins_with_two_calls_at_least(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    for _ in range(5):
        permit = breaker.acquire()
        clock.advance(0.5)
        permit.cancel()

    assert limit_of(breaker).size == 2.0


def test_it_begins_with_the_usual_concurrency_at_least(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    running = [breaker.acquire() for _ in range(20)]
    for _ in range(2_000):
        running.append(breaker.acquire())
        clock.advance(0.005)
        running.pop(0).success()
    for permit in running:
        permit.success()
    usual = breaker._circuit.counts.concurrency
    assert usual > 10
    assert breaker.metrics().in_flight == 0

    slow_down(breaker, clock)

    assert limit_of(breaker).size == 2.0 * usual


def test_calls_that_are_failed_and_not_slow_open_it_at_once(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    registry.subscribe(listener)
    learned(breaker, clock)

    for _ in range(20):
        breaker.record(0.1, success=False)

    assert [each.after for each in listener.transitions] == [OPEN]
    assert rule(breaker) == "failures"


def test_on_a_suspicion_of_slow_and_failed_calls_the_larger_part_decides(
    registry: Registry, clock: ManualClock
) -> None:
    for key, slow_of_five, after in (("slow", 3, LIMITED), ("failed", 2, OPEN)):
        breaker = registry[key]
        learned(breaker, clock)
        for call in range(40):
            if breaker.state is not CLOSED:
                break
            clock.advance(0.01)
            breaker.record(0.3, success=True) if call % 5 < slow_of_five else breaker.record(
                0.1, success=False
            )
        assert breaker.state is after, key


# The limit ends


def test_it_ends_at_once_if_calls_are_fast_again(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)

    assert served_until(CLOSED, breaker, clock, 0.1) < 2.0

    assert rule(breaker) == "eased"


def test_after_a_refusal_it_takes_twenty_calm_seconds(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)

    assert calm_of(breaker, clock) == pytest.approx(20.0, abs=1.5)


def test_calm_doubles_when_limits_follow_each_other_up_to_a_minute(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Else a lasting overload would make it flap."""
    learned(breaker, clock)
    calms: list[float] = []

    for _ in range(6):
        slow_down(breaker, clock)
        calms.append(limit_of(breaker)._calm)
        calm_of(breaker, clock)

    assert calms == [20.0, 40.0, 60.0, 60.0, 60.0, 60.0]


def test_after_half_a_minute_without_a_limit_calm_is_short_again(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for _ in range(2):
        slow_down(breaker, clock)
        calm_of(breaker, clock)
    serve(breaker, clock, 0.1, 320)

    slow_down(breaker, clock)

    assert limit_of(breaker)._calm == 20.0


def test_a_second_limit_soon_after_does_not_end_at_once(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Five calls at a time: with three or fewer there is nothing to be learned from waiting."""
    waits: list[float] = []
    learned(breaker, clock)

    for _ in range(2):
        slow_down(breaker, clock)
        began = clock.now
        while breaker.state is LIMITED:
            running = [breaker.acquire() for _ in range(4)]
            clock.advance(0.1)
            for permit in running:
                permit.success()
        waits.append(clock.now - began)

    assert waits[0] < 1.0
    assert waits[1] >= 10.0


def test_the_calls_in_flight_under_a_limit_are_the_usual_concurrency_after_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    """So that the probes of the next outage, and the next limit, begin with as many."""
    learned(breaker, clock)
    running = [breaker.acquire() for _ in range(12)]
    clock.advance(0.3)
    while breaker.state is CLOSED:
        running.pop(0).success()
    running += [breaker.acquire() for _ in range(4)]
    for permit in running:
        permit.success()
    peak = limit_of(breaker).peak
    assert peak >= 8

    served_until(CLOSED, breaker, clock, 0.1)

    assert breaker._circuit.counts.concurrency == peak


def test_a_latency_below_the_threshold_that_no_load_explains_is_the_new_normal(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)

    served_until(CLOSED, breaker, clock, 0.19)

    assert rule(breaker) == "new_normal"
    assert breaker.metrics().p50 == pytest.approx(0.19, rel=0.1)


# By hand


def test_opened_by_hand_a_limited_breaker_is_open_like_any_other(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    running = fill(breaker)

    breaker.open("maintenance", for_=20.0)

    assert breaker.state is OPEN
    assert breaker.retry_after == pytest.approx(20.0)
    assert breaker._circuit.limit is None
    for permit in running:
        permit.success()
    clock.advance(20.0)
    # It is a new outage, which did not begin with slow calls.
    for _ in range(20):
        if (probe := breaker.try_acquire()) is not None:
            probe.success()
    assert breaker.state is CLOSED
    assert rule(breaker) == "recovered"


def test_half_opened_by_hand_a_limited_breaker_sends_probes(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)

    breaker.half_open()

    assert breaker.state is HALF_OPEN
    assert breaker._circuit.limit is None
    probes = fill(breaker)
    assert len(probes) == Policy().half_open_requests
    assert all(probe.is_probe for probe in probes)
    clock.advance(0.1)
    for probe in probes:
        probe.success()
    # After slow calls, the load returns by a limit.
    assert breaker.state is LIMITED
    assert served_until(CLOSED, breaker, clock, 0.1) < 10.0


@pytest.mark.parametrize("state", [CLOSED, LIMITED])
def test_a_reset_closes_it_and_takes_the_vote_from_the_calls_in_flight(
    breaker: Breaker, clock: ManualClock, state: State
) -> None:
    if state is LIMITED:
        limit(breaker, clock)
    running = [breaker.acquire() for _ in range(3)]

    breaker.reset()

    assert breaker.state is CLOSED
    assert breaker._circuit.limit is None
    assert breaker._circuit.recovery is None
    clock.advance(9.0)
    for permit in running:
        permit.success()
    assert breaker.metrics().p50 == 0.0
    assert breaker.metrics().in_flight == 0


def test_after_a_reset_the_next_limit_is_the_first_one(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for _ in range(3):
        slow_down(breaker, clock)
        calm_of(breaker, clock)

    breaker.reset()
    limit(breaker, clock)

    assert limit_of(breaker)._calm == 20.0


# Modes


def test_observing_a_limit_refuses_nobody(clock: ManualClock) -> None:
    breaker = Breaker("k", clock=clock, random=no_jitter, mode="observe")
    learned(breaker, clock)
    for _ in range(5):
        breaker.record(0.3, success=True)
    assert breaker.state is LIMITED

    calls = [breaker.acquire() for _ in range(50)]

    metrics = breaker.metrics()
    assert metrics.refused == 50 - metrics.in_flight > 0
    assert metrics.in_flight == ceil(limit_of(breaker).size)
    assert breaker.retry_after == metrics.retry_after == 0.0
    assert breaker.explain().startswith("observe, nothing is refused; limited: at most ")
    for permit in calls:
        permit.success()
    assert breaker.metrics().in_flight == 0


def test_disabled_while_limited_it_refuses_nobody_either(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)

    breaker.mode = "disabled"

    calls = [breaker.acquire() for _ in range(50)]
    assert len(calls) == 50
    assert breaker.metrics().in_flight == breaker.metrics().refused == 0


# At random


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_steps_with_a_clock_that_jumps_never_raise(seed: int) -> None:
    chance, clock = Random(seed), ManualClock(1_000.0)
    registry = Registry(clock=clock, random=chance.random)
    listener = RecordingListener()
    registry.subscribe(listener)
    breaker = registry["k"]
    learned(breaker, clock)
    live: list[Permit] = []
    latency = 0.1

    for step in range(10_000):
        if step % 200 == 0:
            latency = chance.choice([0.1, 0.1, 0.3, 0.9, 5.0])
        jumps = chance.random() < 0.005
        clock.advance(
            chance.choice([-3600.0, -1.0, 1e4, 1e9, inf, nan])
            if jumps
            else chance.expovariate(4.0 / latency)
        )
        if (permit := breaker.try_acquire()) is not None:
            live.append(permit)
        wait = breaker.refusal().retry_after
        if not clock.now < inf:
            clock.now = 1_000.0 + step
        else:
            assert 0.0 <= wait <= 1e10
        assert breaker.explain()
        while len(live) > chance.randrange(1, 12):
            permit = live.pop(chance.randrange(len(live)))
            ways = ["success"] * 12 + ["failure", "throttled", "ignore", "cancel", "mark"]
            getattr(permit, chance.choice(ways))()
        circuit = breaker._circuit
        assert (circuit.limit is not None) is (circuit.state is LIMITED)
        assert (circuit.recovery is None) is (circuit.state is CLOSED)

    assert registry.faults == 0
    assert LIMITED in {each.after for each in listener.transitions}
    live.clear()
    permit = None
    breaker.metrics()
    limit_now = breaker._circuit.limit
    assert limit_now is None or len(limit_now._in_flight) == 0
    assert breaker.metrics().in_flight == 0


def test_probes_that_hung_are_no_calls_in_flight_once_it_is_closed(
    breaker: Breaker, clock: ManualClock
) -> None:
    """They may never end. The next limit would be so much wider, and they would take its places."""
    learned(breaker, clock)
    while breaker.state is not OPEN:
        breaker.acquire().failure()
    hung: list[Permit | None] = []
    for _ in range(6):
        clock.advance(breaker.retry_after)
        hung.append(breaker.try_acquire())
        clock.advance(100.0)
        assert breaker.try_acquire() is None
    clock.advance(breaker.retry_after)
    while breaker.state is not CLOSED:
        breaker.acquire().success()

    slow_down(breaker, clock)

    assert len(hung) - hung.count(None) == 6
    assert limit_of(breaker).size == 4.0
    assert len(fill(breaker)) == 4


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_the_wait_of_an_outage_is_spread_by_chance(
    clock: ManualClock, chance: float, part: float
) -> None:
    policy = Policy(jitter=0.2)
    breaker = Breaker("k", policy, clock=clock, random=lambda: chance)
    while breaker.state is CLOSED:
        breaker.acquire().failure()

    assert breaker.retry_after == pytest.approx(part * policy.open_for)


# Interrupted


def test_an_interrupted_change_is_whole_or_none() -> None:
    """An exception of a signal handler, at any place: who listens is told what the state is."""
    seen, changes = set[object](), set[bool]()
    while True:
        breaker = Breaker("k", clock=ManualClock(), random=no_jitter)
        circuit, strike = breaker._circuit, Strike(seen, within=("lifecycle.py",))
        with suppress(Interrupt), strike.awaited():
            circuit.open_by_hand(1000.0, inf, by_hand("manual", ""))
        if not strike.struck:
            break
        changed = circuit.state is OPEN
        changes.add(changed)
        assert [each.after for each in circuit.events] == [OPEN] * changed, strike.struck
        assert (circuit.recovery is not None) is changed
        assert circuit.generation == changed

    assert changes == {False, True}
