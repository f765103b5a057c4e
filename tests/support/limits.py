"""Calls that bring a breaker into the state limited and out of it, and what its limit is."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random

from tests.support.training import learned

from recloser import Breaker, Permit, State
from recloser._circuit.limit import Limit
from recloser.testing import ManualClock


def slow_down(breaker: Breaker, clock: ManualClock, latency: float = 0.3) -> None:
    """Make calls that answer slowly, one after another, until the breaker is limited."""
    for _ in range(100):
        permit = breaker.acquire()
        clock.advance(latency)
        permit.success()
        if breaker.state is State.LIMITED:
            return
    raise AssertionError(breaker.explain())


def limit(breaker: Breaker, clock: ManualClock) -> None:
    """Let it learn that 0.1 s is normal, and then limit: calls come back after 0.3 s."""
    learned(breaker, clock)
    slow_down(breaker, clock)


def hang(breaker: Breaker, clock: ManualClock, until: State, gap: float = 0.05) -> list[Permit]:
    """Make calls, none of which ends, until the breaker is in a state; the calls."""
    running: list[Permit] = []
    for _ in range(10_000):
        if (permit := breaker.try_acquire()) is not None:
            running.append(permit)
        if breaker.state is until:
            return running
        clock.advance(gap)
    raise AssertionError(breaker.explain())


def fill(breaker: Breaker) -> list[Permit]:
    """Make calls at one moment until one is refused; the calls that were admitted."""
    running: list[Permit] = []
    while (permit := breaker.try_acquire()) is not None:
        running.append(permit)
        assert len(running) < 10_000
    return running


def limit_of(breaker: Breaker) -> Limit:
    assert breaker._circuit.limit is not None, breaker.explain()
    return breaker._circuit.limit


def rule(breaker: Breaker) -> str:
    reason = breaker.refusal().reason
    assert reason is not None
    return reason.rule


def serve(
    breaker: Breaker, clock: ManualClock, latency: float, calls: int, gap: float = 0.0
) -> int:
    """Make calls of one latency, one after another; the number of those that were refused."""
    refused = 0
    for _ in range(calls):
        permit = breaker.try_acquire()
        refused += permit is None
        clock.advance(latency)
        if permit is not None:
            permit.success()
        clock.advance(gap)
    return refused


def served_until(
    after: State, breaker: Breaker, clock: ManualClock, latency: float, gap: float = 0.05
) -> float:
    """Make calls of one latency until the breaker is in a state; the seconds that took."""
    began = clock.now
    while breaker.state is not after:
        serve(breaker, clock, latency, 1, gap)
        assert clock.now < began + 5_000.0, breaker.explain()
    return clock.now - began


def play(
    breaker: Breaker,
    clock: ManualClock,
    latency: Callable[[Random, int], float],
    rate: float,
    seconds: float,
    *,
    failing: float = 0.0,
) -> tuple[int, int]:
    """Calls at random times; the latency depends on the calls in flight. Admitted and refused.

    A share of them, `failing`, fails after 5 ms.
    """
    chance, numbers, began = Random(1), count(), clock.now
    ends: list[tuple[float, int, Callable[[], object]]] = []
    admitted = refused = 0
    now = began
    while now < began + seconds:
        now += chance.expovariate(rate)
        while ends and ends[0][0] <= now:
            at, _, end = heapq.heappop(ends)
            clock.now = at
            end()
        clock.now = now
        if (permit_now := breaker.try_acquire()) is None:
            refused += 1
            continue
        admitted += 1
        takes = latency(chance, len(ends) + 1)
        end = permit_now.success
        if failing and chance.random() < failing:
            takes, end = 0.005, permit_now.failure
        heapq.heappush(ends, (now + takes, next(numbers), end))
    for at, _, end in sorted(ends):
        clock.now = at
        end()
    return admitted, refused


def everyday_latency(chance: Random, running: int) -> float:
    return 0.1 * chance.lognormvariate(0.0, 0.4)


def calm_of(breaker: Breaker, clock: ManualClock) -> float:
    """Refuse some calls while calls are fast, then none; seconds until the limit ends."""
    for _ in range(4):
        running = fill(breaker)
        clock.advance(0.1)
        for permit in running:
            permit.success()
    return served_until(State.CLOSED, breaker, clock, 0.1, gap=0.0)
