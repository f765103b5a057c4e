"""The limit against a callee with a queue, one that is healthy, and one that is sick."""

from __future__ import annotations

from collections import deque

import pytest
from tests.support.breaker_state import is_closed
from tests.support.limited_callee import LONGEST_PAUSE, Callee, World, new_limit
from tests.support.training import record

from recloser import Breaker, Permit, Policy, State
from recloser._circuit.round import Finding
from recloser.testing import ManualClock, no_jitter

WORK = 0.1032  # mean seconds of a call


def queue(servers: int, load: float, *, shared: bool, seed: int = 1) -> World:
    """A limit that begins with three times as many calls in flight as are worked on.

    Args:
        servers: How many calls are worked on at a time.
        load: Calls per second, as a multiple of what the servers can do.
        shared: Whether calls in flight share the servers, and not wait in a queue.
        seed: Of the calls and of the work.
    """
    limit = new_limit(max(2.0, 3.0 * servers))
    return World(limit, Callee(servers, seed, shared=shared), load * servers / WORK, seed)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("load", [1.3, 2.0, 4.0])
@pytest.mark.parametrize(("servers", "least"), [(1, 0.85), (2, 0.93), (4, 0.95), (16, 0.92)])
def test_it_follows_a_queue_so_that_all_servers_stay_busy(
    servers: int, least: float, load: float, shared: bool
) -> None:
    world = queue(servers, load, shared=shared)
    world.run(10.0)
    busy, steps = world.callee.busy, len(world.sizes)

    world.run(30.0)

    assert (world.callee.busy - busy) / 30.0 >= least
    # And so that calls wait no longer than they must: a slow call takes three times as long.
    typical = sorted(world.sizes[steps:])[len(world.sizes[steps:]) // 2]
    assert typical <= 5.0 * servers
    assert Finding.FAILING not in world.findings


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("servers", [2, 4, 16])
def test_in_a_healthy_queue_it_does_not_fall_below_what_serves_all(
    servers: int, shared: bool
) -> None:
    world = queue(servers, 0.7, shared=shared)
    begun = world.limit.size

    world.run(40.0)

    assert min(world.sizes) >= min(begun, 3.0 * servers)
    assert world.refused <= 0.01 * world.served
    assert world.findings[Finding.EASED] > 0
    assert not world.findings[Finding.SICK]


def sick(factor: float, rate: float = 50.0) -> World:
    """A callee without a queue, of which each call takes so many times as long."""
    callee = Callee(10_000)
    callee.slower = factor
    return World(new_limit(rate * 0.3), callee, rate)


def test_severe_sickness_is_told_from_load_and_gets_one_call_now_and_then() -> None:
    world = sick(10.0)

    world.run(15.0)
    assert world.findings[Finding.SICK]
    assert world.limit.is_pausing
    assert not world.limit.load.is_likely

    served = world.served
    world.run(60.0)
    assert world.limit.pauses == LONGEST_PAUSE
    # One call takes a second, and the pause two.
    assert 15 <= world.served - served <= 25


def test_mild_sickness_refuses_nobody_once_it_is_told_from_load() -> None:
    world = sick(3.5)
    world.run(15.0)
    assert world.findings[Finding.SICK]
    refused = world.refused

    world.run(60.0)

    assert not world.limit.is_pausing
    assert world.refused - refused <= 0.01 * 50.0 * 60.0


def test_when_sickness_is_over_the_load_returns_within_seconds() -> None:
    world = sick(10.0)
    world.run(30.0)
    world.callee.slower = 1.0

    # One slow call, a pause, two fast calls, and the doubling.
    world.run(1.8 + LONGEST_PAUSE + 2.0)
    refused = world.refused
    world.run(10.0)

    assert world.refused == refused
    assert world.findings[Finding.EASED]


class Mixed(Callee):
    """So many calls in five take twenty times as long, and the others are as fast as ever."""

    slow = 0

    def begin(self, token: int) -> None:
        self.slower = 20.0 if token % 5 < self.slow else 1.0
        super().begin(token)


@pytest.mark.parametrize(("slow", "expected"), [(2, Finding.EASED), (3, Finding.MIXED)])
def test_a_mixture_refuses_nobody_after_the_first_seconds(slow: int, expected: Finding) -> None:
    callee = Mixed(10_000)
    callee.slow = slow
    world = World(new_limit(15.0), callee, 50.0)
    world.run(10.0)
    refused, served = world.refused, world.served
    assert refused <= 0.5 * served

    world.run(60.0)

    assert world.findings[expected]
    assert not world.limit.is_pausing
    assert world.refused - refused <= 0.01 * (world.served - served)


# Behind a breaker


def call_regularly(breaker: Breaker, clock: ManualClock, latency: float, seconds: float) -> int:
    """Make 500 calls a second of the same latency; return how many were refused."""
    began, refused = clock(), 0
    in_flight: deque[Permit] = deque()
    for number in range(round(500 * seconds)):
        clock.advance(began + 0.002 * number - clock())
        while in_flight and clock() - in_flight[0].started >= latency:
            in_flight.popleft().success()
        permit = breaker.try_acquire()
        refused += permit is None
        if permit is not None:
            in_flight.append(permit)
    return refused


def test_on_a_busy_key_a_mild_latency_is_accepted_though_many_calls_are_always_in_flight(
    clock: ManualClock,
) -> None:
    """After twice the patience. Until then nobody is refused but in the half second of experiment."""
    breaker = Breaker("k", Policy(latency_patience=5.0), clock=clock, random=no_jitter)
    call_regularly(breaker, clock, 0.1, 30.0)

    assert call_regularly(breaker, clock, 0.3, 9.0) <= 300
    assert breaker.state is State.LIMITED
    assert call_regularly(breaker, clock, 0.3, 3.0) == 0

    assert is_closed(breaker)
    assert breaker.metrics().slow_threshold > 0.35


def test_a_fresh_key_of_which_all_calls_take_too_long_gets_one_call_at_a_time(
    clock: ManualClock,
) -> None:
    """Nothing is known about it, so there is nothing to compare them with."""
    breaker = Breaker("k", Policy(slow_ceiling=1.0), clock=clock, random=no_jitter)

    for _ in range(100):
        clock.advance(1.0)
        record(breaker, 1, success=True, latency=5.0)

    assert breaker.state is State.LIMITED
    single = breaker.try_acquire()
    assert single is not None
    assert breaker.try_acquire() is None
    assert breaker.retry_after > 0.0
