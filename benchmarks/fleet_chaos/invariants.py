"""What must hold in a fleet whatever happens, and how it is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import Place
from benchmarks.fleet_chaos.upstream import Probe
from benchmarks.fleet_chaos.worker import News
from recloser.fleet import StoreError

AGREE = 2.0  # seconds within which all must agree
# What is seen is so old at most; and a worker that has told nothing for so long is not looked at.
_SLACK, _FRESH = 0.25, 0.5
# A probe that was sent so long after it was admitted was held up by the machine.
_HELD_UP = 0.05


class Invariants:
    """Watches a fleet.

    Args:
        pool: Its processes.
        place: Its store.
        broke: Is told what broke.
    """

    def __init__(self, pool: Pool, place: Place, broke: Callable[[str], None]) -> None:
        self._pool, self._place, self._broke = pool, place, broke
        self._store = place.open()
        self._life, self._epochs = "", dict[str, int]()
        self._quiet_since = time.monotonic()
        self._apart_since: float | None = None
        self._told_apart = False
        self._longest_apart = 0.0
        self._gone: dict[int, list[tuple[float, float]]] = {}
        self._faults: dict[str, int] = {}

    # Workers that cannot speak

    def note_gone(self, number: int) -> None:
        """Note that a worker is stopped or killed."""
        self._gone.setdefault(number, []).append((time.monotonic(), float("inf")))

    def note_back(self, number: int) -> None:
        """Note that it goes on."""
        spans = self._gone[number]
        spans[-1] = spans[-1][0], time.monotonic()

    # States

    def states(self) -> list[str]:
        """What each worker knows, for reading."""
        return [
            f"{worker.number} {worker.news.state}{' alone' * worker.news.alone}"
            f"{' cut off' * (not worker.news.connected)}"
            f"{f' leads ({worker.news.why})' * worker.news.leads}"
            for worker in self._pool.workers
            if worker.news is not None
        ]

    def is_settled(self) -> bool:
        """Whether all are closed and connected."""
        news = [worker.news for worker in self._pool.workers]
        return all(each and each.connected and each.state == "closed" for each in news)

    def judge(self, has_faults: bool, now: float) -> None:
        """Look at what the workers told last."""
        for worker in self._pool.workers:
            news = worker.news
            if news is not None and news.faults > self._faults.get(news.name, 0):
                self._faults[news.name] = news.faults
                self._broke(f"{news.name} has {news.faults} faults")
        if has_faults:
            self._quiet_since = now
            self._apart_since, self._told_apart = None, False
            return
        fresh = [
            worker.news
            for worker in self._pool.workers
            if worker.news is not None and now - worker.news.at < _FRESH
        ]
        agree = len({news.state for news in fresh}) < 2 and all(news.connected for news in fresh)
        if agree:
            self._apart_since, self._told_apart = None, False
            return
        if self._apart_since is None:
            self._apart_since = now
        since = max(self._apart_since, self._quiet_since)
        self._longest_apart = max(now - since, self._longest_apart)
        if now - since > AGREE + _SLACK and not self._told_apart:
            self._told_apart = True
            last = {news.last_failure[:120] for news in fresh if not news.connected}
            self._broke(f"no agreement for {now - since:.2f} s: {self.states()} {last or ''}")

    def judge_last(self, told: Iterable[News]) -> None:
        """Look at the last words of the workers."""
        for news in told:
            if news.faults > self._faults.get(news.name, 0):
                self._broke(f"{news.name} has {news.faults} faults")

    # The store

    def read_store(self) -> None:
        """Look at the epochs in the store."""
        server = self._place.server
        if server is not None and not server.socket.exists():
            return
        with suppress(StoreError):
            news = self._store.news(0)
            if news.life != self._life:
                self._life, self._epochs = news.life, {}
            for fact in news.facts:
                before = self._epochs.get(fact.name, 0)
                if fact.epoch < before:
                    self._broke(f"the epoch of {fact.name!r} went from {before} to {fact.epoch}")
                self._epochs[fact.name] = fact.epoch

    def forget_store(self) -> None:
        """Note that the store may show an older state of its life from now on."""
        self._epochs = {}

    # Probes

    def judge_probes(self, probes: list[Probe], begun: float) -> list[str]:
        """Where more probes of the fleet were in flight than it had allowed."""
        broken: list[str] = []
        running: list[Probe] = []
        for probe in sorted(self._judged(probes), key=lambda each: each.begun):
            running = [each for each in running if each.ended > probe.begun] + [probe]
            allowed = max(each.allowed for each in running)
            if len(running) > allowed:
                who = ", ".join(
                    f"worker {each.worker} {each.begun - begun:.3f}-{each.ended - begun:.3f} s"
                    f" (of {each.allowed})"
                    for each in running
                )
                broken.append(f"{len(running)} probes in flight, {allowed} allowed: {who}")
        return broken

    def _judged(self, probes: Iterable[Probe]) -> list[Probe]:
        return [
            probe
            for probe in probes
            if probe.kind == "f"
            and probe.begun - probe.acquired < _HELD_UP
            and not self.was_gone(probe)
        ]

    def was_gone(self, probe: Probe) -> bool:
        """Whether its worker was stopped or killed meanwhile, so that nobody could know of it."""
        return self.was_gone_in(probe.worker, probe.acquired, probe.ended)

    def was_gone_in(self, number: int, begun: float, ended: float) -> bool:
        """Whether a worker was stopped or killed at any moment in between."""
        spans = self._gone.get(number, [])
        return any(start < ended and begun < end for start, end in spans)

    def notes(self, probes: list[Probe]) -> list[str]:
        """Figures."""
        fleet = self._judged(probes)
        alone = [probe for probe in probes if probe.kind == "a"]
        single = [probe for probe in fleet if probe.allowed == 1]
        return [
            f"probes: {len(fleet)} of the fleet ({len(single)} when one was allowed at a time), "
            f"at most {most(fleet)} at a time ({most(single)}); "
            f"{len(alone)} of workers that decided alone, at most {most(alone)}; "
            f"{len(probes) - len(fleet) - len(alone)} not judged, since their workers were "
            "stopped, killed or held up",
            f"the longest time without agreement, and without a fault: {self._longest_apart:.2f} s",
        ]


def most(probes: list[Probe]) -> int:
    """How many were in flight at a time, at most."""
    running: list[Probe] = []
    most = 0
    for probe in sorted(probes, key=lambda each: each.begun):
        running = [each for each in running if each.ended > probe.begun] + [probe]
        most = max(most, len(running))
    return most
