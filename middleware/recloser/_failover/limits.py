"""How long an attempt may take. Numbers in, seconds out: nothing here reads a clock or a breaker."""

from __future__ import annotations

from math import inf

SHORTEST = 0.001
"""The least time-out, in seconds, that a client is given: some take 0 for "no limit"."""


def time_left(deadline: float, now: float) -> float:
    """Seconds until the deadline of a call, at least `SHORTEST` even when it has passed."""
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

    - Another healthy provider can take over: `patience` times the slow threshold. Most calls are
      far faster; one that is not is better served elsewhere. If the time left is less than that
      (nothing is learned yet, or the budget is nearly used up), it is shared equally with the
      healthy providers, but a call that is not slow is never cut off while there is time for it.
    - None can: all the time left. A healthy provider is not cut off for one that is not healthy.
    - The attempt is a probe of a provider that was open, and another provider that served a call
      more recently can be asked in `takeover_in` seconds: the attempt may take until then, and no
      less than in the first case. The other provider is the better bet of the two.

    Args:
        left: Seconds left for the call, > 0.
        slow: Seconds above which the provider's breaker calls a call slow.
        ceiling: `Policy.slow_ceiling` of that breaker, seconds.
        patience: How many times `slow` it may take, >= 1; `ceiling` caps the product, unless `slow`
            is above it.
        healthy: Number of healthy providers that could still take over.
        takeover_in: Seconds until another provider can take over from a probe; infinite if none
            should, or the attempt is no probe.

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

    This is also the limit of an attempt at the least bad of several open providers: what was
    normal for it does not hold at present.
    """
    return left / (others + 1)


def is_remainder(number: int, limit: float, slow: float) -> bool:
    """Whether an attempt got so little time that its time-out does not prove a failure.

    It is a later attempt of the call, and got less than what is slow for its provider, because
    the attempts before it had used up the rest.

    Args:
        number: 1 for the first attempt of the call.
        limit: Seconds that it was given.
        slow: Seconds above which its breaker calls a call slow.
    """
    return number > 1 and limit < slow
