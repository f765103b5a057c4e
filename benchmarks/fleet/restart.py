"""All workers are replaced during normal traffic, or one new worker comes to old ones."""

from __future__ import annotations

from math import inf, isfinite
from random import Random
from statistics import fmean

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock
from benchmarks.fleet.cases import Case, Figures, Options, Part, Results, Section, mean, spread
from benchmarks.fleet.network import Network
from benchmarks.fleet.traffic import Fate, Traffic, healthy
from benchmarks.fleet.workers import ALONE, FLEET, Worker, contenders, faults
from recloser import Policy

START, OVER = 300.0, 360.0
# Share of the calls that fail now and then.
_FAILING = 0.01
# When it is looked at what new workers know, in seconds after the first one has begun.
LOOKS = (0.1, 1.0, 10.0, 60.0)
# Seconds between the replacements of two workers, and whether the old ones leave in good order.
HOW: dict[str, tuple[float, bool]] = {
    "all at once": (0.0, True),
    "all at once, killed": (0.0, False),
    "one after the other": (0.5, True),
    "one is new": (inf, True),
}
# By how much what is known may differ from before.
_NEAR = 0.05


def cases(options: Options) -> list[Case]:
    return [
        Case(part="restart", what=what, entrant=entrant, workers=number)
        for what in HOW
        for number in options.workers
        for entrant in (ALONE, FLEET)
    ]


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    gap, in_order = HOW[case.what]
    old, new = [*everyone], list[Recloser]()

    def fate(random: Random, now: float, worker: int) -> Fate:
        return healthy(random, _FAILING)

    traffic = Traffic(clock, everyone, case.rate, OVER, fate, seed)
    network.schedule = traffic.schedule

    def replace(place: int) -> None:
        number = case.workers + place
        jitter = 1_000_000 * seed + 500_000 + number
        each = (
            Worker(clock, network, number, jitter)
            if case.entrant == FLEET
            else Recloser(clock, Policy(), jitter)
        )
        gone, everyone[place] = everyone[place], each
        new.append(each)
        if isinstance(gone, Worker):
            gone.stop() if in_order else gone.die()

    figures: Figures = {}

    def note(name: str, of: list[Recloser]) -> None:
        # Beginning after the call that made it, a worker knows something from its first call on.
        figures.update({f"{key} {name}": value for key, value in known(of).items()})

    traffic.at(START - 0.001, lambda: note("before", everyone))
    places = range(case.workers) if isfinite(gap) else (0,)
    last = START + (gap if isfinite(gap) else 0.0) * (len(places) - 1)
    for place in places:
        at = START + (gap * place if isfinite(gap) else 0.0)
        traffic.at(at, lambda place=place: replace(place))  # type: ignore[misc]
    for seconds in LOOKS:
        traffic.at(min(last + seconds, OVER - 0.001), lambda s=seconds: note(f"{s:g}", new))  # type: ignore[misc]
    traffic.run()
    every = [*old, *new]
    figures["opened"] = sum(at >= START for each in every for at in each.openings)
    figures["early"] = sum(at < START for each in every for at in each.openings)
    figures["faults"] = faults(every)
    return figures


def known(everyone: list[Recloser]) -> Figures:
    """What workers know: the share that knows latency, and the averages of these."""
    metrics = [each.breaker.metrics() for each in everyone]
    sure = [
        each.breaker.metrics() for each in everyone if each.breaker._circuit.detector.baseline.known
    ]
    return {
        "share": 100.0 * len(sure) / max(len(metrics), 1),
        "threshold": fmean([each.slow_threshold for each in sure]) if sure else inf,
        "rate": fmean([each.normal_bad_rate for each in metrics]) if metrics else inf,
    }


def report(results: Results) -> Section:
    head = ["", "workers", "threshold before, s", "normal share before, %"]
    head += [f"know latency after {each:g} s, %" for each in LOOKS[:3]]
    head += ["threshold after 1 s, s", "normal share after 1 s, %", "after 10 s, %", "opened after"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        rows.append(
            [
                case.what,
                f"{case.workers} {case.entrant}",
                spread(runs, "threshold before", 3),
                f"{100 * mean(runs, 'rate before'):.2f}",
                *(f"{mean(runs, f'share {each:g}'):.0f}" for each in LOOKS[:3]),
                spread(runs, "threshold 1", 3),
                f"{100 * mean(runs, 'rate 1'):.2f}",
                f"{100 * mean(runs, 'rate 10'):.2f}",
                f"{mean(runs, 'opened'):.1f}",
            ]
        )
        if case.entrant != FLEET:
            continue
        name = f"{case.what}, {case.workers} workers"
        for what, text in (("threshold", "slow threshold"), ("rate", "normal share")):
            off = [abs(run[f"{what} 1"] / run[f"{what} before"] - 1.0) for run in runs]
            section.at_most(f"{name}: {text}, off by", 100 * _NEAR, 100 * fmean(off), " %")
        section.at_most(f"{name}: openings after", 0.0, mean(runs, "opened"))
        section.at_most(f"{name}: faults of our own", 0.0, mean(runs, "faults"))
    return section


PART = Part(
    "restart",
    "New workers",
    "After 300 s of normal traffic, of which 1 % fails, all workers are replaced at once, at once "
    "without a word to the store, or one each 0.5 s; or one is. What the new ones know is looked "
    "at some seconds after the last one has come, as stated. A worker knows latency if it has a slow "
    "threshold: alone, after 30 good calls of its own.",
    cases,
    play,
    report,
)
