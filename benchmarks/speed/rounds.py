"""Interleaved timing: ratios that hold on a shared machine.

Candidates of a section take turns in shuffled batches of a few milliseconds, so that a slow second
of the machine slows all of them. Batches are timed in CPU time of this thread. A batch is repeated
if the kernel took the CPU away during it. The fastest rounds are kept *as a whole*: if each
candidate's best batches were kept, they would come from different seconds. The cost that a
candidate adds is the median of its differences to the baseline of the same round.
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

# A batch runs the candidate this many times, and returns the CPU time in nanoseconds.
Batch = Callable[[int], int]
RETAKES = 3
# Linux counts context switches per thread. Other systems have only those of the process.
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
    """A piece of code to time."""

    name: str
    batch: Batch


class Timings:
    """The cost of each candidate in the kept rounds, in nanoseconds per call."""

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
        """Return the median of the difference to another candidate in the same round."""
        return statistics.median(one[name] - one[over] for one in self._kept)


def unshared(function: F) -> F:
    """Return a copy of a function with its own code object.

    The interpreter specialises each call site for what was called there last (PEP 659). With many
    candidates in one process, the same call site would call something else each time. A server
    always calls its one app.
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
    """Return the batch that awaits a coroutine function. Starting the event loop is not timed."""

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
    """Time the candidates in turns. `tick` is called after each round."""
    times = {each.name: _calibrated(each.batch, effort.batch_ns) for each in candidates}
    taken: list[dict[str, float]] = []
    for _ in range(effort.rounds):
        shuffled = random.sample(candidates, len(candidates))
        costs = {each.name: _undisturbed(each.batch, times[each.name]) for each in shuffled}
        taken.append({name: costs[name] / times[name] for name in times})
        tick()
    # Divide each cost by its median: an expensive candidate must not decide alone which rounds are
    # fast.
    typical = {name: statistics.median(one[name] for one in taken) for name in times}
    taken.sort(key=lambda one: sum(one[name] / typical[name] for name in times))
    return Timings(taken[: effort.keep])


def _calibrated(batch: Batch, batch_ns: int) -> int:
    # The first call is not counted: it may build an index or import a module.
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
