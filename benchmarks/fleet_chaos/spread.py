"""How long it takes from the first opening to all refusing, when a callee fails at one moment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.fleet_chaos.figures import load, percentile, verdict
from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import started

GOAL = 0.05  # seconds, of 99 % of the runs
_PATIENCE = 15.0
_WARM = 4.0  # seconds of healthy traffic before the first outage
_FAILS = 1.0  # seconds of an outage after all have opened


@dataclass(slots=True)
class Spread:
    """What came of the runs.

    Attributes:
        spreads: Seconds from the first opening to the last one, for each run.
        first: Seconds from the outage to the first opening.
        wasted: Calls that failed until all had opened.
        broken: What went wrong.
    """

    spreads: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    wasted: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def measure(
    engine: str, runs: int, *, workers: int = 8, rate: float = 120.0, calm: float = 0.5
) -> Spread:
    """Let the callee fail so many times; after each time it is well until all breakers are closed.

    Args:
        engine: The store.
        runs: How many times.
        workers: How many processes.
        rate: Calls per second of all.
        calm: Seconds after that before it fails again. A key is watched for 3 s after an incident, so
            a shorter time finds the fleet awake.
    """
    found, chance = Spread(), random.Random(1)
    with started(engine) as place:
        pool = Pool(place, workers, rate)
        try:
            pool.read(_WARM)
            for _ in range(runs):
                _run(pool, found)
                if not _until(pool, lambda: _are(pool, "closed")):
                    found.broken.append("the breakers do not close again")
                    break
                pool.read(calm + 0.5 * chance.random())
            told = pool.end_all()
        finally:
            pool.close()
    found.broken += pool.broken
    found.broken += [f"{news.name}: {news.faults} faults" for news in told if news.faults]
    return found


def _run(pool: Pool, found: Spread) -> None:
    for worker in pool.workers:
        worker.opened.clear()
    wasted = _wasted(pool)
    begun = time.monotonic()
    pool.dead.value = 1
    if not _until(pool, lambda: all(_openings(pool, begun))):
        found.broken.append("not all breakers open")
    times = [each for each in _openings(pool, begun) if each]
    pool.read(0.1)  # the counts of all come with the next report
    found.wasted.append(_wasted(pool) - wasted)
    if times:
        found.spreads.append(max(times) - min(times))
        found.first.append(min(times) - begun)
    pool.read(_FAILS)
    pool.dead.value = 0


def _openings(pool: Pool, begun: float) -> Iterator[float]:
    for worker in pool.workers:
        times = [at for at, state, _ in worker.opened if state == "open" and at >= begun]
        yield times[0] if times else 0.0


def _wasted(pool: Pool) -> int:
    return sum(worker.news.wasted for worker in pool.workers if worker.news is not None)


def _are(pool: Pool, state: str) -> bool:
    news = [worker.news for worker in pool.workers]
    return all(each is not None and each.state == state for each in news)


def _until(pool: Pool, happened: object) -> bool:
    assert callable(happened)
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        if time.monotonic() >= deadline:
            return False
        pool.read(0.01)
    return True


def report(engine: str, runs: int, rate: float, calm: float) -> bool:
    """Measure, and print it; return whether the goal was met."""
    found = measure(engine, runs, rate=rate, calm=calm)
    p99 = percentile(found.spreads, 0.99)
    ok = p99 <= GOAL and not found.broken
    print(
        f"{engine:14} 8 workers, {rate:g} calls/s, {len(found.spreads)} outages, "
        f"{calm:g} s of calm: first to last opening "
        f"p50 {1e3 * percentile(found.spreads, 0.5):.1f} ms, p99 {1e3 * p99:.1f} ms, "
        f"max {1e3 * percentile(found.spreads, 1.0):.1f} ms (goal p99 <= 50 ms: {verdict(ok)}); "
        f"first opening after p50 {1e3 * percentile(found.first, 0.5):.0f} ms; "
        f"wasted p50 {percentile(found.wasted, 0.5):.0f}, max {percentile(found.wasted, 1):.0f}; "
        f"{load()}",
        flush=True,
    )
    worst = sorted(enumerate(found.spreads), key=lambda each: -each[1])[:5]
    print("  the worst:", ", ".join(f"{1e3 * each:.1f} ms (outage {at})" for at, each in worst))
    for what in found.broken:
        print(f"  broken: {what}")
    return ok
