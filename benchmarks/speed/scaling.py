"""The cost of a call with more threads, more keys and a longer history."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from itertools import cycle, repeat

from recloser import Breaker, Policy, Registry

from .report import Goal, Section
from .rounds import Candidate, Effort, measure, plain

THREADS = (1, 2, 4, 8)
CALLS = 20_000
IO_SECONDS = 0.002
IO_CALLS = 25


def _nothing() -> None:
    pass


def _wait() -> None:
    time.sleep(IO_SECONDS)


def threads(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time calls from several threads: their CPU time, and whether they wait for each other."""
    shared = Breaker("shared")(_nothing)
    cpu: dict[int, list[float]] = {number: [] for number in THREADS}
    for _ in range(max(5, effort.keep // 3)):
        for number in THREADS:
            start = time.process_time_ns()
            _run(number, shared, CALLS // number)
            cpu[number].append((time.process_time_ns() - start) / CALLS)
        tick()
    section = Section(
        "Threads on one breaker", ["threads", "CPU ns per call", "worst round / median"]
    )
    for number in THREADS:
        middle = statistics.median(cpu[number])
        section.rows.append([str(number), middle, f"{max(cpu[number]) / middle:.2f}"])
    ratio = statistics.median(cpu[8]) / statistics.median(cpu[1])
    section.goals.append(Goal("CPU of a call, 8 threads to 1", ratio, 1.5))
    section.goals.append(Goal("wall time of 8 threads that wait, to no breaker", _waiting(), 1.2))
    return section


def _waiting() -> float:
    guarded = Breaker("waiting")(_wait)
    ratios: list[float] = []
    for _ in range(5):
        walls: list[float] = []
        for call in (_wait, guarded):
            start = time.perf_counter()
            _run(8, call, IO_CALLS)
            walls.append(time.perf_counter() - start)
        ratios.append(walls[1] / walls[0])
    return statistics.median(ratios)


def _run(number: int, call: Callable[[], object], calls: int) -> None:
    def work() -> None:
        for _ in repeat(None, calls):
            call()

    running = [threading.Thread(target=work) for _ in range(number)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def keys(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time calls that take turns over many keys, each looked up in the registry."""
    candidates = [
        Candidate(f"{number:,} keys", plain(_turns(number))) for number in (1, 100, 10_000)
    ]
    timings = measure(candidates, effort, tick)
    section = Section("Keys", ["", "ns per call", "spread"])
    section.rows += [[n, timings.median(n), f"{timings.spread(n):.0%}"] for n in timings.names]
    section.notes.append("10,000 breakers no longer fit the CPU's nearer caches.")
    return section


def _turns(number: int) -> Callable[[], None]:
    registry = Registry(max_keys=2 * number)
    following = cycle([f"GET /items/{each}" for each in range(number)]).__next__
    for _ in range(number):
        registry[following()].acquire().success()

    def call() -> None:
        registry[following()].acquire().success()

    return call


def history(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time calls of breakers with a longer and longer history."""
    candidates = [
        Candidate(f"history_size={size:,}", plain(_remembering(size)))
        for size in (100, 1000, 100_000)
    ]
    timings = measure(candidates, effort, tick)
    section = Section("History", ["", "ns per call", "spread"])
    section.rows += [[n, timings.median(n), f"{timings.spread(n):.0%}"] for n in timings.names]
    names = timings.names
    section.goals.append(
        Goal(
            "history of 100,000, to 1,000", timings.median(names[2]) / timings.median(names[1]), 1.2
        )
    )
    return section


def _remembering(size: int) -> Callable[[], object]:
    breaker = Breaker("history", Policy(history_size=size))
    for _ in repeat(None, min(2 * size, 20_000)):
        breaker.record(0.01, True)
    return breaker(_nothing)
