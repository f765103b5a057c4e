"""A callee that dies for two minutes: what it costs until all know, how it is probed, and the return."""

from __future__ import annotations

from math import inf

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock
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
from benchmarks.fleet.network import Data, Network
from benchmarks.fleet.traffic import Traffic, dying
from benchmarks.fleet.workers import ALONE, FLEET, ONE, contenders, faults
from recloser import State

START, END, OVER = 120.0, 240.0, 300.0
# Seconds until a call of the dead callee ends.
TOOK = {"fails": 0.02, "hangs": 2.0}
# Probes are counted from so many seconds after the beginning of the outage on.
_SETTLED = 10.0
# How many times what one worker wastes may be wasted, by number of workers; points of % that may be
# lost after the recovery.
_WASTED, _LOST = {8: 1.5, 64: 2.0}, 2.0


def cases(options: Options) -> list[Case]:
    return [
        Case(part="outage", what=what, entrant=entrant, workers=workers, rate=rate)
        for what in TOOK
        for rate in (10.0, 120.0)
        for entrant, workers in (
            (ONE, 1),
            *((entrant, number) for number in options.workers for entrant in (ALONE, FLEET)),
        )
    ]


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    traffic = Traffic(clock, everyone, case.rate, OVER, dying(START, END, TOOK[case.what]), seed)
    network.schedule = traffic.schedule
    record = traffic.run()
    firsts = openings(everyone, START, END)
    return {
        "wasted": record.wasted(START, END),
        "first": min(firsts, default=inf) - START,
        "apart": max(firsts, default=inf) - min(firsts, default=0.0),
        "opened": 100.0 * len(firsts) / len(everyone),
        "probes": record.peak(START + _SETTLED, END),
        "tickets": tickets(network.data, START + _SETTLED, END),
        "served": record.answered(END, OVER),
        "early": sum(at < START for each in everyone for at in each.openings),
        "faults": faults(everyone),
    }


def openings(everyone: list[Recloser], start: float, end: float) -> list[float]:
    """When each worker opened first between two times; only of those that did."""
    found = [
        next((t.at for t in each.transitions if start <= t.at < end and t.after is State.OPEN), inf)
        for each in everyone
    ]
    return [at for at in found if at < inf]


def tickets(data: Data, start: float, end: float) -> float:
    """How many probes at a time were allowed at most between two times, by what the leader told."""
    told = [places for at, state, places in data.told if start <= at < end and state != "closed"]
    return max(told, default=inf)


def report(results: Results) -> Section:
    head = ["callee", "calls/s", "workers", "wasted", "opened, %", "first opening after, s"]
    head += ["last after the first, s", "probes at once", "served after, %", "opened before"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        rows.append(
            [
                case.what,
                f"{case.rate:g}",
                "1" if case.entrant == ONE else f"{case.workers} {case.entrant}",
                spread(runs, "wasted"),
                f"{mean(runs, 'opened'):.0f}",
                spread(runs, "first", 2),
                spread(runs, "apart", 3),
                spread(runs, "probes"),
                spread(runs, "served", 1),
                f"{mean(runs, 'early'):.1f}",
            ]
        )
        one = results.get(
            Case(part=case.part, what=case.what, entrant=ONE, workers=1, rate=case.rate)
        )
        if case.entrant == FLEET and one is not None:
            _judge(section, case, runs, one)
    return section


def _judge(section: Section, case: Case, runs: list[Figures], one: list[Figures]) -> None:
    name = f"{case.what}, {case.rate:g}/s, {case.workers} workers"
    times = _WASTED.get(case.workers, 2.0)
    wasted = mean(runs, "wasted") / max(mean(one, "wasted"), 1.0)
    section.at_most(f"{name}: wasted, next to one", times, wasted, " x")
    served = mean(one, "served") - _LOST
    section.at_least(f"{name}: served after", round(served, 2), mean(runs, "served"), " %")
    # A probe that hangs is judged before it ends, and the next one may follow. So one worker, which
    # has one ticket, may have several at a time.
    hanging = most(one, "probes")
    each = max(run["probes"] / run["tickets"] for run in runs)
    section.at_most(f"{name}: probes for each ticket", hanging, each)
    if case.workers <= 8:
        section.at_most(f"{name}: probes at once", hanging, most(runs, "probes"))
    section.at_most(
        f"{name}: openings before, next to one", mean(one, "early"), mean(runs, "early")
    )
    section.at_most(f"{name}: faults of our own", 0.0, most(runs, "faults"))


PART = Part(
    "outage",
    "A dead callee",
    "The callee is well for 120 s, dead for 120 s, and well for 60 s. While it is dead, calls fail "
    "after 20 ms, or hang until their client gives up after 2 s. *Wasted* are the calls that "
    "reach it meanwhile. *Probes at once* are the most calls in flight at it, from 10 s after its "
    "death on. *Served after* is the share of the calls of the last 60 s that are answered.",
    cases,
    play,
    report,
)
