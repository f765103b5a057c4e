"""Interleaved timing: ratios that hold on a shared machine.

Candidates of a section take turns in shuffled batches of a few milliseconds, timed in CPU time of
this thread, so that a slow second of the machine slows all of them. A batch during which the
kernel took the CPU away is retaken. Of all rounds the fastest are kept *as a whole* (picking each
candidate's own best would compare different seconds), and the cost that a candidate adds is the
median of its differences to the baseline of the same round.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import FunctionType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

# One batch runs the candidate so many times and says how many nanoseconds of CPU that took.
Batch = Callable[[int], int]
RETAKES = 3
# Linux counts context switches per thread; elsewhere those of the process must do.
_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds taken, fastest rounds kept, nanoseconds of one batch."""

    rounds: int
    keep: int
    batch_ns: int


THOROUGH = Effort(rounds=93, keep=31, batch_ns=3_000_000)
QUICK = Effort(rounds=21, keep=9, batch_ns=1_500_000)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to be timed."""

    name: str
    batch: Batch


class Timings:
    """What each candidate cost in the rounds that were kept, in nanoseconds per call."""

    def __init__(self, kept: Sequence[dict[str, float]]) -> None:
        self._kept = kept
        self.names = list(kept[0])

    def median(self, name: str) -> float:
        """Return the median cost of one call."""
        return statistics.median(one[name] for one in self._kept)

    def spread(self, name: str) -> float:
        """Return the interquartile range of the cost over its median."""
        low, middle, high = statistics.quantiles([one[name] for one in self._kept], n=4)
        return (high - low) / middle

    def added(self, name: str, over: str) -> float:
        """Return the median of the cost above another candidate's in the same round."""
        return statistics.median(one[name] - one[over] for one in self._kept)


def unshared(function: F) -> F:
    """Return a copy of a function with code of its own.

    The interpreter remembers at each call what was called there last (PEP 659). In one process with
    many candidates it would find something else each time; a server finds its one app.
    """
    own = cast("FunctionType", function)
    return cast(
        "F",
        FunctionType(
            own.__code__.replace(),
            own.__globals__,
            own.__name__,
            own.__defaults__,
            own.__closure__,
        ),
    )


def plain(call: Callable[[], object]) -> Batch:
    """Return the batch that calls a function."""

    def batch(times: int) -> int:
        start = time.thread_time_ns()
        for _ in repeat(None, times):
            call()
        return time.thread_time_ns() - start

    return unshared(batch)


def awaited(runner: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Batch:
    """Return the batch that awaits a coroutine function, without the cost of starting a loop."""

    async def loop(times: int) -> int:
        start = time.thread_time_ns()
        for _ in repeat(None, times):
            await call()
        return time.thread_time_ns() - start

    own_loop = unshared(loop)
    return lambda times: runner.run(own_loop(times))


def measure(
    candidates: Sequence[Candidate], effort: Effort, tick: Callable[[], None] = lambda: None
) -> Timings:
    """Time the candidates side by side; `tick` is called after each round."""
    times = {each.name: _calibrated(each.batch, effort.batch_ns) for each in candidates}
    taken: list[dict[str, float]] = []
    for _ in range(effort.rounds):
        shuffled = random.sample(candidates, len(candidates))
        costs = {each.name: _undisturbed(each.batch, times[each.name]) for each in shuffled}
        taken.append({name: costs[name] / times[name] for name in times})
        tick()
    # A heavy candidate must not decide alone which rounds were fast: weigh each by its own median.
    typical = {name: statistics.median(one[name] for one in taken) for name in times}
    taken.sort(key=lambda one: sum(one[name] / typical[name] for name in times))
    return Timings(taken[: effort.keep])


def _calibrated(batch: Batch, batch_ns: int) -> int:
    # The first call does what is done once: it builds an index, or imports something.
    batch(1)
    times = 1
    while (took := batch(times)) < batch_ns / 4:
        times *= 2
    return max(1, round(times * batch_ns / max(took, 1)))


def _undisturbed(batch: Batch, times: int) -> int:
    best = 0
    for _ in range(RETAKES):
        switches = resource.getrusage(_WHO).ru_nivcsw
        took = batch(times)
        best = min(best or took, took)
        if resource.getrusage(_WHO).ru_nivcsw == switches:
            return took
    return best
