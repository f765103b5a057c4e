"""Calls that bring a breaker into the state limited, and calls that wait until it is refused none."""

from __future__ import annotations

from tests.support.training import learned

from recloser import Breaker, Permit, State
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
