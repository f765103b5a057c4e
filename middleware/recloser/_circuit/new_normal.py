"""When a slower callee is accepted as it is, instead of being refused for ever."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from recloser._policy import Policy

# Answers whose median is how slow the callee is now: this many to twice as many.
_ANSWERS = 32
# Fewer answers have no median: of a 5x slow-down the first few to come back were taken for a 3x one.
_FEWEST = 16
# Up to the first of these multiples of the normal median a slower callee is served at once; from
# the second on that takes all of `latency_patience`. In between the patience grows with the third
# power: a lasting step of 3.5 cost 0.1 % of the calls, and a fault of 5 was refused for a minute.
_MILD = 3.4
_SEVERE = 4.5


class Answers:
    """How long the calls of one outage took, and whether that is the new normal.

    Args:
        policy: The limits.
        began: When the outage began, in seconds.
    """

    __slots__ = ("_answered_at", "_answers", "_count", "_policy")

    def __init__(self, policy: Policy, began: float) -> None:
        self._policy = policy
        # Seconds, oldest first; infinite for calls that failed.
        self._answers: list[float] = []
        self._answered_at = began
        self._count = 0

    def begin_with(self, latencies: Iterable[float]) -> None:
        """Take in the calls of the suspicion that opened the breaker."""
        self._answers.extend(latencies)

    def add(self, latency: float, now: float) -> None:
        """Note how long a call took, in seconds, infinite if it failed.

        Only calls that began with the suspicion or later count.
        """
        if self._is_stale(now):
            self._answers.clear()
            self._count = 0
        self._answered_at = now
        self._count += 1
        self._answers.append(latency)
        if len(self._answers) > 2 * _ANSWERS:
            del self._answers[:_ANSWERS]

    def _is_stale(self, now: float) -> bool:
        return now - self._answered_at > self._policy.max_open_for

    def new_normal(self, now: float, median: float, missing: int, age: float) -> float | None:
        """The latency in seconds to accept as the new normal, None while there is no such thing.

        It needs calls that come back, late or not, and few that fail: late answers to overdue calls
        are what tells a slow callee from a dead one.

        Args:
            now: Seconds.
            median: The typical latency before, in seconds.
            missing: Overdue calls that have not come back.
            age: For how long the callee has been slow, in seconds.
        """
        policy = self._policy
        total = len(self._answers) + missing
        if median <= 0.0 or total < _FEWEST or self._is_stale(now):
            return None
        came_back = sorted(answer for answer in self._answers if answer < inf)
        if len(came_back) < policy.success_rate_threshold * total:
            return None
        # What has not come back is slower than what has.
        level = came_back[min(total // 2, len(came_back) - 1)]
        severity = min(max(level / median - _MILD, 0.0) / (_SEVERE - _MILD), 1.0)
        if level > policy.slow_ceiling or age < policy.latency_patience * severity**3:
            return None
        # On a quiet key patience alone would be a handful of probes.
        enough = severity < 1.0 or self._count >= _ANSWERS
        return level if enough else None

    def share_above(self, threshold: float) -> float:
        """Share of the answers that took longer than a threshold in seconds, 0.0-1.0."""
        slow = sum(answer > threshold for answer in self._answers)
        return slow / max(len(self._answers), 1)


def is_severe(level: float, median: float) -> bool:
    """Whether a latency is so far above the normal one that it takes all the patience to accept it."""
    return level >= _SEVERE * median
