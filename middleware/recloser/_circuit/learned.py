"""What was learned about a key, as plain numbers: to be kept, handed on and added up.

Two workers have learned about the same callee if they have the same key. So what they have learned adds
up: their histograms bucket by bucket, and their counts of good, slow and failed calls place by place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from recloser._circuit.detector import Detector
from recloser._circuit.histogram import BUCKETS, ExponentialHistogram
from recloser._circuit.tallies import Ends, Tally, sum_of

# Rows and kinds of calls, see `evidence.py`: others are not from this version.
_ROWS, _KINDS = 9, 3
# No count is larger: a foreign or broken text must not outweigh what is measured.
_MOST = 1e12
# What is kept of two weighs no more than so many calls, with its parts in proportion.
_HEAVIEST = 20_000.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned about one key.

    Attributes:
        first: Number of the first bucket in `latencies`.
        latencies: Calls by bucket of latency, see `ExponentialHistogram`.
        quiet: Good calls outside of any run of bad ones.
        tally: Calls by row and kind, see `evidence.py`.
        ends: Slow calls that have ended: only slow, very slow.
        rate: Calls per second; 0.0 if unknown.
        known_for: For how many seconds latency has been judged.
    """

    first: int
    latencies: tuple[float, ...]
    quiet: float
    tally: Tally
    ends: Ends
    rate: float
    known_for: float

    @classmethod
    def of(cls, detector: Detector, rate: float, now: float) -> Learned:
        """What a detector has learned, with the rate of its calls (1/s), at `now` seconds."""
        baseline, evidence = detector.baseline, detector.evidence
        first, latencies = baseline.history().buckets
        quiet, tally, ends = evidence.learned
        return cls(first, latencies, quiet, tally, ends, rate, baseline.usual(now).known_for)

    def teach(self, detector: Detector, now: float, *, anew: bool) -> None:
        """Let a detector know it, too.

        Args:
            detector: The detector.
            now: Seconds.
            anew: Whether it forgets what it has learned.
        """
        if anew:
            detector.reset()
        baseline, evidence = detector.baseline, detector.evidence
        most = baseline.policy.history_size
        histogram = ExponentialHistogram(self.first, self.latencies)
        baseline.take_over(histogram, min(most / max(histogram.total, 1.0), 1.0), self.known_for)
        evidence.take_over(self.quiet, self.tally, self.ends, now)

    def plus(self, other: Learned) -> Learned:
        """Both together, at the rate of the other."""
        histogram = ExponentialHistogram(self.first, self.latencies)
        histogram.merge(ExponentialHistogram(other.first, other.latencies))
        first, latencies = histogram.buckets
        both = Learned(
            first,
            latencies,
            self.quiet + other.quiet,
            sum_of(self.tally, other.tally),
            (self.ends[0] + other.ends[0], self.ends[1] + other.ends[1]),
            other.rate,
            max(self.known_for, other.known_for),
        )
        return both.times(min(_HEAVIEST / max(histogram.total, 1.0), 1.0))

    def times(self, weight: float) -> Learned:
        """The same from fewer calls: each counts as `weight` calls, 0.0-1.0."""
        return Learned(
            self.first,
            tuple([weight * count for count in self.latencies]),
            weight * self.quiet,
            {place: weight * count for place, count in self.tally.items()},
            (weight * self.ends[0], weight * self.ends[1]),
            self.rate,
            self.known_for,
        )

    @property
    def calls(self) -> float:
        """Number of calls whose latency is known."""
        return sum(self.latencies)

    def as_plain(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {
            "first": self.first,
            "latencies": [round(count, 2) for count in self.latencies],
            "quiet": round(self.quiet, 2),
            "tally": [[row, kind, round(n, 3)] for (row, kind), n in self.tally.items()],
            "ends": [round(count, 3) for count in self.ends],
            "rate": self.rate,
            "known_for": round(self.known_for, 1),
        }

    @classmethod
    def from_plain(cls, plain: object) -> Learned:
        """From what `as_plain` returned.

        Raises:
            ValueError: It is something else.
        """
        try:
            given = cast("Mapping[str, Any]", plain)
            latencies = tuple([_count(each) for each in given["latencies"]])
            first = int(given["first"])
            if not (first >= 0 and first + len(latencies) <= BUCKETS):
                raise ValueError("buckets")
            tally = {(int(row), int(kind)): _count(n) for row, kind, n in given["tally"]}
            if any(not (0 <= row < _ROWS and 0 <= kind < _KINDS) for row, kind in tally):
                raise ValueError("tally")
            slow, very_slow = given["ends"]
            return cls(
                first,
                latencies,
                _count(given["quiet"]),
                tally,
                (_count(slow), _count(very_slow)),
                _count(given["rate"]),
                _count(given["known_for"]),
            )
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not what was learned about a key: {error!r}") from error


def _count(number: object) -> float:
    value = float(cast("float", number))
    if isinstance(number, (str, bool)) or not (isfinite(value) and 0.0 <= value <= _MOST):
        raise ValueError(f"{number!r} is not a count")
    return value
