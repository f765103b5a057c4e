"""What state a breaker is in, and what it has counted, in a form to compare with."""

from __future__ import annotations

from recloser import Breaker, Metrics, State

WAYS = ["success", "failure", "throttled", "ignore", "cancel"]
"""The methods of a permit that end it."""


def is_closed(breaker: Breaker) -> bool:
    """As a function, since a type checker takes an attribute for what it was asserted to be."""
    return breaker.state is State.CLOSED


def counts(breaker: Breaker) -> dict[str, int]:
    """Calls that ended, by the way in which their permit did."""
    metrics = breaker.metrics()
    return {
        "success": metrics.successes,
        "failure": metrics.failures,
        "throttled": metrics.throttled,
        "ignore": metrics.ignored,
        "cancel": metrics.cancelled,
    }


def ended(breaker: Breaker) -> tuple[int, int, int, int]:
    """Successes, failures, ignored and cancelled calls; nothing may be left in flight."""
    metrics = breaker.metrics()
    assert metrics.in_flight == 0
    return metrics.successes, metrics.failures, metrics.ignored, metrics.cancelled


def votes(metrics: Metrics) -> dict[str, int]:
    """The counts that are not zero."""
    names = ("successes", "failures", "throttled", "ignored", "cancelled", "refused", "in_flight")
    return {name: getattr(metrics, name) for name in names if getattr(metrics, name)}
