"""How many calls of one key ended in which way, and how fast calls come."""

from __future__ import annotations

from math import hypot, inf

# Fewer calls than this measure no rate.
_RATE_CALLS = 8
# What is left of the highest concurrency from one measurement to the next.
_CONCURRENCY_KEPT = 0.8


class Counts:
    """Totals since the breaker was made, the rate of calls, and how many run at a time.

    Attributes:
        successes, failures, slow, throttled, ignored, cancelled, refused: Counts as in `Metrics`.
        latency_sum: Sum of the latencies of successes and failures, in seconds.
        latency_squares: Sum of the squares of these.
        rate: Calls asked for per second; 0.0 while unknown.
        concurrency: Calls that are usually in flight at a time, >= 1.
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
        self.latency_sum = 0.0
        self.latency_squares = 0.0
        self._asked_before = 0
        self._rate_since = inf
        self.rate = 0.0
        self.concurrency = 1

    @property
    def asked(self) -> int:
        """Calls that were refused, or ended."""
        ended = self.successes + self.failures + self.throttled + self.ignored + self.cancelled
        return ended + self.refused

    def count(self, latency: float, success: bool) -> None:
        """A call answered, or failed, after `latency` seconds."""
        if success:
            self.successes += 1
        else:
            self.failures += 1
        self.latency_sum += latency
        self.latency_squares += latency * latency

    def count_successes(self, latencies: list[float]) -> None:
        """Some calls answered after these latencies, in seconds."""
        self.successes += len(latencies)
        self.latency_sum += sum(latencies)
        self.latency_squares += hypot(*latencies) ** 2  # in C, four times as fast as a sum of them

    def watch_rate(self, now: float) -> None:
        """Measure the rate from `now` seconds on, if that is not being done."""
        if self._rate_since == inf:
            self._rate_since = now

    def measure_rate(self, asked: int, now: float) -> bool:
        """Measure the rate since the last time; False if there were too few calls.

        Args:
            asked: Calls asked for until now, those in flight included.
            now: Seconds.
        """
        calls = asked - self._asked_before
        if calls < _RATE_CALLS or now <= self._rate_since:
            return False
        self.rate = calls / (now - self._rate_since)
        self._rate_since = now
        self._asked_before += calls
        return True

    def measure_concurrency(self, in_flight: int) -> None:
        """Take the number of calls in flight for usual, if it is not lower than before."""
        usual = round(_CONCURRENCY_KEPT * self.concurrency)
        self.concurrency = max(in_flight, usual, 1)

    def forget_pace(self) -> None:
        """Forget rate and concurrency."""
        self.rate = 0.0
        self.concurrency = 1
