"""Calls from which a breaker learns what is normal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from recloser import Breaker
from recloser.testing import ManualClock


def teach(
    breaker: Breaker, clock: ManualClock, latencies: Iterable[float], pause: float = 0.0
) -> None:
    """Make calls that succeed, one after another, each after so many seconds."""
    for latency in latencies:
        permit = breaker.acquire()
        clock.advance(latency)
        permit.success()
        clock.advance(pause)


def everyday(calls: int, seed: int = 1) -> Iterator[float]:
    """Latencies as services have them: a median of 0.1 s, and a tail."""
    chance = Random(seed)
    for _ in range(calls):
        yield 0.1 * chance.lognormvariate(0.0, 0.4)


def learned(breaker: Breaker, clock: ManualClock) -> None:
    """Let it learn that 0.1 s is normal; its slow threshold is then at least twice that."""
    teach(breaker, clock, [0.1] * 100)
    assert 0.2 <= breaker.slow_threshold < 1.0


def record(breaker: Breaker, calls: int, *, success: bool, latency: float = 0.1) -> None:
    """Count calls that were timed elsewhere, all alike."""
    for _ in range(calls):
        breaker.record(latency, success=success)
