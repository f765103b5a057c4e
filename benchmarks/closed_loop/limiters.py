"""Models of what adapts how much it lets through, besides those in `benchmarks.detection.peers`.

Sources and defaults: chapter 21 of the SRE book, and the code of Netflix' concurrency-limits as of
January 2026. A failure or a 429 is a *drop* to a limit of Netflix. Its `SimpleLimiter` refuses a
call if as many are in flight as the limit says.
"""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random

from benchmarks.detection.peers import FAILURES
from benchmarks.detection.simulator import Clock, Ending

# Refusals with so many seconds or less between them are one opening.
_APART = 10.0


class _Refuser:
    """Counts its refusals as openings."""

    def __init__(self, clock: Clock) -> None:
        self.openings = self.alarms = list[float]()
        self._clock = clock
        self._refused = -inf

    def _refuse(self) -> None:
        now = self._clock.now
        if now - self._refused > _APART:
            self.openings.append(now)
        self._refused = now


class ClientThrottle(_Refuser):
    """The SRE book's client: K = 2, two minutes, requests refused here count as requests."""

    def __init__(self, clock: Clock, random: Random, k: float = 2.0, seconds: int = 120) -> None:
        super().__init__(clock)
        self._random = random.random
        self._k, self._seconds = k, seconds
        # [second, requests, accepts]
        self._buckets: deque[list[int]] = deque()
        self._requests = self._accepts = 0

    def acquire(self) -> object | None:
        now = self._clock.now
        while self._buckets and self._buckets[0][0] <= int(now) - self._seconds:
            _, requests, accepts = self._buckets.popleft()
            self._requests -= requests
            self._accepts -= accepts
        chance = (self._requests - self._k * self._accepts) / (self._requests + 1)
        self._count(1, 0)
        if chance <= 0.0 or self._random() >= chance:
            return self
        self._refuse()
        return None

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending not in FAILURES and ending is not Ending.CANCELLED:
            self._count(0, 1)

    def _count(self, requests: int, accepts: int) -> None:
        second = int(self._clock.now)
        if not self._buckets or self._buckets[-1][0] != second:
            self._buckets.append([second, 0, 0])
        self._buckets[-1][1] += requests
        self._buckets[-1][2] += accepts
        self._requests += requests
        self._accepts += accepts


class _Limiter(_Refuser):
    """Admits a call while fewer are in flight than the limit."""

    def __init__(self, clock: Clock, limit: int) -> None:
        super().__init__(clock)
        self.limit = limit
        self._in_flight = 0

    def acquire(self) -> int | None:
        if self._in_flight < self.limit:
            self._in_flight += 1
            return self._in_flight
        self._refuse()
        return None

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        assert isinstance(permit, int)
        self._in_flight -= 1
        if ending in FAILURES or ending is Ending.OK:
            self.sample(took, permit, ending in FAILURES)

    def sample(self, took: float, in_flight: int, dropped: bool) -> None:
        """Learn from a call: its seconds, how many were in flight at its start, and its failure."""
        raise NotImplementedError


class Aimd(_Limiter):
    """`AIMDLimit`: one more after a good call, a tenth less after a bad one; 20 to 200."""

    def __init__(
        self,
        clock: Clock,
        *,
        initial: int = 20,
        least: int = 20,
        most: int = 200,
        backoff: float = 0.9,
        timeout: float = 5.0,
    ) -> None:
        super().__init__(clock, initial)
        self._least, self._most, self._backoff, self._timeout = least, most, backoff, timeout

    def sample(self, took: float, in_flight: int, dropped: bool) -> None:
        if dropped or took > self._timeout:
            self.limit = int(self.limit * self._backoff)
        elif in_flight * 2 >= self.limit:
            self.limit += 1
        self.limit = min(self._most, max(self._least, self.limit))


class Gradient(_Limiter):
    """`Gradient2Limit` in a `WindowedLimit`, both with their defaults.

    Once a second, the average latency of ten or more calls is compared with its long average. The
    limit falls if it is over 1.5 times as long, and else grows by up to four.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        initial: int = 20,
        least: int = 20,
        most: int = 200,
        smoothing: float = 0.2,
        tolerance: float = 1.5,
        queue: int = 4,
        long_window: int = 600,
    ) -> None:
        super().__init__(clock, initial)
        self._estimate = float(initial)
        self._least, self._most, self._smoothing = least, most, smoothing
        self._tolerance, self._queue = tolerance, queue
        self._factor = 2.0 / (long_window + 1)
        self._long, self._updates = 0.0, 0
        self._sum, self._samples, self._most_in_flight = 0.0, 0, 0
        self._next_update = 0.0

    def sample(self, took: float, in_flight: int, dropped: bool) -> None:
        if took < 0.0001:
            return
        self._sum += took
        self._samples += 1
        self._most_in_flight = max(self._most_in_flight, in_flight)
        now = self._clock.now
        if now <= self._next_update:
            return
        # The window is at least one second and at most one second long.
        self._next_update = now + 1.0
        if self._samples >= 10:
            self.update(self._sum / self._samples, self._most_in_flight)
        self._sum, self._samples, self._most_in_flight = 0.0, 0, 0

    def update(self, average: float, in_flight: int) -> None:
        """Move the limit by the average latency of a window and the most calls in flight in it."""
        if self._updates < 10:
            self._updates += 1
            self._long += (average - self._long) / self._updates
        else:
            self._long += (average - self._long) * self._factor
        long = self._long
        if long / average > 2.0:
            self._long *= 0.95
        if in_flight < self._estimate / 2.0:
            return
        gradient = max(0.5, min(1.0, self._tolerance * long / average))
        target = self._estimate * gradient + self._queue
        estimate = self._estimate * (1.0 - self._smoothing) + target * self._smoothing
        self._estimate = max(self._least, min(self._most, estimate))
        self.limit = int(self._estimate)
