"""Late calls: calls in flight that are not overdue yet, but show that the callee does not answer.

With a slow threshold of 0.3 s, 15 calls are in flight before the first of them is overdue at 50 calls
a second, and 600 at 2,000.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import inf, log

from recloser._circuit.enough import suffices
from recloser._circuit.evidence import FLOOR, Evidence
from recloser._circuit.histogram import ExponentialHistogram
from recloser._circuit.in_flight import InFlight
from recloser._circuit.runs import deeper
from recloser._policy import Policy

# A call is late when it is in flight for longer than this share of the slow threshold. With 0.5,
# keys opened three times as often in the first second after an idle night, when calls take twice
# as long.
LATE = 0.6
# Shares of the threshold between two checks of the late calls.
_CHECK_EVERY = 1.0 / 32.0
# Evidence for normal, in nats, of a call that ended while older ones did not. With this value, only
# an outage in which fewer than one call in a thousand ends is recognized here. Other outages are
# recognized when calls are overdue.
_AGAINST = log(1000.0)


class LateCalls:
    """The calls that are late, and when to check again.

    Attributes:
        check_at: When the next check is due, in seconds.
        calls: Token and age in seconds of each late call, oldest first. Calls that have begun to
            answer, or announced a stream, are left out.
        came_back: How many calls have ended that began after all of these.
        renamed: Tokens that are no calls.
    """

    __slots__ = ("calls", "came_back", "check_at", "renamed")

    def __init__(
        self,
        check_at: float,
        calls: list[tuple[int, float]],
        came_back: int,
        renamed: tuple[int, ...] = (),
    ) -> None:
        self.check_at = check_at
        self.calls = calls
        self.came_back = came_back
        self.renamed = renamed

    def between(self, first: int, last: int) -> int:
        """How many calls have a token between two others."""
        return _between(first, last, self.renamed)


def _between(first: int, last: int, renamed: tuple[int, ...]) -> int:
    return last - first - 1 - sum(first < token < last for token in renamed)


def find_late(
    calls: InFlight,
    next_token: int,
    threshold: float,
    policy: Policy,
    now: float,
    lost: Callable[[float, float], float],
) -> LateCalls:
    """Find the calls in flight that are late.

    Args:
        calls: The calls in flight.
        next_token: The token of the next call. All calls with a lower token have begun.
        threshold: The slow threshold, in seconds.
        policy: With fewer late calls than its `min_failures`, none are reported.
        now: Seconds.
        lost: Function from two times to the seconds between them in which the process stood still.
    """
    few = policy.min_failures
    in_flight = [*calls.voting.copy().items()]
    last_of_few = in_flight[few - 1][1].started if len(in_flight) >= few else now
    late_at = last_of_few + LATE * threshold
    check_at = max(late_at, now + _CHECK_EVERY * threshold)
    if late_at > now or lost(in_flight[0][1].started, now):
        return LateCalls(check_at, [], 0)
    late = [*takewhile(lambda each: each[1].started + LATE * threshold <= now, in_flight)]
    ages = [
        (token, now - call.started)
        for token, call in late
        if call.answered == inf and not call.announced
    ]
    renamed = calls.renamed
    came_back = _between(late[-1][0], next_token, renamed) - (len(in_flight) - len(late))
    return LateCalls(check_at, ages, came_back, renamed)


def as_good_as_slow(
    evidence: Evidence,
    policy: Policy,
    late: LateCalls,
    history: Callable[[], ExponentialHistogram],
) -> list[int]:
    """Weigh the late calls; return the tokens of those that are enough to open, or none.

    The evidence of a late call grows with its age: it is the negative logarithm of the share of
    normal calls that are slow or take longer than this age. Each call that began later and has
    ended is evidence against an outage.

    Args:
        evidence: The evidence without the late calls.
        policy: The limits that decide what is enough.
        late: The late calls.
        history: Returns the distribution of the latencies so far.
    """
    calls = late.calls
    if not evidence.idle:
        calls = [(token, age) for token, age in calls if token >= evidence.since]
    # A busy key checks often, so the cheapest test comes first: can the late calls be enough?
    needed = evidence.threshold + _AGAINST * late.came_back
    if not calls or evidence.level - len(calls) * log(FLOOR) < needed:
        return []
    tokens: list[int] = []
    latencies, before = history(), calls[0][0] - 1
    level, depth = evidence.level, evidence.depth
    bad, expected = float(evidence.bad), evidence.expected_bad
    for token, age in calls:
        level -= _AGAINST * late.between(before, token)
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
    return tokens if suffices(policy, level - needed, bad, total) else []
