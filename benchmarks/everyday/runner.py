"""Runs scenarios in several processes."""

from __future__ import annotations

import logging
from functools import cache
from multiprocessing import Pool

from benchmarks.detection.progress import progress
from benchmarks.everyday import beliefs, populations, steps, waits
from benchmarks.everyday.scenario import Result, Scenario

Results = dict[str, list[Result]]
"""Name of a scenario -> its results, of all variants and seeds."""
_Job = tuple[str, float, int]


@cache
def scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name, in the order of the report."""
    every = (
        *populations.scenarios(),
        *steps.scenarios(),
        *beliefs.scenarios(),
        *waits.scenarios(),
    )
    return {scenario.name: scenario for scenario in every}


def _quiet() -> None:
    # Each opening logs a warning. Here openings are only counted.
    logging.getLogger("recloser").setLevel(logging.CRITICAL)


def _run(job: _Job) -> tuple[str, Result]:
    name, variant, seed = job
    return name, scenarios()[name].play(variant, seed)


def run(chosen: list[Scenario], *, quick: bool, seeds: int, processes: int) -> Results:
    """Run all variants of the chosen scenarios with each seed."""
    jobs: list[_Job] = [
        (scenario.name, variant, seed)
        for scenario in chosen
        for variant in scenario.chosen(quick=quick)
        for seed in range(1, seeds + 1)
    ]
    found: Results = {scenario.name: [] for scenario in chosen if scenario.chosen(quick=quick)}
    if processes == 1:
        _quiet()
        for name, one in progress(map(_run, jobs), len(jobs), "runs"):
            found[name].append(one)
        return found
    with Pool(processes, _quiet) as pool:
        # In order, so that the report does not depend on which process was faster.
        for name, one in progress(pool.imap(_run, jobs), len(jobs), "runs"):
            found[name].append(one)
    return found
