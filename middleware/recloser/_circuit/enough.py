"""When evidence is enough to open: that of calls that have ended, and that of late ones."""

from __future__ import annotations

from recloser._policy import Policy


def suffices(policy: Policy, excess: float, bad: int, calls: int) -> bool:
    """Whether evidence is enough to open; late calls are judged by this, too.

    Args:
        policy: The limits.
        excess: By how much the evidence is above its threshold, in nats.
        bad: Bad calls that it rests on.
        calls: All calls that it rests on.
    """
    return excess >= 0.0 and bad >= max(policy.min_failures, policy.failure_rate_threshold * calls)
