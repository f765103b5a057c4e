"""The new normal: when a slower latency is accepted, so that a callee is not refused for ever."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, sqrt
from typing import NamedTuple

from recloser._policy import Policy

# The present latency is the median of the last answers: this many to twice as many. With 32, a
# lasting step of 4 was severe by chance, and a key with 5 calls a second refused a twentieth of its
# first ten minutes.
_KEPT = 128
# With fewer answers, no median is taken: the first few answers of a 5x slow-down looked like a 3x
# slow-down.
_FEWEST = 16
# A severe latency takes `_SEVERE_FEWEST` answers of the outage itself, or `_FEWEST` if it has lasted
# for `_LONG` times `latency_patience`. With 16 at any time, 21 of 28 faults of real traces were
# noticed; now 27: after the first fault, the later ones were normal. With 32 at any time, a key with a
# call every three seconds, whose probes are 20 s apart, refused calls for a quarter of an hour.
_SEVERE_FEWEST, _LONG = 32, 5.0
# A latency is severe if the median of the answers is so even without this many times the root of their
# number. At 0.0, a lasting step of 4 was severe by chance, again and again.
_DOUBT = 0.3
# After this many longest waits between probes without an answer, the older ones are dropped. With
# one, a key with a call every minute never had enough of them, and refused calls for ever.
_STALE = 10.0
# Multiples of the normal median. During an outage, a latency up to `_MILD` is accepted at once; one
# from `SEVERE` on takes all of `latency_patience`; in between, the time grows with the cube of the
# severity: a lasting step of 3.5 cost 0.1 % of the calls, and a fault of 5 was refused for a minute.
# Under a limit: see `Limit.patience`.
_MILD = 3.4
SEVERE = 4.5
"""See `Usual.severity`."""
AS_FAST_AS_EVER = 1.5
"""A good call is as fast as ever up to this many usual medians. In a queue, none is."""
FAST_CALLS = 2
"""This many good calls in a row show that a callee that was slow is not slow in itself any more."""


class Answers:
    """The latencies of the calls of one outage, and whether they are the new normal.

    Args:
        policy: The limits.
        began: When the outage began, in seconds.

    Attributes:
        policy: As given; it may be replaced.
    """

    __slots__ = ("_answered_at", "_answers", "_count", "_counted_at", "policy")

    def __init__(self, policy: Policy, began: float) -> None:
        self.policy = policy
        # In seconds, oldest first; infinite for calls that failed.
        self._answers: list[float] = []
        self._answered_at = began
        self._count = 0
        self._counted_at = -inf

    def begin_with(self, latencies: Iterable[float], failed: int = 0) -> None:
        """Add the calls of the suspicion that opened the breaker, `failed` of which failed."""
        self._answers += [*latencies, *[inf] * failed]

    def add(self, latency: float, now: float, between: float = 0.0) -> None:
        """Add the latency of a call in seconds, infinite if it failed.

        The caller must add only calls that began with the suspicion or later.

        Args:
            latency: As above.
            now: Seconds.
            between: Seconds. A call counts for the number of answers that a severe latency needs
                only if it began at least this long after the end of the last one that counted. Many
                calls of one bad hour show no more than those of a few probes.
        """
        if self._is_stale(now):
            self._answers.clear()
            self._count = 0
        self._answered_at = now
        began = now - (latency if latency < inf else 0.0)
        if not between or began >= self._counted_at + between:
            self._count += 1
            self._counted_at = now
        self._answers.append(latency)
        if len(self._answers) > 2 * _KEPT:
            del self._answers[:_KEPT]

    def forget(self) -> None:
        """Forget the answers so far."""
        self._answers.clear()
        self._count = 0

    @property
    def are_few(self) -> bool:
        """Whether there are too few answers to take a median."""
        return len(self._answers) < _FEWEST

    @property
    def level(self) -> float:
        """The median of the answers that came back, in seconds; 0.0 without any."""
        came_back = sorted(answer for answer in self._answers if answer < inf)
        return came_back[len(came_back) // 2] if came_back else 0.0

    @property
    def median_at_least(self) -> float:
        """A lower bound of the median, in seconds; 0.0 without answers.

        The true median is rarely below it.
        """
        came_back = sorted(answer for answer in self._answers if answer < inf)
        count = len(came_back)
        return came_back[int(max(0.5 * count - _DOUBT * sqrt(count), 0.0))] if count else 0.0

    @property
    def slowest(self) -> float:
        """The longest latency of the answers, in seconds; 0.0 without any."""
        return max((answer for answer in self._answers if answer < inf), default=0.0)

    def _is_stale(self, now: float) -> bool:
        return now - self._answered_at > _STALE * self.policy.max_open_for

    def new_normal(
        self,
        now: float,
        usual: Usual,
        missing: int,
        age: float,
        patience: float | None,
        *,
        limited: bool = False,
    ) -> float | None:
        """The latency in seconds to accept as the new normal; None while there is none.

        Most calls must be answered, however slowly. Few may fail, unless failures are judged
        elsewhere. Answers to overdue calls show that the callee is slow and not dead.

        Args:
            now: Seconds.
            usual: What was usual before calls became slow.
            missing: Number of overdue calls that have not ended.
            age: Seconds for which the callee has been slow.
            patience: After how many times `latency_patience` the latency is accepted, >= 0.0; None
                if its severity decides.
            limited: Whether a limit judges failures: then only most calls must answer.
        """
        policy = self.policy
        total = len(self._answers) + missing
        if usual.median <= 0.0 or total < _FEWEST or self._is_stale(now):
            return None
        came_back = sorted(answer for answer in self._answers if answer < inf)
        least = 1.0 - policy.failure_rate_threshold if limited else policy.success_rate_threshold
        if len(came_back) < least * total:
            return None
        # Calls that have not ended are slower than those that have. Under a limit, those that failed say
        # nothing of the latency.
        timed = len(came_back) + missing if limited else total
        level = came_back[min(timed // 2, len(came_back) - 1)]
        severity = usual.severity(level)
        patience = severity**3 if patience is None else patience
        longest = min(policy.latency_patience, usual.known_for)
        if level > policy.slow_ceiling or age < patience * longest:
            return None
        # On a key with few calls, `latency_patience` alone would mean only a few probes.
        known = usual.known_for >= policy.latency_patience
        fewest = _FEWEST if age >= _LONG * policy.latency_patience else _SEVERE_FEWEST
        enough = severity < 1.0 or self._count >= fewest or not known
        return level if enough else None

    def share_above(self, threshold: float) -> float:
        """Share of the answers that took longer than `threshold` seconds, 0.0-1.0."""
        slow = sum(answer > threshold for answer in self._answers)
        return slow / max(len(self._answers), 1)


class Usual(NamedTuple):
    """What was usual before calls became slow.

    Attributes:
        median: The typical latency, in seconds; 0.0 if unknown.
        high: A latency that 5 % of the calls exceeded, in seconds.
        known_for: Seconds for which this was the latency. A slower one is refused no longer than
            that: what was learned from one second of answers is no reason to refuse a minute.
        floor: The least latency, in seconds, of which multiples are judged. From 1 ms, 0.1 s is a
            hundred times as long, and nobody notices either.
    """

    median: float
    high: float
    known_for: float
    floor: float = 0.0

    @property
    def _unit(self) -> float:
        """The latency of which multiples are judged, in seconds; 0.0 if the median is unknown."""
        return max(self.median, self.floor) if self.median > 0.0 else 0.0

    @property
    def severe(self) -> float:
        """The latency from which on the severity is 1.0; seconds."""
        return max(SEVERE * self._unit, self.high)

    def severity(self, level: float) -> float:
        """How far a latency in seconds is from normal, 0.0-1.0; at 1.0 it takes all patience."""
        if level <= self.high:
            return 0.0  # calls took as long before: it is another mixture of them
        if self.median <= 0.0:
            return 1.0  # it is above the ceiling: nothing else is known
        return min(max(level / self._unit - _MILD, 0.0) / (SEVERE - _MILD), 1.0)
