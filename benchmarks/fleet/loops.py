"""The scenarios of `benchmarks.closed_loop`, in which what is let through slows the callee down."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.closed_loop.scenarios import Scenario, scenarios
from benchmarks.closed_loop.scores import score
from benchmarks.closed_loop.simulator import World
from benchmarks.detection.simulator import Clock, Contender
from benchmarks.fleet.cases import Case, Figures, Options, Part, Results, Section, mean, spread
from benchmarks.fleet.network import Network
from benchmarks.fleet.workers import ALONE, FLEET, ONE, contenders, faults

# Points of % that a fleet may lose to the better of one worker and of workers alone.
_LOST = 2.0
# Threads of all workers together, in the scenarios with threads.
_THREADS = 64


def cases(options: Options) -> list[Case]:
    return [
        Case(part="closed_loop", what=story.name, entrant=entrant, workers=workers)
        for story in scenarios()
        for entrant, workers in (
            (ONE, 1),
            *((entrant, number) for number in options.workers for entrant in (ALONE, FLEET)),
        )
    ]


def scenario(name: str, workers: int) -> Scenario:
    """A scenario by its name, with another number of workers."""
    found = next(each for each in scenarios() if each.name == name)
    threads = max(_THREADS // workers, 1) if found.threads else 0
    return replace(found, workers=workers, threads=threads)


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    story = scenario(case.what, len(everyone))
    competing: list[Contender] = [*everyone]
    world = World(story, competing, clock, seed)
    network.schedule = world.schedule
    result = score(story, world.run(), competing)
    return {
        "answered": result.answered,
        "changes": result.changes,
        "recovery": result.recovery,
        "operations": network.data.total / case.workers / story.end,
        "shrunk": network.data.shrunk,
        "faults": faults(everyone),
    }


def report(results: Results) -> Section:
    numbers = sorted({case.workers for case in results if case.entrant == FLEET})
    head = ["scenario", "one"]
    for number in numbers:
        head += [f"{number} alone", f"{number} as a fleet", "changes/min", "recovery, s"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for name in dict.fromkeys(case.what for case in results):
        found = {(c.entrant, c.workers): runs for c, runs in results.items() if c.what == name}
        one = found.get((ONE, 1))
        row = [name, spread(one, "answered", 1) if one else ""]
        for number in numbers:
            alone, fleet = found.get((ALONE, number)), found.get((FLEET, number))
            row.append(spread(alone, "answered", 1) if alone else "")
            row += (
                [
                    spread(fleet, "answered", 1),
                    f"{mean(fleet, 'changes'):.1f}",
                    spread(fleet, "recovery"),
                ]
                if fleet
                else ["", "", ""]
            )
            if fleet and (one or alone):
                best = max(mean(runs, "answered") for runs in (one, alone) if runs)
                wanted = round(best - _LOST, 1)
                section.at_least(f"{name}, {number} workers", wanted, mean(fleet, "answered"), " %")
                wrong = sum(run["faults"] + run["shrunk"] for run in fleet)
                if wrong:
                    section.at_most(f"{name}, {number} workers: faults, epochs", 0.0, wrong)
        rows.append(row)
    return section


PART = Part(
    "closed_loop",
    "A callee that its calls slow down",
    "The scenarios of `python -m benchmarks.closed_loop`, with the calls of each shared by the "
    "stated number of workers. Figures are the % of the users who came during the trigger and were answered.",
    cases,
    play,
    report,
)
