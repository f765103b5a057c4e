"""What a breaker has counted, in a form to compare with."""

from __future__ import annotations

from recloser import Breaker, Metrics


def ended(breaker: Breaker) -> tuple[int, int, int, int]:
    """Successes, failures, ignored and cancelled calls; nothing may be left in flight."""
    metrics = breaker.metrics()
    assert metrics.in_flight == 0
    return metrics.successes, metrics.failures, metrics.ignored, metrics.cancelled


def votes(metrics: Metrics) -> dict[str, int]:
    """The counts that are not zero."""
    names = ("successes", "failures", "throttled", "ignored", "cancelled", "refused", "in_flight")
    return {name: getattr(metrics, name) for name in names if getattr(metrics, name)}
