"""What was learned about a key, as plain numbers: to be kept, handed on and added up.

Two workers have learned about the same callee if they have the same key. So what they have learned adds
up: their histograms bucket by bucket, and their counts of good, slow and failed calls place by place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from recloser._circuit.baseline import Baseline
from recloser._circuit.detector import Detector
from recloser._circuit.evidence import FAILED, SLOW, Evidence
from recloser._circuit.histogram import BUCKETS, ExponentialHistogram
from recloser._circuit.tallies import Ends, Tally, sum_of

# Rows and kinds of calls, see `evidence.py`: others are not from this version.
_ROWS, _KINDS = 9, 3
# With at least this many calls, the share of the bad ones is known well enough.
_ENOUGH = 30.0
# No count is larger: a foreign or broken text must not outweigh what is measured.
_MOST = 1e12


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

    # What many have learned weighs no more than what one can learn, else it could change no more.

    def teach_latency(self, baseline: Baseline) -> None:
        """Let a baseline know these latencies, too. It judges by them after its next `refresh`."""
        histogram = ExponentialHistogram(self.first, self.latencies)
        weight = min(baseline.policy.history_size / max(histogram.total, 1.0), 1.0)
        baseline.take_over(histogram, weight, self.known_for)

    def teach_evidence(self, evidence: Evidence, most: float, now: float) -> None:
        """Let an evidence know these shares of bad calls, too.

        It must know the latencies already: when latency is judged for the first time, it forgets which
        calls were slow.

        Args:
            evidence: The evidence.
            most: As how many calls they count at most.
            now: Seconds.
        """
        part = self.times(min(most / max(self.quiet + sum(self.tally.values()), 1.0), 1.0))
        evidence.take_over(part.quiet, part.tally, part.ends, now)

    def plus(self, other: Learned) -> Learned:
        """Both together, at the rate of the other."""
        histogram = ExponentialHistogram(self.first, self.latencies)
        histogram.merge(ExponentialHistogram(other.first, other.latencies))
        first, latencies = histogram.buckets
        return Learned(
            first,
            latencies,
            self.quiet + other.quiet,
            sum_of(self.tally, other.tally),
            (self.ends[0] + other.ends[0], self.ends[1] + other.ends[1]),
            other.rate,
            max(self.known_for, other.known_for),
        )

    def minus(self, part: Learned) -> Learned:
        """Without a part that was added before, at the same rate. No count is below 0."""
        counts = list(self.latencies)
        for place, count in enumerate(part.latencies, part.first - self.first):
            if 0 <= place < len(counts):
                counts[place] = max(counts[place] - count, 0.0)
        return Learned(
            self.first,
            tuple(counts),
            max(self.quiet - part.quiet, 0.0),
            {at: max(count - part.tally.get(at, 0.0), 0.0) for at, count in self.tally.items()},
            (max(self.ends[0] - part.ends[0], 0.0), max(self.ends[1] - part.ends[1], 0.0)),
            self.rate,
            self.known_for,
        )

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
    def shares(self) -> tuple[float, float]:
        """Shares of slow and of failed calls, 0.0-1.0; of too few calls, the rest is taken for good."""
        total = max(self.quiet + sum(self.tally.values()), _ENOUGH)
        slow, failed = (
            sum(count for (_, kind), count in self.tally.items() if kind == wanted)
            for wanted in (SLOW, FAILED)
        )
        return slow / total, failed / total

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
