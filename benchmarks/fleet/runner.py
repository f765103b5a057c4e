"""Plays cases, in several processes."""

from __future__ import annotations

from multiprocessing import Pool

from benchmarks.closed_loop.runner import quiet
from benchmarks.detection.progress import progress
from benchmarks.fleet.cases import Case, Figures, Part, Results
from benchmarks.fleet.parts import PARTS

_Job = tuple[Case, int]


def _play(job: _Job) -> tuple[Case, int, Figures]:
    case, seed = job
    return case, seed, PARTS[case.part].play(case, seed)


def run(part: Part, cases: list[Case], *, seeds: int, processes: int) -> Results:
    """Play each case with each seed; the results are in the order of the cases and seeds."""
    jobs: list[_Job] = [(case, seed) for case in cases for seed in range(1, seeds + 1)]
    found: dict[_Job, Figures] = {}
    if processes == 1:
        quiet()
        for job in progress(jobs, len(jobs), part.name):
            found[job] = _play(job)[2]
    else:
        with Pool(processes, quiet) as pool:
            played = pool.imap_unordered(_play, jobs)
            for case, seed, figures in progress(played, len(jobs), part.name):
                found[case, seed] = figures
    return {case: [found[case, seed] for seed in range(1, seeds + 1)] for case in cases}
