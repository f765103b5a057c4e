"""Counts of the calls of one key by outcome, the rate of its calls and their concurrency."""

from __future__ import annotations

from math import hypot, inf

# With fewer calls than this, no rate is measured.
_RATE_CALLS = 8
# From one measurement to the next, the concurrency falls at most to this share of itself.
_CONCURRENCY_KEPT = 0.9


class Counts:
    """Totals since the breaker was made, the rate of calls, and the usual number in flight.

    Attributes:
        successes, failures, slow, throttled, ignored, cancelled, refused, spared, spared_good: Counts
            as in `Metrics`.
        latency_sum: Sum of the latencies of successes and failures, in seconds.
        latency_squares: Sum of the squares of these latencies.
        rate: Calls per second, refused ones included; 0.0 while unknown.
        concurrency: Usual number of calls in flight at a time, >= 1.
    """

    __slots__ = (
        "_asked_before",
        "_rate_since",
        "cancelled",
        "concurrency",
        "failures",
        "ignored",
        "latency_squares",
        "latency_sum",
        "rate",
        "refused",
        "slow",
        "spared",
        "spared_good",
        "successes",
        "throttled",
    )

    def __init__(self) -> None:
        self.successes = 0
        self.failures = 0
        self.slow = 0
        self.throttled = 0
        self.ignored = 0
        self.cancelled = 0
        self.refused = 0
        self.spared = 0
        self.spared_good = 0
        self.latency_sum = 0.0
        self.latency_squares = 0.0
        self._asked_before = 0
        self._rate_since = inf
        self.rate = 0.0
        self.concurrency = 1

    @property
    def asked(self) -> int:
        """Calls that have ended or were refused."""
        ended = self.successes + self.failures + self.throttled + self.ignored + self.cancelled
        return ended + self.refused

    def count(self, latency: float, success: bool) -> None:
        """Count a call that answered (`success`) or failed after `latency` seconds."""
        if success:
            self.successes += 1
        else:
            self.failures += 1
        self.latency_sum += latency
        self.latency_squares += latency * latency

    def take_successes(self, recent: list[float]) -> list[float]:
        """Count calls that answered after the latencies in a list (s), and take them out of it.

        Returns:
            The latencies.
        """
        latencies = recent.copy()
        number, total = len(latencies), sum(latencies)
        squares = hypot(*latencies) ** 2  # in C, four times as fast as a sum of squares
        # No function call in these lines: a signal handler could interrupt them, and calls would be
        # lost or counted twice. Another thread may have added a latency to the end of the list.
        del recent[:number]
        self.successes += number
        self.latency_sum += total
        self.latency_squares += squares
        return latencies

    def watch_rate(self, now: float) -> None:
        """Begin to measure the rate at `now` seconds, unless the measurement has begun already."""
        if self._rate_since == inf:
            self._rate_since = now

    def measure_rate(self, asked: int, now: float, over: float = 0.0) -> bool:
        """Measure the rate since the last measurement; return False if it was too recent.

        Args:
            asked: All calls until now, including refused ones and those in flight.
            now: Seconds.
            over: For how many seconds it is measured at least.
        """
        calls = asked - self._asked_before
        if calls < _RATE_CALLS or not self._rate_since + over < now < inf:
            return False
        self.rate = calls / (now - self._rate_since)
        self._rate_since = now
        self._asked_before += calls
        return True

    def measure_concurrency(self, in_flight: int) -> None:
        """Update the usual concurrency: it rises at once and falls slowly."""
        usual = int(_CONCURRENCY_KEPT * self.concurrency)
        self.concurrency = max(in_flight, usual, 1)

    def forget_pace(self) -> None:
        """Forget rate and concurrency."""
        self.rate = 0.0
        self.concurrency = 1
