"""ExponentialHistogram: a distribution of latencies in little, bounded memory.

It is the base-2 exponential histogram of OpenTelemetry at scale 3. A bucket is an eighth of an
octave wide, so a quantile of any size is off by at most half a bucket, 4.4 %.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from math import exp2, log2

BUCKETS_PER_OCTAVE = 8
# Bucket 0 begins at 2**-20 s, a microsecond (no call through Python is faster); the last one
# ends at 2**16 s, 18 hours (no caller waits longer).
_OCTAVES_BELOW_ONE = 20
_SHORTEST = 2.0**-_OCTAVES_BELOW_ONE
_SHIFT = _OCTAVES_BELOW_ONE * BUCKETS_PER_OCTAVE
BUCKETS = 36 * BUCKETS_PER_OCTAVE
_LAST = BUCKETS - 1


def _index(latency: float) -> int:
    if latency <= _SHORTEST:
        return 0
    return min(int(log2(latency) * BUCKETS_PER_OCTAVE + _SHIFT), _LAST)


class ExponentialHistogram:
    """Counts by logarithmic bucket, at most 288 of them; adding is O(1).

    It forgets nothing by itself. `Baseline` keeps two of them and replaces the older one.

    Args:
        first: The number of the bucket of the first count; at most `BUCKETS` with all counts.
        counts: Counts that it has already, by bucket.
    """

    __slots__ = ("_counts", "_first")

    def __init__(self, first: int = 0, counts: Iterable[float] = ()) -> None:
        # A dense list of only the buckets in use: the latencies of one key span few octaves.
        self._counts: list[float] = [*counts]
        self._first = first

    def add(self, latencies: Iterable[float], weight: float = 1) -> None:
        """Count latencies, in seconds, >= 0, each `weight` times.

        Extreme latencies count in the outermost buckets.
        """
        counts = self._counts
        for latency in latencies:
            # _index(), written out: this runs once per call.
            index = int(log2(latency) * BUCKETS_PER_OCTAVE + _SHIFT) if latency > _SHORTEST else 0
            offset = index - self._first
            if 0 <= offset < len(counts):
                counts[offset] += weight
            else:
                self._add_outside(min(index, _LAST), weight)

    @property
    def buckets(self) -> tuple[int, tuple[float, ...]]:
        """The number of the first bucket in use, and the counts from there on."""
        return self._first, tuple(self._counts)

    @property
    def total(self) -> float:
        """Number of latencies counted."""
        return sum(self._counts)

    def _add_outside(self, index: int, count: float) -> None:
        counts = self._counts
        if not counts:
            self._first = index
        if index < self._first:
            counts[:0] = [0] * (self._first - index)
            self._first = index
        missing = index - self._first + 1 - len(counts)
        if missing > 0:
            counts.extend([0] * missing)
        counts[index - self._first] += count

    def merge(self, other: ExponentialHistogram, weight: float = 1.0) -> None:
        """Add all counts of another histogram to this one, each `weight` times."""
        added, first = other._counts, other._first
        if not added:
            return
        if not self._counts and weight == 1.0:
            self._counts, self._first = added.copy(), first
            return
        # Adding zero at both ends extends the list, so the loop needs no checks of its bounds.
        self._add_outside(first, 0)
        self._add_outside(first + len(added) - 1, 0)
        counts = self._counts
        for offset, count in enumerate(added, first - self._first):
            counts[offset] += weight * count

    def shift(self, ratio: float) -> None:
        """Multiply every latency counted so far by a ratio > 0, to the precision of a bucket."""
        if self._counts:
            lowest, highest = -self._first, _LAST - self._first - len(self._counts) + 1
            self._first += min(max(round(log2(ratio) * BUCKETS_PER_OCTAVE), lowest), highest)

    def quantiles(self, *shares: float) -> tuple[float, ...]:
        """Latencies below which these shares of the counts lie, interpolated within a bucket.

        Args:
            shares: In ascending order, each in 0.0-1.0.

        Returns:
            Seconds, one value per share; zeros if nothing was counted.
        """
        counts = self._counts
        # Sums and look-ups in C code: every scrape of the metrics asks this of every key.
        sums = list(accumulate(counts))
        if not sums or not sums[-1]:
            return (0.0,) * len(shares)
        found: list[float] = []
        offset = bisect_right(sums, 0)  # the first bucket with a count: there a share of 0.0 lies
        for share in shares:
            rank = share * sums[-1]
            offset = bisect_left(sums, rank, offset)
            inside = max(rank - (sums[offset] - counts[offset]), 0.0) / counts[offset]
            found.append(exp2((self._first + offset + inside - _SHIFT) / BUCKETS_PER_OCTAVE))
        return tuple(found)

    def share_above(self, latency: float) -> float:
        """Share of the counts above a latency in seconds, 0.0-1.0, to the precision of a bucket."""
        edge = _index(latency) + 1 - self._first
        above = sum(self._counts[max(edge, 0) :])
        return above / self.total if above else 0.0


def median(values: Iterable[float]) -> float:
    """The median of a few values, at least one."""
    # Imported at the first label or size: it would be a twelfth of the import time of recloser.
    from statistics import median as of_all

    return of_all(values)
