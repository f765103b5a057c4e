"""A round of answers: those to calls that began after the last round ended.

A limit is judged once per round. (A round of probes is something else, see `recovery.py`.)
"""

from __future__ import annotations

import enum
from math import inf


class Finding(enum.Enum):
    """What the answers of a round say."""

    NOTHING = "nothing"
    """The search goes on."""
    EASED = "eased"
    """Calls are fast, and nobody was refused of late."""
    MIXED = "mixed"
    """Some calls are slow, and others are as fast as ever."""
    SICK = "sick"
    """Calls are slow, however few are in flight."""
    MILD = "mild"
    """Single calls are slow, but not severely."""
    PARTIAL = "partial"
    """Some calls fail, however few are in flight, and most are good."""
    FAILING = "failing"
    """Most calls fail, however few are in flight."""
    HANGING = "hanging"
    """Most calls do not come back, however few are in flight."""


class Round:
    """The answers of one round, and what they show.

    Args:
        first: Token of the first call of the round. Earlier calls began under another limit.

    Attributes:
        first: As given.
        peak: Most calls in flight during the round, refused ones included.
        in_flight: Mean number of calls in flight when its calls began, after `judge`; 0.0 if not known.
        level: Typical latency after `judge`, in seconds.
        failed: Share of failed calls, after `judge`; 0.0-1.0.
        slow: Share of slow calls, after `judge`; 0.0-1.0.
    """

    __slots__ = (
        "_answers",
        "_failures",
        "_in_flight",
        "_overdue",
        "_since",
        "failed",
        "first",
        "in_flight",
        "level",
        "peak",
        "slow",
    )

    def __init__(self, first: int) -> None:
        self.first = first
        self.peak = 0
        self.in_flight = self.level = 0.0
        self.failed = 0.0
        self.slow = 0.0
        # Latencies in seconds; infinite for calls that failed, which have theirs in another list.
        self._answers: list[float] = []
        self._failures: list[float] = []
        self._in_flight: list[int] = []  # when its calls began
        # Calls that are overdue and may still come back, and since when, in seconds.
        self._overdue: dict[int, float] = {}
        self._since = inf

    def add(self, token: int, latency: float, now: float, in_flight: int = 0, *, ok: bool) -> None:
        """Add a call that ended.

        Args:
            token: Its token.
            latency: Seconds.
            now: Seconds.
            in_flight: Calls in flight when it began, itself included; 0 if that is not known.
            ok: Whether it was answered; otherwise it failed.
        """
        if in_flight:
            self._in_flight.append(in_flight)
        self._since = min(self._since, now)
        self._overdue.pop(token, None)
        self._answers.append(latency if ok else inf)
        if not ok:
            self._failures.append(latency)

    def add_overdue(self, token: int, now: float) -> None:
        """Add a call that is overdue, though it may still come back."""
        self._since = min(self._since, now)
        self._overdue[token] = now

    def forget(self, token: int) -> None:
        """Forget an overdue call."""
        self._overdue.pop(token, None)

    def is_complete(self, answers: float, now: float) -> bool:
        """Whether it has at least this many answers, and some time has passed."""
        return len(self._answers) >= answers and now > self._since

    def judge(self, threshold: float, now: float) -> None:
        """Compute `in_flight`, `level`, `failed` and `slow`.

        Args:
            threshold: The slow threshold, in seconds.
            now: Seconds.
        """
        answers, overdue = self._answers, len(self._overdue)
        answers.sort()
        self.in_flight = sum(self._in_flight) / max(len(self._in_flight), 1)
        good = sum(answer < inf for answer in answers)
        self.failed = 1.0 - good / len(answers)
        # A call that failed at once says nothing of the latency. One that timed out would have taken
        # longer. So will an overdue call, if it has taken longer than most answers did by now:
        # otherwise, the more calls are in flight, the slower they would seem to be.
        timed = len(answers) - sum(latency <= threshold for latency in self._failures)
        typical = answers[max(min(timed // 2, good - 1), 0)]
        timed += sum(now - since + threshold > typical for since in self._overdue.values())
        self.level = answers[max(min(timed // 2, good - 1), 0)]
        slow = sum(answer > threshold for answer in answers) + overdue
        self.slow = slow / (len(answers) + overdue)

    def hangs(self, overdue: float) -> bool:
        """Whether calls are either fast or hang, as most do.

        Args:
            overdue: After this many seconds a call was added as overdue. If one that was answered
                took longer, the overdue ones may only be slow.
        """
        return len(self._overdue) > len(self._answers) and self._answers[-1] <= overdue

    def fastest(self, share: float) -> float:
        """The latency in seconds that a share of the calls was not slower than, 0.0-1.0."""
        return self._answers[round(share * (len(self._answers) - 1))]
