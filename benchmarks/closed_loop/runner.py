"""Runs entrants through scenarios, in several processes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import exp
from multiprocessing import Pool

from benchmarks.closed_loop.entrants import CUT, Entrant, entrants
from benchmarks.closed_loop.scenarios import Scenario, scenarios
from benchmarks.closed_loop.scores import Score, score
from benchmarks.closed_loop.simulator import SIGMA, World
from benchmarks.detection.progress import progress
from benchmarks.detection.simulator import Clock

Scores = dict[tuple[str, str], list[Score]]
"""(scenario, entrant) -> the score of each seed."""


@dataclass(frozen=True, slots=True)
class _Job:
    """All runs of one scenario with one seed."""

    scenario: str
    seed: int
    names: tuple[str, ...]
    workers: tuple[int, ...]


def quiet() -> None:
    """Do not log the warnings of openings: here they are only counted."""
    logging.getLogger("recloser").setLevel(logging.CRITICAL)


def play(scenario: Scenario, entrant: Entrant, seed: int) -> Score:
    """Run one entrant through one scenario."""
    clock = Clock()
    median = scenario.mean * exp(-SIGMA * SIGMA / 2)
    contenders = [
        entrant.make(clock, median, 1_000 * seed + number) for number in range(scenario.workers)
    ]
    world = World(scenario, contenders, clock, seed, cut=entrant.cut)
    return score(scenario, world.run(), contenders)


def _play(job: _Job) -> list[tuple[str, str, Score]]:
    scenario = next(each for each in scenarios(job.workers) if each.name == job.scenario)
    return [
        (scenario.name, entrant.name, play(scenario, entrant, job.seed))
        for entrant in entrants()
        if entrant.name in job.names
    ]


def run(
    stories: list[Scenario],
    names: list[str],
    *,
    seeds: int,
    processes: int,
    workers: tuple[int, ...] = (1,),
    quick: bool = False,
) -> Scores:
    """Run every named entrant through every scenario with every seed.

    A quick run cuts calls off only where some of them hang.
    """
    jobs = [
        _Job(story.name, seed, tuple(_playing(story, names, quick=quick)), workers)
        for story in stories
        for seed in range(1, seeds + 1)
    ]
    total: Scores = {}
    if processes == 1:
        for job in progress(jobs, len(jobs), "scenarios"):
            _add(total, _play(job))
        return total
    with Pool(processes, quiet) as pool:
        for played in progress(pool.imap_unordered(_play, jobs), len(jobs), "scenarios"):
            _add(total, played)
    return total


def _playing(story: Scenario, names: list[str], *, quick: bool) -> list[str]:
    hangs = story.fault is not None and story.fault.kind == "hang"
    return [name for name in names if name != CUT or hangs or not quick]


def _add(total: Scores, played: list[tuple[str, str, Score]]) -> None:
    for scenario, name, result in played:
        total.setdefault((scenario, name), []).append(result)
