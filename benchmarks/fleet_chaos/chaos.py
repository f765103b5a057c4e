"""Random faults of workers, stores and callee, and what must hold all the time."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from benchmarks.fleet_chaos import upstream
from benchmarks.fleet_chaos.invariants import Invariants
from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import AT_ONCE, End, Place, Trouble, started
from benchmarks.fleet_chaos.upstream import FAILS, HANGS, WELL, Upstream
from benchmarks.fleet_chaos.worker import FORK, RUN

_WARM, _SETTLE = 3.0, 30.0  # seconds
_MOST = 2  # faults at a time
_GAP = (0.3, 3.0)  # seconds between the beginnings of two faults, for each second of quiet
# Of so many gaps, one is long enough for all to calm down.
_LONG_GAP, _LONG = 4, (4.0, 7.0)
_LOOK = 0.1  # seconds between two looks into the store


@dataclass(slots=True)
class Fault:
    """A fault that lasts.

    Attributes:
        name: What it is.
        until: When it ends, in monotonic seconds.
        end: Ends it.
    """

    name: str
    until: float
    end: End


@dataclass
class Chaos:
    """What came of it.

    Attributes:
        broken: What broke, with the time since the begin.
        faults: How often which fault happened.
        calls: How many calls were made or refused.
        notes: Figures.
    """

    broken: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    notes: list[str] = field(default_factory=list)


def run(
    engine: str,
    seconds: float,
    seed: int,
    *,
    workers: int = 8,
    rate: float = 120.0,
    only: str = "",
    verbose: bool = False,
) -> Chaos:
    """Run a fleet under faults.

    Args:
        engine: The store.
        seconds: How long faults happen.
        seed: Chooses them.
        workers: How many processes.
        rate: Calls per second of all.
        only: If given, faults whose name has that text, beside those of the callee.
        verbose: Whether to print each fault.
    """
    with (
        started(engine, partitions=True) as place,
        upstream.running() as callee,
        closing(Pool(place, workers, rate, callee.path)) as pool,
    ):
        return Play(place, callee, pool, seed, only, verbose).run(seconds)


class Play:
    """The faults of one run.

    Args:
        place: The store.
        callee: The callee.
        pool: The workers.
        seed: Chooses the faults.
        only: If given, faults whose name has that text, beside those of the callee.
        verbose: Whether to print each fault.
    """

    def __init__(
        self, place: Place, callee: Upstream, pool: Pool, seed: int, only: str, verbose: bool
    ) -> None:
        self._place, self._callee, self._pool = place, callee, pool
        self._random = random.Random(seed)
        self._verbose = verbose
        self._result = Chaos()
        self._active: list[Fault] = []
        self._begun = time.monotonic()
        self._watch = self.watch()
        self._troubles = [
            each for each in [*place.troubles, *self._of_workers()] if only in each.name
        ]
        self._next = self._next_outage = self._next_look = 0.0

    def _broke(self, what: str) -> None:
        active = ", ".join(fault.name for fault in self._active) or "no fault"
        text = f"{time.monotonic() - self._begun:.2f} s ({active}): {what}"
        self._result.broken.append(text)
        if self._verbose:
            print(f"  BROKEN {text}", flush=True)

    def watch(self) -> Invariants:
        """Make the object that checks what must hold while faults happen."""
        return Invariants(self._pool, self._place, self._broke)

    # Faults of workers

    def _of_workers(self) -> list[Trouble]:
        return [
            Trouble("worker killed", (0.0, 2.0), self._kill),
            Trouble("leader killed", (0.0, 2.0), lambda: self._kill(self._leader())),
            Trouble("worker stopped", (0.1, 5.0), self._stop),
            Trouble("leader stopped", (0.5, 5.0), lambda: self._stop(self._leader())),
            Trouble("fork", AT_ONCE, self._fork),
        ]

    def _any(self) -> int:
        return self._random.randrange(len(self._pool.workers))

    def _leader(self) -> int:
        for worker in self._pool.workers:
            if worker.news is not None and worker.news.leads:
                return worker.number
        return self._any()

    def _kill(self, number: int | None = None) -> End:
        which = self._any() if number is None else number
        if self._pool.workers[which].order.value != RUN or self._pool.workers[which].stopped:
            return _nothing
        self._watch.note_gone(which)
        self._pool.kill(which)

        def end() -> None:
            self._pool.restart(which)
            self._watch.note_back(which)

        return end

    def _stop(self, number: int | None = None) -> End:
        which = self._any() if number is None else number
        worker = self._pool.workers[which]
        if worker.order.value != RUN or worker.stopped:
            return _nothing
        self._watch.note_gone(which)
        worker.signal(signal.SIGSTOP)

        def end() -> None:
            if self._pool.workers[which] is worker:
                worker.signal(signal.SIGCONT)
            self._watch.note_back(which)

        return end

    def _fork(self) -> End:
        worker = self._pool.workers[self._any()]
        if worker.order.value == RUN and not worker.stopped:
            worker.order.value = FORK
        return _nothing

    # The play

    def run(self, seconds: float) -> Chaos:
        """Let faults happen for so many seconds."""
        self._wait(_WARM)
        begun = self._begun = time.monotonic()
        self._next = self._next_outage = begun
        while time.monotonic() < begun + seconds:
            self._step()
        for fault in [*self._active]:
            self._end(fault)
        self._callee.become(WELL)
        self._settle()
        self._finish()
        return self._result

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()

    def _look(self) -> None:
        self._pool.read(0.02)
        self._callee.read()
        now = time.monotonic()
        self._watch.judge(bool(self._active), now)
        if now >= self._next_look:
            self._next_look = now + _LOOK
            self._watch.read_store()

    def _step(self) -> None:
        self._look()
        now = time.monotonic()
        for fault in [*self._active]:
            if now >= fault.until:
                self._end(fault)
        if now >= self._next_outage:
            self._turn_callee(now)
        if now >= self._next and len(self._active) < _MOST:
            self._begin_fault(now)

    def _turn_callee(self, now: float) -> None:
        chance = self._random
        if self._callee.mode != WELL:
            mode, lasts = WELL, chance.uniform(1.0, 6.0)
        else:
            mode, lasts = chance.choice([FAILS, FAILS, HANGS]), chance.uniform(0.3, 4.0)
        self._callee.become(mode)
        self._next_outage = now + lasts
        self._say(f"the callee {('is well', 'fails', 'hangs')[mode]} for {lasts:.1f} s")

    def _begin_fault(self, now: float) -> None:
        chance = self._random
        long = chance.randrange(_LONG_GAP) == 0
        self._next = now + chance.uniform(*(_LONG if long else _GAP))
        taken = {fault.name for fault in self._active}
        # One trouble of the store at a time: the end of one must not end another.
        of_store = {each.name for each in self._place.troubles}
        allowed = [
            each
            for each in self._troubles
            if each.name not in taken and not (each.name in of_store and taken & of_store)
        ]
        if not allowed:
            return
        trouble, lasts = chance.choice(allowed), chance.random()
        least, most = trouble.lasts
        lasts = least + lasts * (most - least)
        self._say(f"{trouble.name} for {lasts:.1f} s")
        self._result.faults[trouble.name] += 1
        if trouble.loses:
            self._watch.forget_store()
        self._active.append(Fault(trouble.name, now + lasts, trouble.begin()))

    def _end(self, fault: Fault) -> None:
        fault.end()
        self._say(f"end of {fault.name}")
        self._active.remove(fault)
        if any(each.loses and each.name == fault.name for each in self._place.troubles):
            self._watch.forget_store()

    def _say(self, what: str) -> None:
        if self._verbose:
            print(f"  {time.monotonic() - self._begun:7.2f} {what}", flush=True)

    def _settle(self) -> None:
        """All must be closed and connected soon, once everything is well."""
        end = time.monotonic() + _SETTLE
        self._wait(1.0)
        while not self._watch.is_settled() and time.monotonic() < end:
            self._look()
        if not self._watch.is_settled():
            self._broke(
                f"not all are closed {_SETTLE:g} s after the last fault: {self._watch.states()}"
            )
        self._wait(1.0)

    def _finish(self) -> None:
        told = self._pool.end_all()
        self._callee.read()
        result, watch = self._result, self._watch
        for news in told:
            result.calls += news.good + news.wasted + news.refused
            if news.in_flight:
                self._broke(f"{news.name} has {news.in_flight} calls in flight that have ended")
            if news.garbage:
                self._broke(f"{news.name} has found {news.garbage} texts of no sense")
        watch.judge_last(told)
        result.broken += self._pool.broken
        result.broken += watch.judge_probes(self._callee.probes, self._begun)
        result.notes = watch.notes(self._callee.probes)


def _nothing() -> None:
    """End what has ended by itself."""


def report(engine: str, seconds: float, seed: int, only: str, verbose: bool) -> bool:
    """Run, and print what broke; return whether nothing did."""
    from benchmarks.fleet_chaos.figures import load

    found = run(engine, seconds, seed, only=only, verbose=verbose)
    faults = ", ".join(f"{number} {name}" for name, number in sorted(found.faults.items()))
    print(f"{engine}: {seconds:g} s, seed {seed}: {found.calls} calls; {load()}")
    print(f"  faults: {faults}")
    for note in found.notes:
        print(f"  {note}")
    for what in found.broken:
        print(f"  broken, seed {seed}: {what}")
    print("  nothing broke" if not found.broken else f"  {len(found.broken)} broke", flush=True)
    return not found.broken
