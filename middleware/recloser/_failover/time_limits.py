"""How long an attempt may take: pure functions of numbers, which read no clock and no breaker."""

from __future__ import annotations

from math import inf

SHORTEST = 0.001
"""The shortest time-out, in seconds, for a client. Some clients take 0 as "no limit"."""

LONGEST = 600.0
"""The time-out, in seconds, for a client whose call nothing limits. Some clients do not take
infinity. It is the default of the SDKs of OpenAI and Anthropic."""

NEARLY = 0.98
"""An attempt that has taken this part of its limit has reached it: clocks and timers are rounded."""


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
    hopeless: float,
    healthy: int,
    takeover_in: float = inf,
) -> float:
    """Seconds that an attempt at an admitted provider may take.

    - If another healthy provider can take over, the attempt ends when an answer is hopeless. If the
      call has a time budget of which less is left, that is shared equally with the healthy
      providers. But a call is never cancelled before it is slow, while there is time for it.
    - If no healthy provider can take over, the limit is all the time left: an attempt at a healthy
      provider is not cancelled in favour of one that is not healthy.
    - If the attempt is a probe of a provider that was open, and a provider that served a call more
      recently can be tried in `takeover_in` seconds, the attempt may take until then, but no less
      than in the first case. The other provider is more likely to serve the call.

    Args:
        left: Seconds left for the call, > 0; infinite without a time budget.
        slow: The latency above which the call is slow, in seconds.
        hopeless: Seconds after which an answer is hopeless (`CutOffs.hopeless_after`); infinite if
            that is not known.
        healthy: Number of healthy providers that can still take over.
        takeover_in: Seconds until another provider can take over from a probe. Infinite if none
            can, or if the attempt is no probe.

    Returns:
        Seconds, > 0 and at most `left`.
    """
    if not healthy:
        return left if takeover_in == inf else min(left, max(hopeless, takeover_in))
    if hopeless < left or left == inf:
        return hopeless
    share = equal_share(left, healthy)
    return max(share, slow) if slow < left else share


def equal_share(left: float, others: int) -> float:
    """Seconds for one attempt if the time left is shared equally with `others` further ones."""
    return left / (others + 1)


def least_bad_limit(left: float, others: int, ceiling: float) -> float:
    """Seconds that an attempt at the least bad of several open providers may take.

    The learned latency of an open provider does not fit its present state.

    Args:
        left: Seconds left for the call, > 0; infinite without a time budget.
        others: Number of further providers that can be tried like that.
        ceiling: `Policy.slow_ceiling` of its breaker, in seconds.
    """
    return min(equal_share(left, others), ceiling) if others else left


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
