"""All workers are replaced during normal traffic: one by one, and all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.fleet_chaos.figures import load, verdict
from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import started

GOAL = 0.05  # by how much the slow threshold may change
# Seconds until what was learned has been kept, and until new workers have read it.
_LEARNS, _READS = 20.0, 3.0
_TAKES = 0.06  # seconds for a call: long enough for a threshold above the least one


@dataclass(slots=True)
class Restarts:
    """What came of it.

    Attributes:
        before: The slow thresholds of the workers before, in seconds.
        one_by_one: After they were replaced one by one.
        at_once: After all were replaced at once.
        broken: What went wrong.
    """

    before: list[float] = field(default_factory=list)
    one_by_one: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def changes(self) -> tuple[float, float]:
        """By how much the median has changed, as parts: one by one, and at once."""
        before = median(self.before)
        return median(self.one_by_one) / before - 1.0, median(self.at_once) / before - 1.0


def measure(
    engine: str,
    *,
    learns: float = _LEARNS,
    reads: float = _READS,
    workers: int = 8,
    rate: float = 120.0,
) -> Restarts:
    """Let the workers learn what is normal, and replace them twice.

    Args:
        engine: The store.
        learns: Seconds of traffic before.
        reads: Seconds of traffic before new workers are asked what they know.
        workers: How many processes.
        rate: Calls per second of all.
    """
    found = Restarts()
    with started(engine) as place:
        pool = Pool(place, workers, rate, takes=_TAKES)
        try:
            pool.read(learns)
            found.before = _thresholds(pool, found, "before")
            for number in range(workers):
                pool.end(number)
                pool.restart(number)
                pool.read(0.3)
            pool.await_all()
            pool.read(reads)
            found.one_by_one = _thresholds(pool, found, "after one by one")
            pool.end_all()
            for number in range(workers):
                pool.restart(number)
            pool.await_all()
            pool.read(reads)
            found.at_once = _thresholds(pool, found, "after all at once")
            pool.end_all()
        finally:
            pool.close()
    found.broken += pool.broken
    return found


def _thresholds(pool: Pool, found: Restarts, when: str) -> list[float]:
    thresholds: list[float] = []
    for worker in pool.workers:
        news = worker.news
        if news is None:
            found.broken.append(f"{when}: worker {worker.number} has told nothing")
            continue
        thresholds.append(news.slow_threshold)
        if worker.opened or news.refused:
            what = f"{worker.opened}, {news.refused} refused"
            found.broken.append(f"{when}: worker {worker.number} has changed its state: {what}")
        if news.faults:
            found.broken.append(f"{when}: worker {worker.number} has {news.faults} faults")
    return thresholds


def report(engine: str) -> bool:
    """Measure, and print it; return whether the goal was met."""
    found = measure(engine)
    changes = found.changes()
    ok = max(map(abs, changes)) <= GOAL and not found.broken
    print(
        f"{engine:14} slow threshold {1e3 * median(found.before):.2f} ms "
        f"({_span(found.before)} of the workers); "
        f"replaced one by one {changes[0]:+.1%} ({_span(found.one_by_one)}), "
        f"all at once {changes[1]:+.1%} ({_span(found.at_once)}) "
        f"(goal 5 %, nothing opens: {verdict(ok)}); {load()}",
        flush=True,
    )
    for what in found.broken:
        print(f"  broken: {what}")
    return ok


def _span(thresholds: list[float]) -> str:
    return f"{1e3 * min(thresholds):.2f}-{1e3 * max(thresholds):.2f}"
