"""Calls from which a breaker learns its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from recloser import Breaker
from recloser.testing import ManualClock


def teach(
    breaker: Breaker, clock: ManualClock, latencies: Iterable[float], pause: float = 0.0
) -> None:
    """Make successful calls, one after another, with these latencies in seconds."""
    for latency in latencies:
        permit = breaker.acquire()
        clock.advance(latency)
        permit.success()
        clock.advance(pause)


def everyday(calls: int, seed: int = 1) -> Iterator[float]:
    """Realistic latencies: a median of 0.1 s, and a tail."""
    chance = Random(seed)
    for _ in range(calls):
        yield 0.1 * chance.lognormvariate(0.0, 0.4)


def learned(breaker: Breaker, clock: ManualClock) -> None:
    """Let it learn that 0.1 s is normal. Its slow threshold is then at least twice that."""
    teach(breaker, clock, [0.1] * 100)
    assert 0.2 <= breaker.slow_threshold < 1.0


def record(breaker: Breaker, calls: int, *, success: bool, latency: float = 0.1) -> None:
    """Record equal calls, without permits."""
    for _ in range(calls):
        breaker.record(latency, success=success)
