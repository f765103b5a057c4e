"""The store fails, loses its data, or is cut off from half of the workers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from statistics import fmean
from typing import Protocol

from benchmarks.closed_loop.simulator import World
from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock, Contender
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
from benchmarks.fleet.loops import scenario
from benchmarks.fleet.network import Network
from benchmarks.fleet.traffic import Fate, Traffic, dying, healthy
from benchmarks.fleet.workers import ALONE, FLEET, ONE, Worker, contenders, faults
from recloser import State

# What is wrong with the callee, and with the store from `FROM` to `TO`.
PHASES = ("well", "dead", "recovers", "overloaded")
TROUBLES = ("none", "fails", "half cut off", "flushed", "flushed, a new worker")
FROM, TO = 150.0, 180.0
# A dead callee is dead from 120 s to that time; in `recovers`, in the midst of the trouble.
_DEAD_UNTIL = {"dead": 240.0, "recovers": 165.0}
_OVER = 300.0
_FAILING = 0.01
_CROWD = "flash crowd 2x"
# States are compared so often; they agree once they have done so for so many looks.
_EVERY, _LOOKS = 0.05, 20
# Seconds within which states must agree; points of % that trouble may cost next to workers alone.
_AGREE, _LOST = 2.0, 2.0


class _World(Protocol):
    def schedule(self, at: float, handler: Callable[[object], None], argument: object) -> None: ...


def cases(options: Options) -> list[Case]:
    found: list[Case] = []
    for phase in PHASES:
        for number in options.workers:
            made = {"part": "trouble", "workers": number}
            found += [
                Case(what=f"{phase}, none", entrant=each, **made)  # type: ignore[arg-type]
                for each in (ONE, ALONE)
            ]
            found += [Case(what=f"{phase}, {each}", **made) for each in TROUBLES]  # type: ignore[arg-type]
    return found


def play(case: Case, seed: int) -> Figures:
    phase, _, trouble = case.what.partition(", ")
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    watch = Watch(everyone)
    if phase == "overloaded":
        story = scenario(_CROWD, len(everyone))
        competing: list[Contender] = [*everyone]
        world = World(story, competing, clock, seed)
        _plan(world, network, everyone, competing, trouble, watch, clock, seed)
        played = world.run()
        calls = [
            good
            for at, good in zip(played.starts, played.good, strict=True)
            if story.warm_up <= at < story.over
        ]
        figures = {"answered": 100.0 * sum(calls) / max(len(calls), 1), "wasted": 0.0}
    else:
        traffic = Traffic(clock, everyone, case.rate, _OVER, _service(phase), seed)
        _plan(traffic, network, everyone, None, trouble, watch, clock, seed)
        record = traffic.run()
        figures = {"answered": record.answered(120.0, _OVER), "wasted": record.wasted()}
    return {
        **figures,
        "agree": watch.agreed_after(TO if trouble in ("fails", "half cut off") else FROM),
        "apart": watch.apart,
        "opened": sum(len(each.openings) for each in everyone),
        "shrunk": network.data.shrunk,
        "faults": faults(everyone),
    }


def _service(phase: str) -> Callable[[Random, float, int], Fate]:
    if phase == "well":
        return lambda random, now, worker: healthy(random, _FAILING)
    return dying(120.0, _DEAD_UNTIL[phase], 0.02, _FAILING)


class Watch:
    """Whether the states of all workers agree, looked at now and then.

    Args:
        everyone: The workers; they may be replaced.
    """

    def __init__(self, everyone: list[Recloser]) -> None:
        self._everyone = everyone
        self._seen: list[tuple[float, bool]] = []

    def look(self, now: float) -> None:
        """Look at all workers."""
        kinds = {_kind(each.breaker.state) for each in self._everyone}
        self._seen.append((now, len(kinds) == 1))

    def agreed_after(self, start: float) -> float:
        """Seconds until they agreed for a while; infinite if they never did."""
        since, run = inf, 0
        for at, agree in self._seen:
            if at < start:
                continue
            run = run + 1 if agree else 0
            since = at if run == 1 else since
            if run >= _LOOKS:
                return max(since - start, 0.0)
        return inf

    @property
    def apart(self) -> float:
        """The % of the looks from the end of the trouble on, and 2 s more, in which they did not."""
        looks = [not agree for at, agree in self._seen if at >= TO + _AGREE]
        return 100.0 * fmean(looks) if looks else 0.0


def _kind(state: State) -> State:
    # While some send probes, the others are open: that is one opinion.
    return State.OPEN if state is State.HALF_OPEN else state


def _plan(
    world: _World,
    network: Network,
    everyone: list[Recloser],
    competing: list[Contender] | None,
    trouble: str,
    watch: Watch,
    clock: Clock,
    seed: int,
) -> None:
    network.schedule = world.schedule

    def at(time: float, action: Callable[[], object]) -> None:
        def do(_: object) -> None:
            action()

        world.schedule(time, do, None)

    def look(_: object) -> None:
        watch.look(clock.now)
        if clock.now + _EVERY < _OVER:
            world.schedule(clock.now + _EVERY, look, None)

    def newcomer() -> None:
        number = len(everyone)
        each = Worker(clock, network, number, 1_000_000 * seed + 900_000)
        gone, everyone[0] = everyone[0], each
        if competing is not None:
            competing[0] = each
        if isinstance(gone, Worker):
            gone.die()

    look_from = FROM - 10.0
    world.schedule(look_from, look, None)
    if trouble in ("fails", "half cut off"):
        cut = range(len(everyone) if trouble == "fails" else len(everyone) // 2)
        at(FROM, lambda: network.cut.update(cut))
        at(TO, network.cut.clear)
    elif trouble.startswith("flushed"):
        if "new" in trouble:
            at(FROM - 0.001, newcomer)
        at(FROM, network.data.flush)


def report(results: Results) -> Section:
    head = ["callee", "store", "workers", "answered, %", "wasted", "agree after, s"]
    head += ["apart later, %", "openings", "epochs that shrank", "faults"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        phase, _, trouble = case.what.partition(", ")
        is_fleet = case.entrant == FLEET
        rows.append(
            [
                phase,
                trouble if is_fleet else "",
                "1" if case.entrant == ONE else f"{case.workers} {case.entrant}",
                spread(runs, "answered", 1),
                spread(runs, "wasted"),
                spread(runs, "agree", 2) if is_fleet else "",
                f"{mean(runs, 'apart'):.1f}" if is_fleet else "",
                f"{mean(runs, 'opened'):.1f}",
                f"{most(runs, 'shrunk'):.0f}" if is_fleet else "",
                f"{most(runs, 'faults'):.0f}" if is_fleet else "",
            ]
        )
        if is_fleet:
            _judge(section, case, phase, trouble, runs, results)
    return section


def _judge(
    section: Section,
    case: Case,
    phase: str,
    trouble: str,
    runs: list[Figures],
    results: Results,
) -> None:
    name = f"{phase}, store: {trouble}, {case.workers} workers"
    if trouble != "none":
        section.at_most(f"{name}: agree after", _AGREE, most(runs, "agree"), " s")
    section.at_most(f"{name}: epochs that shrank", 0.0, most(runs, "shrunk"))
    section.at_most(f"{name}: faults of our own", 0.0, most(runs, "faults"))
    alone = results.get(
        Case(part="trouble", what=f"{phase}, none", entrant=ALONE, workers=case.workers)
    )
    if alone is not None:
        wanted = round(mean(alone, "answered") - _LOST, 1)
        section.at_least(f"{name}: next to alone", wanted, mean(runs, "answered"), " %")
        if phase == "well":
            measured = mean(runs, "opened")
            section.at_most(f"{name}: openings", mean(alone, "opened"), measured)


PART = Part(
    "trouble",
    "A store that fails",
    "The callee is well but for 1 %; or dead from 120 s to 240 s; or dead from 120 s to 165 s; or "
    "overloaded from 120 s to 240 s, as in `flash crowd 2x`. From 150 s to 180 s the store fails, or is "
    "cut off from half of the workers; or it loses all its data at 150 s, also with one worker "
    "replaced at that moment. *Agree* means that the states of all workers have been the same for "
    "1 s; open and half-open count as one. *Answered* is of the calls from 120 s on.",
    cases,
    play,
    report,
)
