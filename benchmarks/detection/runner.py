"""Runs entrants through scenarios and traces, in several processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

from benchmarks.detection import traces
from benchmarks.detection.entrants import Entrant, entrants
from benchmarks.detection.progress import progress
from benchmarks.detection.scenarios import Scenario, scenarios
from benchmarks.detection.scores import Score, score
from benchmarks.detection.simulator import Clock, simulate

Scores = dict[tuple[str, str], Score]
"""(scenario, entrant) -> score."""
TraceScores = dict[tuple[str, str], tuple[bool, traces.TraceScore]]
"""(series, entrant) -> (whether its rows are samples instead of requests, score)."""

_Job = tuple[str, int, list[str]]


def quiet() -> None:
    """Log no openings in a process of a benchmark."""
    # Each opening logs a warning. Here openings are only counted.
    logging.getLogger("recloser").setLevel(logging.CRITICAL)


def _named(names: list[str]) -> list[Entrant]:
    return [entrant for entrant in entrants()[0] if entrant.name in names]


def _play(job: _Job) -> list[tuple[str, str, Score]]:
    name, seed, names = job
    scenario = next(s for s in scenarios() if s.name == name)
    world = scenario.world(seed)
    played: list[tuple[str, str, Score]] = []
    for entrant in _named(names):
        clock = Clock()
        run = simulate(world, entrant.make(clock, world.median, seed), clock)
        played.append((name, entrant.name, score(world, run)))
    return played


def play(stories: list[Scenario], names: list[str], *, repeats: int, processes: int) -> Scores:
    """Run every named entrant through every scenario, at most `repeats` times."""
    jobs: list[_Job] = [
        (story.name, seed, names)
        for story in stories
        for seed in range(1, min(story.repeats, repeats) + 1)
    ]
    total: Scores = {}
    with Pool(processes, quiet) as pool:
        for played in progress(pool.imap_unordered(_play, jobs), len(jobs), "scenarios"):
            for story, name, result in played:
                total.setdefault((story, name), Score()).add(result)
    return total


def _replay(job: tuple[Path, int, list[str]]) -> list[tuple[str, str, bool, traces.TraceScore]]:
    directory, number, names = job
    series = _nth(traces.load(directory), number)
    return [
        (series.name, entrant.name, series.sampled, traces.replay(series, entrant))
        for entrant in _named(names)
    ]


def _nth(series: Iterator[traces.Series], number: int) -> traces.Series:
    for index, one in enumerate(series):
        if index == number:
            return one
    raise IndexError(number)


def replay(directory: Path, names: list[str], *, processes: int) -> TraceScores:
    """Replay every series of a directory to every named entrant.

    Raises:
        TraceError: A file is not a trace. All files are read before the first one is replayed.
    """
    number = sum(1 for _ in traces.load(directory))
    jobs = [(directory, index, names) for index in range(number)]
    total: TraceScores = {}
    with Pool(processes, quiet) as pool:
        for played in progress(pool.imap_unordered(_replay, jobs), number, "traces"):
            for series, name, sampled, result in played:
                total[series, name] = sampled, result
    return total
