"""Calls with labels or sizes that overlap, on a manual clock."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

from recloser import Breaker, Permit, Policy, State
from recloser.testing import ManualClock

MIXED = {"1": 0.1, "4": 0.4, "16": 1.6, "64": 6.4}
"""Typical latency of each label, in seconds."""


def make(clock: ManualClock, **settings: Any) -> Breaker:
    settings = {"slow_ceiling": 1000.0, **settings}
    policy = Policy(**settings)
    return Breaker("k", policy, clock=clock, random=lambda: 0.5)


class Load:
    """Calls that overlap: each begins at its time and ends when it is due."""

    def __init__(self, breaker: Breaker, clock: ManualClock) -> None:
        self.breaker = breaker
        self.clock = clock
        self.random = Random(3)
        self.refused = 0
        self._ends: list[tuple[float, int, Permit, float | None]] = []

    def run(
        self,
        kinds: Iterable[tuple[str, float]],
        gap: float,
        *,
        until: State | None = None,
        sizes: bool = False,
    ) -> float:
        """Begin calls of these labels and latencies; return after how many seconds it ended."""
        began = self.clock.now
        for number, (label, latency) in enumerate(kinds):
            begins = self.clock.now + gap
            self._finish(begins)
            self.clock.now = begins
            permit = self.breaker.try_acquire() if sizes else self.breaker.try_acquire(label)
            if permit is None:
                self.refused += 1
            elif latency < inf:
                size = latency if sizes else None
                heappush(self._ends, (begins + latency, number, permit, size))
            else:
                self._ends.append((inf, number, permit, None))
            if until is not None and self.breaker.state is until:
                break
        return self.clock.now - began

    def _finish(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            self.clock.now, _, permit, size = heappop(self._ends)
            if size is not None:
                permit.size = size
            permit.success()

    def end_all(self) -> None:
        """End the calls that are in flight."""
        self._finish(self.clock.now + 1000.0)

    def labels(self, calls: int, latencies: dict[str, float]) -> Iterable[tuple[str, float]]:
        for _ in range(calls):
            label = self.random.choice([*latencies])
            yield label, latencies[label] * self.random.lognormvariate(0.0, 0.2)
