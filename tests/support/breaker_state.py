"""The state and the counts of a breaker, in forms that are easy to compare."""

from __future__ import annotations

from recloser import Breaker, Metrics, State

WAYS = ["success", "failure", "throttled", "ignore", "cancel"]
"""The methods of a permit that end it."""


def is_closed(breaker: Breaker) -> bool:
    """Whether it is closed. A function, because a type checker narrows an asserted attribute."""
    return breaker.state is State.CLOSED


def is_limited(breaker: Breaker) -> bool:
    """Whether it is limited, as a function for the same reason."""
    return breaker.state is State.LIMITED


def counts(breaker: Breaker) -> dict[str, int]:
    """Count the ended calls, by the permit method that ended them."""
    metrics = breaker.metrics()
    return {
        "success": metrics.successes,
        "failure": metrics.failures,
        "throttled": metrics.throttled,
        "ignore": metrics.ignored,
        "cancel": metrics.cancelled,
    }


def ended(breaker: Breaker) -> tuple[int, int, int, int]:
    """Successes, failures, ignored and cancelled calls. No call may be in flight."""
    metrics = breaker.metrics()
    assert metrics.in_flight == 0
    return metrics.successes, metrics.failures, metrics.ignored, metrics.cancelled


def votes(metrics: Metrics) -> dict[str, int]:
    """The counts that are not zero."""
    ends = ("successes", "failures", "throttled", "ignored", "cancelled")
    names = (*ends, "refused", "spared", "spared_good", "in_flight")
    return {name: getattr(metrics, name) for name in names if getattr(metrics, name)}
