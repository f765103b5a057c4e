"""The same faults for recloser and for interlock-cb with its store in Redis, side by side.

Both are measured in the same way: from what workers report each 50 ms, and from what the callee sees.
interlock-cb has no states or faults of a kind that `invariants` knows, so figures are printed, and no
goal is judged.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.fleet_chaos import upstream
from benchmarks.fleet_chaos.chaos import Play
from benchmarks.fleet_chaos.figures import load, percentile
from benchmarks.fleet_chaos.invariants import Invariants, most
from benchmarks.fleet_chaos.pool import Pool, Worker
from benchmarks.fleet_chaos.stores import Place, started
from benchmarks.fleet_chaos.upstream import WELL, Upstream
from benchmarks.fleet_chaos.worker import KEY, Caller, News

LATE = 0.1  # seconds beyond the callee's time
_FRESH = 0.5  # seconds; what a worker told before that is not its state
_WAIT = 1.0  # seconds that interlock-cb's breaker stays open: outages here take 0.3-4 s


def unfit(engine: str) -> str:
    """Why this engine cannot be compared; "" if it can."""
    if engine == "sqlite":
        return "--peer: interlock-cb has no store in a file; write --engines redis-server"
    missing = [name for name in ("interlock", "redis") if find_spec(name) is None]
    return "--peer: pip install 'interlock-cb[redis]'" if missing else ""


# Workers


class Metered(Caller):
    """Tells of calls that took long beside the callee, and of errors that are not the callee's."""

    _at_callee = 0.0

    def call(self) -> None:
        """One call, if it is admitted."""
        self._at_callee, begun = 0.0, time.monotonic()
        try:
            self.guarded()
        except Exception as error:
            if self._pipe is None or os.getpid() != self._owner:
                raise
            self._pipe.send((begun, "error", repr(error)))
        ended = time.monotonic()
        if ended - begun - self._at_callee > LATE and self._pipe and os.getpid() == self._owner:
            self._pipe.send((begun, "late", str(ended - begun - self._at_callee)))

    def guarded(self) -> None:
        """The call with its breaker."""
        super().call()

    def ask(self, is_probe: bool) -> bool:
        """Call the callee; return whether it has answered well."""
        begun = time.monotonic()
        try:
            return super().ask(is_probe)
        finally:
            self._at_callee = time.monotonic() - begun


class _CalleeError(Exception):
    """The callee has failed."""


class Interlock(Metered):
    """Makes its calls through interlock-cb."""

    def begin(self) -> None:
        """Make the breaker, for outages of seconds: its defaults wait for 60 s."""
        interlock: Any = import_module("interlock")
        storage: Any = import_module("interlock.integrations.redis")
        redis: Any = import_module("redis")
        self._refusal: Any = interlock.CircuitOpenError
        self._half_open = interlock.State.HALF_OPEN
        client = redis.Redis.from_url(
            self.setup.store, socket_timeout=0.2, socket_connect_timeout=0.2
        )
        self._interlock: Any = interlock.CircuitBreaker(
            name=KEY,
            config=interlock.Config(
                minimum_number_of_calls=5,
                window_size=20,
                permitted_calls_in_half_open=3,
                wait_duration_in_open=_WAIT,
            ),
            storage=storage.RedisStorage(
                client, state_ttl=10.0, poll_interval=0.1, retry_backoff=0.5, retry_jitter=0.2
            ),
        )

    def guarded(self) -> None:
        """The call with its breaker."""
        try:
            self._interlock.call_sync(self._ask_or_raise)
        except self._refusal:
            self.refused += 1
        except _CalleeError:
            self.wasted += 1
        else:
            self.good += 1

    def _ask_or_raise(self) -> None:
        if not self.ask(self._interlock.state is self._half_open):
            raise _CalleeError

    def probe(self) -> tuple[str, int]:
        """Its breaker does not tell whose probe it is."""
        return "f", 1

    def end_child(self) -> int:
        """Nothing: its thread is not in a forked child."""
        return 0

    def news(self) -> News:
        """What it knows."""
        state = self._interlock.state.value.replace("_", "-")
        made = self.good, self.wasted, self.refused
        return News(
            time.monotonic(), str(self.setup.number), state, False, True, False, *made,
            0, 0, "", 0, 0, 0.0, 0, "",
        )  # fmt: skip


# What is seen


@dataclass
class Figures:
    """What came of one run.

    Attributes:
        calls: Calls of all workers that were made or refused.
        errors: What reached a call and was neither a refusal nor the callee's.
        late: Seconds beyond the callee's time, of calls for which it was more than `LATE`.
        wasted: Calls that failed.
        refused_well: Calls refused while the callee was well.
        well: Seconds in which the callee was well.
        probes: The most probes at the callee at a time.
        agreed: Seconds from the first closing to all closed.
        interrupted: Closings after which one opened again before all were closed.
        closed_at_last: Whether all were closed in the end.
        left: The states, if not.
    """

    calls: int = 0
    errors: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    wasted: int = 0
    refused_well: int = 0
    well: float = 0.0
    probes: int = 0
    agreed: list[float] = field(default_factory=list)
    interrupted: int = 0
    closed_at_last: bool = False
    left: list[str] = field(default_factory=list)


class _Pool(Pool):
    """Keeps what workers tell of calls, also of those that are killed later."""

    def __init__(self, place: Place, path: str, make: type[Caller]) -> None:
        self.told: list[tuple[int, float, str, str]] = []
        super().__init__(place, upstream=path, make=make)

    def note(self, worker: Worker, told: tuple[float, str, str]) -> None:
        """Take it over."""
        if told[1] in ("error", "late"):
            self.told.append((worker.number, *told))


class _Watch(Invariants):
    """Figures from what the workers report."""

    def __init__(self, pool: _Pool, place: Place, callee: Upstream) -> None:
        super().__init__(pool, place, lambda what: None)
        self._callee, self.figures = callee, Figures()
        self._counts: dict[tuple[int, float], tuple[int, int, int]] = {}
        self._states: dict[int, str] = {}
        self._closing: float | None = None
        self._last = time.monotonic()

    def judge(self, has_faults: bool, now: float) -> None:
        """Look at what the workers told last."""
        figures, is_well = self.figures, self._callee.mode == WELL
        figures.well += (now - self._last) * is_well
        self._last = now
        fresh: dict[int, str] = {}
        for worker in self._pool.workers:
            news = worker.news
            if news is None:
                continue
            which = worker.number, worker.started
            counts = news.good, news.wasted, news.refused
            before = self._counts.get(which, (0, 0, 0))
            self._counts[which] = counts
            figures.calls += sum(counts) - sum(before)
            figures.wasted += counts[1] - before[1]
            figures.refused_well += (counts[2] - before[2]) * is_well
            if now - news.at < _FRESH:
                fresh[worker.number] = news.state
        self._see_closing(fresh, now)

    def _see_closing(self, fresh: dict[int, str], now: float) -> None:
        changes = [(self._states.get(which), state) for which, state in fresh.items()]
        self._states.update(fresh)
        if self._closing is None:
            if any(old not in (None, "closed") and new == "closed" for old, new in changes):
                self._closing = now
        elif any(old == "closed" and new != "closed" for old, new in changes):
            self.figures.interrupted += 1
            self._closing = None
        if self._closing is not None and set(fresh.values()) <= {"closed"}:
            self.figures.agreed.append(now - self._closing)
            self._closing = None

    def read_store(self) -> None:
        """Nothing: each library has facts of its own."""

    def is_settled(self) -> bool:
        """Whether all are closed."""
        news = [worker.news for worker in self._pool.workers]
        self.figures.closed_at_last = all(each and each.state == "closed" for each in news)
        return self.figures.closed_at_last

    def sum_up(self, pool: _Pool) -> Figures:
        """Take over what was seen of single calls."""
        figures = self.figures
        for number, begun, what, said in pool.told:
            if what == "error":
                figures.errors.append(said)
            elif not self.was_gone_in(number, begun, begun + LATE + float(said)):
                figures.late.append(float(said))
        figures.errors += pool.broken
        seen = [each for each in self._callee.probes if not self.was_gone(each)]
        figures.probes = most(seen)
        return figures


class _Play(Play):
    def watch(self) -> Invariants:
        """Make the object that measures the fleet while faults happen."""
        assert isinstance(self._pool, _Pool)
        self.seen = _Watch(self._pool, self._place, self._callee)
        return self.seen


def run(engine: str, seconds: float, seed: int, make: type[Caller], only: str = "") -> Figures:
    """Run a fleet of 8 workers under the faults of `chaos`.

    Args:
        engine: The store.
        seconds: How long faults happen.
        seed: Chooses them.
        make: Makes the calls: `Metered` for recloser, `Interlock`.
        only: If given, faults whose name has that text, beside those of the callee.
    """
    with (
        started(engine, partitions=True) as place,
        upstream.running() as callee,
        closing(_Pool(place, callee.path, make)) as pool,
    ):
        play = _Play(place, callee, pool, seed, only, False)
        broken = play.run(seconds).broken
        figures = play.seen.sum_up(pool)
        figures.left = [what for what in broken if "not all are closed" in what]
        return figures


def report(engine: str, seconds: float, seed: int, only: str) -> None:
    """Run both, one after the other, and print a table."""
    ours = run(engine, seconds, seed, Metered, only)
    theirs = run(engine, seconds, seed, Interlock, only)
    print(f"{engine}: {seconds:g} s, seed {seed}; {load()}\n")
    print("| | recloser | interlock-cb |\n|---|---|---|")
    for (title, one), (_, other) in zip(_rows(ours), _rows(theirs), strict=True):
        print(f"| {title} | {one} | {other} |")
    for name, found in (("recloser", ours), ("interlock-cb", theirs)):
        for what in [*found.errors[:5], *found.left]:
            print(f"  {name}: {what[-600:]}")
    print(flush=True)


def _rows(found: Figures) -> list[tuple[str, str]]:
    agreed = found.agreed
    spread = f"{percentile(agreed, 0.5):.2f}, {max(agreed):.2f} s" if agreed else "-"
    late = f"{len(found.late)} ({max(found.late, default=0.0):.2f} s)"
    return [
        ("calls, made or refused", str(found.calls)),
        ("errors that reached a call, not refusals, not the callee's", str(len(found.errors))),
        (f"calls that took {LATE:g} s more than the callee (the longest)", late),
        ("calls that failed at the callee", str(found.wasted)),
        ("probes at the callee at a time, at most", str(found.probes)),
        ("from the first closing to all closed: median, longest", spread),
        ("of so many closings (and so many with an opening in between)",
         f"{len(agreed)} ({found.interrupted})"),
        ("calls refused while the callee was well", str(found.refused_well)),
        ("seconds in which the callee was well", f"{found.well:.0f}"),
        ("all closed within 30 s of the last fault", "yes" if found.closed_at_last else "no"),
    ]  # fmt: skip
