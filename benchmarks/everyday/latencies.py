"""Callees whose answers are good, though not simple. All times are seconds.

A `Draw` is a function `(random, seconds since the phase began) -> Fate`.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heapreplace
from itertools import accumulate
from math import exp
from random import Random

from benchmarks.detection.simulator import Ending
from benchmarks.everyday.key import Draw, Fate

Factor = Callable[[Random, float], float]


def lognormal(median: float, sigma: float) -> Draw:
    return lambda random, since: Fate(median * exp(random.gauss(0.0, sigma)))


def scaled(draw: Draw, factor: Factor) -> Draw:
    """The same callee, but each call takes `factor(random, since)` times as long."""

    def fate(random: Random, since: float) -> Fate:
        drawn = draw(random, since)
        return drawn._replace(took=drawn.took * factor(random, since))

    return fate


def failing(draw: Draw, share: float) -> Draw:
    """A share of the calls fails, each by itself."""

    def fate(random: Random, since: float) -> Fate:
        drawn = draw(random, since)
        return drawn._replace(ending=Ending.FAILED) if random.random() < share else drawn

    return fate


def dead() -> Draw:
    """Every call fails at once."""
    return lambda random, since: Fate(0.001, Ending.FAILED)


def hanging(timeout: float) -> Draw:
    """No answer; the time-out fails the call."""
    return lambda random, since: Fate(timeout, Ending.FAILED)


class Queue:
    """Servers with one queue, first in first out.

    `send` adds the wait for a free server to the drawn time of service.
    """

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers
        heapify(self._free)

    def send(self, now: float, fate: Fate) -> Fate:
        start = max(now, self._free[0])
        heapreplace(self._free, start + fate.took)
        return fate._replace(took=start + fate.took - now)


class Clusters:
    """Whether a call is one of a cluster of 10-60 consecutive calls of one client.

    Args:
        share: Of all calls that are in a cluster, in the long run.
    """

    def __init__(self, share: float) -> None:
        self._enter = share / (1.0 - share) / 35.0
        self._left = 0

    def inside(self, random: Random) -> bool:
        if not self._left:
            if random.random() >= self._enter:
                return False
            self._left = random.randint(10, 60)
        self._left -= 1
        return True


class Cache:
    """A cache in front of a slow callee. An admitted and answered miss fills its entry.

    Args:
        keys: How many entries are asked for.
        cacheable: Share of the calls that can be cached.
        zipf: Whether key n is asked for in proportion to 1/n; otherwise all equally often.
    """

    HIT = 0.005
    MISS = 0.2

    def __init__(self, keys: int, cacheable: float, *, zipf: bool) -> None:
        self._cacheable = cacheable
        self._keys = range(keys)
        self._weights = list(accumulate(1.0 / (n + 1) if zipf else 1.0 for n in self._keys))
        self._filled_at: dict[int, float] = {}
        self._asked = -1
        self.hits = 0

    def draw(self, random: Random, since: float) -> Fate:
        if random.random() < self._cacheable:
            (self._asked,) = random.choices(self._keys, cum_weights=self._weights)
        else:
            self._asked = -1
        return Fate(exp(random.gauss(0.0, 0.2)))

    def send(self, now: float, fate: Fate) -> Fate:
        hit = self._filled_at.get(self._asked, float("inf")) <= now
        self.hits += hit
        took = fate.took * (self.HIT if hit else self.MISS)
        if self._asked >= 0 and not hit:
            earlier = self._filled_at.get(self._asked, float("inf"))
            self._filled_at[self._asked] = min(earlier, now + took)
        return fate._replace(took=took)

    def fill(self) -> None:
        """Fill every entry."""
        self._filled_at = dict.fromkeys(self._keys, 0.0)

    def flush(self) -> None:
        """Empty every entry."""
        self._filled_at.clear()


SIZES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Median latencies of the six sizes of prompts."""


def prompts() -> Draw:
    """Prompts of a language model, in blocks of 20-60 of one size. The size is the label."""
    left, size = 0, SIZES[0]

    def fate(random: Random, since: float) -> Fate:
        nonlocal left, size
        if not left:
            left, size = random.randint(20, 60), random.choice(SIZES)
        left -= 1
        return Fate(size * exp(random.gauss(0.0, 0.3)), label=f"{size:g}")

    return fate
