"""The new normal: when a slower latency is accepted, so that a callee is not refused for ever."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from recloser._policy import Policy

# The present latency is the median of the last answers: this many to twice as many.
_ANSWERS = 32
# With fewer answers, no median is taken: the first few answers of a 5x slow-down looked like a 3x
# slow-down.
_FEWEST = 16
# Multiples of the normal median. Up to the first one, a slower latency is accepted at once. From
# the second one on, that takes all of `latency_patience`. In between, the time grows with the third
# power: a lasting step of 3.5 cost 0.1 % of the calls, and a fault of 5 was refused for a minute.
_MILD = 3.4
_SEVERE = 4.5


class Answers:
    """The latencies of the calls of one outage, and whether they are the new normal.

    Args:
        policy: The limits.
        began: When the outage began, in seconds.
    """

    __slots__ = ("_answered_at", "_answers", "_count", "_policy")

    def __init__(self, policy: Policy, began: float) -> None:
        self._policy = policy
        # In seconds, oldest first; infinite for calls that failed.
        self._answers: list[float] = []
        self._answered_at = began
        self._count = 0

    def begin_with(self, latencies: Iterable[float], failed: int = 0) -> None:
        """Add the calls of the suspicion that opened the breaker, `failed` of which failed."""
        self._answers += [*latencies, *[inf] * failed]

    def add(self, latency: float, now: float) -> None:
        """Add the latency of a call in seconds, infinite if it failed.

        The caller must add only calls that began with the suspicion or later.
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
        """The latency in seconds to accept as the new normal; None while there is none.

        Most calls must answer, late or not, and few may fail. Late answers to overdue calls show
        that the callee is slow and not dead.

        Args:
            now: Seconds.
            median: The typical latency before, in seconds.
            missing: Number of overdue calls that have not ended.
            age: Seconds for which the callee has been slow.
        """
        policy = self._policy
        total = len(self._answers) + missing
        if median <= 0.0 or total < _FEWEST or self._is_stale(now):
            return None
        came_back = sorted(answer for answer in self._answers if answer < inf)
        if len(came_back) < policy.success_rate_threshold * total:
            return None
        # Calls that have not ended are slower than those that have.
        level = came_back[min(total // 2, len(came_back) - 1)]
        severity = min(max(level / median - _MILD, 0.0) / (_SEVERE - _MILD), 1.0)
        if level > policy.slow_ceiling or age < policy.latency_patience * severity**3:
            return None
        # On a key with few calls, `latency_patience` alone would mean only a few probes.
        enough = severity < 1.0 or self._count >= _ANSWERS
        return level if enough else None

    def share_above(self, threshold: float) -> float:
        """Share of the answers that took longer than `threshold` seconds, 0.0-1.0."""
        slow = sum(answer > threshold for answer in self._answers)
        return slow / max(len(self._answers), 1)


def is_severe(level: float, median: float) -> bool:
    """Whether a latency is so high that it is accepted only after all of `latency_patience`."""
    return level >= _SEVERE * median
