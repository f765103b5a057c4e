"""How much is enough: evidence to open, and good calls to stay closed."""

from __future__ import annotations

from recloser._policy import Policy

# Share of good calls that is enough for a key about which little is known: what fails more than half of
# the time from its first call on may be meant to.
_ENOUGH_IF_LENIENT = 0.25


def suffices(policy: Policy, excess: float, bad: int, calls: int) -> bool:
    """Whether evidence is enough to open; late calls are judged by this, too.

    Args:
        policy: The limits.
        excess: By how much the evidence is above its threshold, in nats.
        bad: Bad calls that it rests on.
        calls: All calls that it rests on.
    """
    return excess >= 0.0 and bad >= max(policy.min_failures, policy.failure_rate_threshold * calls)


def enough_good(policy: Policy, normal_bad_rate: float, *, lenient: bool) -> float:
    """The share of good calls that is just enough, 0.0-1.0.

    Args:
        policy: The limits.
        normal_bad_rate: The share of bad calls that is normal, 0.0-1.0.
        lenient: Whether little is known of the key, so that a quarter of good calls is enough.
    """
    enough = _ENOUGH_IF_LENIENT if lenient else 1.0 - policy.failure_rate_threshold
    return min(enough, 1.0 - normal_bad_rate)
