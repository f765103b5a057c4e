"""Calls: to teach a breaker what is normal, and how those of a test ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from recloser import Breaker, Metrics
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


def ended(breaker: Breaker) -> tuple[int, int, int, int]:
    """Successes, failures, ignored and cancelled calls; nothing may be left in flight."""
    metrics = breaker.metrics()
    assert metrics.in_flight == 0
    return metrics.successes, metrics.failures, metrics.ignored, metrics.cancelled


def votes(metrics: Metrics) -> dict[str, int]:
    """The counts that are not zero."""
    names = ("successes", "failures", "throttled", "ignored", "cancelled", "refused", "in_flight")
    return {name: getattr(metrics, name) for name in names if getattr(metrics, name)}
