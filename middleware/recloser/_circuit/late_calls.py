"""Late calls: calls in flight that are not overdue yet may already show that nothing comes back.

At 50 calls a second some ten are in flight before the first is overdue, at 2,000 some six hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import inf, log

from recloser._circuit.evidence import FLOOR, Evidence, deeper
from recloser._circuit.histogram import ExponentialHistogram
from recloser._circuit.in_flight import Timing
from recloser._policy import Policy

# In flight for longer than this share of the slow threshold, a call is late. From 0.5 on, keys
# opened three times as often in the first second after an idle night, which is twice as slow.
_LATE = 0.6
# Shares of the threshold between two checks of the late calls.
_CHECK_EVERY = 1.0 / 32.0
# Evidence for normal, in nats, of a call that came back while older ones did not. With it, only a
# state in which fewer than one call in a thousand comes back is recognized here; others are when
# calls are overdue.
_CAME_BACK = log(1000.0)


class LateCalls:
    """The calls that are late, and when to check again.

    Attributes:
        check_at: When the next check is due, in seconds.
        calls: Token and age in seconds of the late calls, oldest first. Calls that have begun to
            answer are left out.
        came_back: How many of the calls that began after them have ended.
    """

    __slots__ = ("calls", "came_back", "check_at")

    def __init__(self, check_at: float, calls: list[tuple[int, float]], came_back: int) -> None:
        self.check_at = check_at
        self.calls = calls
        self.came_back = came_back


def find_late(
    voting: dict[int, Timing],
    next_token: int,
    threshold: float,
    policy: Policy,
    now: float,
    lost: Callable[[float, float], float],
) -> LateCalls:
    """Find the calls in flight that are late.

    Args:
        voting: The calls in flight, oldest first.
        next_token: The token of the next call: all that have a lower one have begun.
        threshold: The slow threshold, in seconds.
        policy: Fewer late calls than its `min_failures` say nothing.
        now: Seconds.
        lost: Seconds in which the process stood still between two times.
    """
    few = policy.min_failures
    in_flight = [*voting.copy().items()]
    last_of_few = in_flight[few - 1][1].started if len(in_flight) >= few else now
    late_at = last_of_few + _LATE * threshold
    check_at = max(late_at, now + _CHECK_EVERY * threshold)
    if late_at > now or lost(in_flight[0][1].started, now):
        return LateCalls(check_at, [], 0)
    late = [*takewhile(lambda each: each[1].started + _LATE * threshold <= now, in_flight)]
    began_since = next_token - 1 - late[-1][0]
    came_back = began_since - (len(in_flight) - len(late))
    ages = [(token, now - call.started) for token, call in late if call.answered == inf]
    return LateCalls(check_at, ages, came_back)


def as_good_as_slow(
    evidence: Evidence,
    policy: Policy,
    late: LateCalls,
    history: Callable[[], ExponentialHistogram],
) -> list[int]:
    """Weigh the calls that are late; the tokens of those that are enough to open, or none.

    The evidence of a late call is the logarithm of how rare such a long call is among those that
    are not slow. Each call that began later and has ended is evidence against it.

    Args:
        evidence: The evidence without them.
        policy: The limits to what is enough.
        late: The late calls.
        history: Latencies so far.
    """
    calls = late.calls
    if not evidence.idle:
        calls = [(token, age) for token, age in calls if token >= evidence.since]
    # First what costs least, since a busy key checks often: could it be enough at all?
    needed = evidence.threshold + _CAME_BACK * late.came_back
    if not calls or evidence.level - len(calls) * log(FLOOR) < needed:
        return []
    tokens: list[int] = []
    latencies, before = history(), calls[0][0] - 1
    level, depth = evidence.level, evidence.depth
    bad, expected = float(evidence.bad), evidence.expected_bad
    for token, age in calls:
        level -= _CAME_BACK * (token - before - 1)
        if level <= 0.0:
            tokens.clear()
            level, depth, bad, expected = 0.0, 0, 0.0, 0.0
        slow, failed = evidence.normal_shares(depth, bad, expected)
        level -= log(slow + (1.0 - slow) * latencies.share_above(age))
        expected += slow + failed
        bad += 1.0
        depth = deeper(depth)
        before = token
        tokens.append(token)
    bad, total = evidence.bad + len(tokens), evidence.calls + len(tokens)
    if bad < max(policy.min_failures, policy.failure_rate_threshold * total):
        return []
    return tokens if level >= needed else []
