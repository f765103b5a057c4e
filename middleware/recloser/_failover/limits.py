"""How long an attempt may take: pure functions of numbers, which read no clock and no breaker."""

from __future__ import annotations

from math import inf

SHORTEST = 0.001
"""The shortest time-out, in seconds, for a client. Some clients take 0 as "no limit"."""


def time_left(deadline: float, now: float) -> float:
    """Seconds until the deadline of a call; at least `SHORTEST`, even if it has passed."""
    return max(deadline - now, SHORTEST)


def is_time_for_another(deadline: float, now: float) -> bool:
    """Whether another attempt may begin before the deadline."""
    return deadline - now > SHORTEST


def attempt_limit(
    left: float,
    *,
    slow: float,
    ceiling: float,
    patience: float,
    healthy: int,
    takeover_in: float = inf,
) -> float:
    """Seconds that an attempt at an admitted provider may take.

    - If another healthy provider can take over, the limit is `patience` times the slow threshold.
      Most calls are far faster, and another provider will probably serve a slower one sooner. If
      less time is left (nothing is learned yet, or the budget is nearly used up), it is shared
      equally with the healthy providers. But a call is never cancelled before it is slow, while
      there is time for it.
    - If no healthy provider can take over, the limit is all the time left: an attempt at a healthy
      provider is not cancelled in favour of one that is not healthy.
    - If the attempt is a probe of a provider that was open, and a provider that served a call more
      recently can be tried in `takeover_in` seconds, the attempt may take until then, but no less
      than in the first case. The other provider is more likely to serve the call.

    Args:
        left: Seconds left for the call, > 0.
        slow: The slow threshold of the provider's breaker, in seconds.
        ceiling: `Policy.slow_ceiling` of that breaker, in seconds.
        patience: The limit as a multiple of `slow`, >= 1. The product is at most `ceiling`, unless
            `slow` is above it.
        healthy: Number of healthy providers that can still take over.
        takeover_in: Seconds until another provider can take over from a probe. Infinite if none
            can, or if the attempt is no probe.

    Returns:
        Seconds, > 0 and at most `left`.
    """
    normal = min(slow * patience, max(slow, ceiling))
    if not healthy:
        return min(left, max(normal, takeover_in))
    if normal < left:
        return normal
    share = equal_share(left, healthy)
    return max(share, slow) if slow < left else share


def equal_share(left: float, others: int) -> float:
    """Seconds for one attempt if the time left is shared equally with `others` further ones.

    It is also the limit of an attempt at the least bad of several open providers: the learned slow
    threshold of an open provider does not fit its present state.
    """
    return left / (others + 1)


def is_remainder(number: int, limit: float, slow: float) -> bool:
    """Whether an attempt got so little time that its time-out does not prove a failure.

    This is so for a later attempt of a call whose time limit is below the slow threshold, because
    the earlier attempts used up the rest of the time.

    Args:
        number: 1 for the first attempt of the call.
        limit: The time limit of the attempt, in seconds.
        slow: The slow threshold of its breaker, in seconds.
    """
    return number > 1 and limit < slow
