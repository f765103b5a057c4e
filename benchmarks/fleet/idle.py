"""What a fleet asks of its store while nothing is wrong."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

from benchmarks.detection.simulator import Clock, Ending
from benchmarks.fleet.cases import (
    Case,
    Figures,
    Options,
    Part,
    Results,
    Section,
    mean,
    most,
    spread,
)
from benchmarks.fleet.network import Network
from benchmarks.fleet.traffic import Fate, Traffic, healthy
from benchmarks.fleet.workers import Worker, faults
from recloser import Permit

# What is measured lasts so long, and half of it if there are very many calls. It begins as long after
# the start; where there are many keys, later: each is asked for once, some in each turn.
_MEASURED, _MANY_CALLS, _MANY_KEYS, _LATER = 120.0, 1_000.0, 100, 240.0
# Operations of the store per second and worker.
_MOST = 2.0
# Keys, and the share of calls that fail now and then.
SETTINGS: dict[str, tuple[int, float]] = {
    "1 key": (1, 0.0),
    "1 key, 1 % fail": (1, 0.01),
    "1,000 keys": (1_000, 0.0),
    "1,000 keys, 1 % fail": (1_000, 0.01),
}


def cases(options: Options) -> list[Case]:
    return [
        Case(part="idle", what=what, workers=8, rate=rate)
        for what in SETTINGS
        for rate in (1.0, 100.0, 10_000.0)
        if rate < 10_000.0 or not options.quick
    ]


class KeyedWorker(Worker):
    """A worker whose calls go to one of several keys."""

    def __init__(self, clock: Clock, network: Network, number: int, seed: int, keys: int) -> None:
        super().__init__(clock, network, number, seed, "service 0")
        self._draws, self._keys = Random(seed + 1), [f"service {each}" for each in range(keys)]
        if keys > 1:
            self.acquire = self._acquire
            for key in self._keys:  # each is asked for once when it is new
                self.registry[key]

    def _acquire(self) -> Permit | None:
        key = self._keys[int(self._draws.random() * len(self._keys))]
        return self.registry[key].try_acquire()

    def end(self, permit: Any, ending: Ending, took: float, wait: float) -> None:
        if ending is Ending.OK:
            permit.success()
        else:
            permit.failure()


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    keys, failing = SETTINGS[case.what]
    everyone = [
        KeyedWorker(clock, network, number, 1_000_000 * seed + number, keys)
        for number in range(case.workers)
    ]

    def fate(random: Random, now: float, worker: int) -> Fate:
        return healthy(random, failing)

    length = _MEASURED if case.rate <= _MANY_CALLS else 0.5 * _MEASURED
    start = _LATER if keys >= _MANY_KEYS else 0.5 * length
    traffic = Traffic(clock, [*everyone], case.rate, start + length, fate, seed)
    network.schedule = traffic.schedule
    before: list[tuple[int, list[int]]] = []
    traffic.at(start, lambda: before.append(_counted(network, everyone)))
    record = traffic.run()
    total, each = before[0]
    per_worker = [
        (worker.store.operations - count) / length
        for worker, count in zip(everyone, each, strict=True)
    ]
    return {
        "mean": (network.data.total - total) / length / case.workers,
        "highest": max(per_worker),
        "refused": record.refused(start, inf),
        "openings": sum(len(worker.openings) for worker in everyone),
        "faults": faults([*everyone]),
    }


def _counted(network: Network, everyone: list[KeyedWorker]) -> tuple[int, list[int]]:
    return network.data.total, [worker.store.operations for worker in everyone]


def report(results: Results) -> Section:
    head = ["", "calls/s", "operations/s of a worker", "of the busiest", "refused, %", "openings"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        rows.append(
            [
                case.what,
                f"{case.rate:,g}",
                spread(runs, "mean", 2),
                spread(runs, "highest", 2),
                f"{mean(runs, 'refused'):.3f}",
                f"{mean(runs, 'openings'):.1f}",
            ]
        )
        name = f"{case.what}, {case.rate:,g}/s"
        section.at_most(f"{name}: operations/s of a worker", _MOST, most(runs, "mean"))
        section.at_most(f"{name}: of the busiest", _MOST, most(runs, "highest"))
        section.at_most(f"{name}: faults of our own", 0.0, most(runs, "faults"))
    return section


PART = Part(
    "idle",
    "A store while nothing is wrong",
    "Eight workers, a callee that is well, or of which 1 % of the calls fail at random. The first "
    "60 s do not count (240 s with 1,000 keys: a worker asks once for each), the next 120 s do; at "
    "10,000 calls/s it is half as long.",
    cases,
    play,
    report,
)
