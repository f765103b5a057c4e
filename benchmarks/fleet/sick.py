"""One worker that is sick, or whose network is, among others that are well."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.detection.simulator import Clock, Ending
from benchmarks.fleet.cases import Case, Figures, Options, Part, Results, Section, mean, spread
from benchmarks.fleet.network import Network
from benchmarks.fleet.traffic import Fate, Service, Traffic, healthy
from benchmarks.fleet.workers import ALONE, FLEET, ONE, contenders, faults

START, END, OVER = 120.0, 240.0, 270.0
_TOOK = 0.02

# How many workers are sick (a part of all workers, if it is below 1), the share of failures of the
# others, and how much slower the sick one is: 0.0 if all its calls fail.
SICK: dict[str, tuple[float, float, float]] = {
    "one sees only failures": (1, 0.0, 0.0),
    "one sees only failures, the others 5 %": (1, 0.05, 0.0),
    "two see only failures": (2, 0.0, 0.0),
    "5 of 8 see only failures": (0.625, 0.0, 0.0),
    "11 of 16 see only failures": (0.6875, 0.0, 0.0),
    "one is 10 x slower": (1, 0.0, 10.0),
}


def cases(options: Options) -> list[Case]:
    return [
        Case(part="sick", what=what, entrant=entrant, workers=number)
        for what in SICK
        for number in options.workers
        for entrant in (ONE, ALONE, FLEET)
    ]


def _sick(what: str, workers: int) -> int:
    number = SICK[what][0]
    return round(number if number >= 1 else number * workers)


def service(what: str, workers: int) -> Service:
    """How calls end, if the first workers are sick."""
    (_, failing, slower), sick = SICK[what], _sick(what, workers)

    def fate(random: Random, now: float, worker: int) -> Fate:
        took, ending, _ = healthy(random, failing)
        if not START <= now < END or worker >= sick:
            return took, ending, False
        return (took * slower, ending, True) if slower else (_TOOK, Ending.FAILED, True)

    return fate


def _of_one(what: str, workers: int) -> Service:
    """The same for one worker that has all the traffic: the calls of the sick are among its own."""
    many = service(what, workers)

    def fate(random: Random, now: float, worker: int) -> Fate:
        return many(random, now, int(random.random() * workers))

    return fate


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    sick = _sick(case.what, case.workers)
    is_one = case.entrant == ONE
    fate = _of_one(case.what, case.workers) if is_one else service(case.what, case.workers)
    traffic = Traffic(clock, everyone, case.rate, OVER, fate, seed)
    network.schedule = traffic.schedule
    record = traffic.run()
    well: Callable[[int], bool] = lambda place: is_one or place >= sick  # noqa: E731
    return {
        "answered": record.answered(START, END),
        "answered by the well": record.answered(START, END, well),
        "refused by the well": record.refused(START, END, well),
        "refused by the sick": record.refused(START, END, lambda place: place < sick),
        "wasted": record.wasted(START, END),
        "openings of the well": sum(
            START <= at < END
            for place, each in enumerate(everyone)
            if well(place)
            for at in each.openings
        ),
        "faults": faults(everyone),
    }


def report(results: Results) -> Section:
    head = ["", "workers", "answered, %", "answered by the well, %", "refused by the well, %"]
    head += ["refused by the sick, %", "bad calls", "openings of the well"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        rows.append(
            [
                case.what,
                f"{case.workers} {case.entrant}" if case.entrant != ONE else "1",
                spread(runs, "answered", 1),
                "" if case.entrant == ONE else spread(runs, "answered by the well", 1),
                "" if case.entrant == ONE else spread(runs, "refused by the well", 1),
                spread(runs, "refused by the sick", 1),
                spread(runs, "wasted"),
                f"{mean(runs, 'openings of the well'):.1f}",
            ]
        )
        if case.entrant == FLEET:
            _judge(section, case, runs, results)
    return section


def _judge(section: Section, case: Case, runs: list[Figures], results: Results) -> None:
    name = f"{case.what}, {case.workers} workers"
    alone = results.get(
        Case(part=case.part, what=case.what, entrant=ALONE, workers=case.workers, rate=case.rate)
    )
    if alone is not None:
        wanted = round(mean(alone, "answered") - 2.0, 1)
        section.at_least(f"{name}: answered, next to alone", wanted, mean(runs, "answered"), " %")
        wanted = mean(alone, "refused by the well") + 0.5
        measured = mean(runs, "refused by the well")
        section.at_most(f"{name}: refused by the well", wanted, measured, " %")
        allowed = mean(alone, "openings of the well")
        measured = mean(runs, "openings of the well")
        section.at_most(f"{name}: openings of the well", allowed, measured)
        wanted = mean(alone, "refused by the sick") - 5.0
        measured = mean(runs, "refused by the sick")
        section.at_least(f"{name}: refused by the sick", round(wanted, 1), measured, " %")
    section.at_most(f"{name}: faults of our own", 0.0, sum(run["faults"] for run in runs))


PART = Part(
    "sick",
    "A worker that is sick",
    "For 120 s some workers see only failures, as if their network were broken, or are ten times "
    "slower; the others see a callee that is well, or of which 5 % fail. Next to a fleet: the same "
    "workers alone, and one worker that has all the traffic.",
    cases,
    play,
    report,
)
