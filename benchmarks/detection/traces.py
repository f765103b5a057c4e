"""Traces of real latencies, replayed request by request.

A directory holds `<series>.csv.gz` (or `.csv`) with the columns t_seconds, latency_ms and ok (0 or
1). Rows are sorted by time. A latency of 0 means that it was not measured. If faults are known, the
directory also holds `labels.json`: series -> [[t_start, t_end, kind], ...].
"""

from __future__ import annotations

import csv
import gzip
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from pathlib import Path
from statistics import median

from benchmarks.detection.entrants import Entrant
from benchmarks.detection.simulator import Clock, Ending, Fault, Run, World, simulate

_COLUMNS = ["t_seconds", "latency_ms", "ok"]
# Series whose names begin like this were looked at while the defaults were chosen, so they prove
# nothing about other services. All others are unseen.
_SEEN = ("lambda_cold_", "llm_perf_", "msft_dep_", "nab_", "nezha_tt_", "petshop_")
# A fault that raises the median by this factor should be detected by latency alone.
RAISED = 3.0
# Fewer rows than this do not give a usable median.
_FEW = 5
# Seconds. Rows further apart than this are means of many requests, not single requests.
_SAMPLED = 300.0


class TraceError(ValueError):
    """A file is not a trace. The message names file and row."""


@dataclass(slots=True)
class Series:
    """One trace.

    Attributes:
        name: File name without suffix.
        world: Its rows as calls, and its labels as faults.
        raised: For each label the factor by which the median rose; 0.0 if there are too few rows.
    """

    name: str
    world: World
    raised: list[float] = field(default_factory=list)

    @property
    def sampled(self) -> bool:
        """Whether its rows are regular samples of many requests instead of single requests."""
        starts = self.world.starts
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        return bool(gaps) and median(gaps) >= _SAMPLED


def is_seen(name: str) -> bool:
    """Whether a series was at hand while the defaults were chosen."""
    return name.startswith(_SEEN)


def load(directory: Path) -> Iterator[Series]:
    """Read all series of a directory, ordered by name.

    Raises:
        TraceError: The directory has no trace, or a file is not valid.
    """
    files = sorted([*directory.glob("*.csv.gz"), *directory.glob("*.csv")])
    if not files:
        raise TraceError(f"{directory}: no *.csv.gz or *.csv file")
    labels = _labels(directory / "labels.json")
    for file in files:
        name = file.name.removesuffix(".gz").removesuffix(".csv")
        world = _world(file)
        world.faults = labels.get(name, [])
        series = Series(name, world)
        series.raised = _raised(world)
        yield series


def _labels(file: Path) -> dict[str, list[Fault]]:
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        labels = {
            str(name): [Fault(float(start), float(end), str(kind)) for start, end, kind in spans]
            for name, spans in content.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise TraceError(f"{file}: not series -> [[t_start, t_end, kind], ...]: {error}") from None
    for name, faults in labels.items():
        faults.sort(key=lambda fault: (fault.start, fault.end))
        for fault in faults:
            if not (isfinite(fault.start) and isfinite(fault.end) and fault.start <= fault.end):
                raise TraceError(
                    f"{file}: {name}: [{fault.start}, {fault.end}] is no stretch of time"
                )
    return labels


def _world(file: Path) -> World:
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8", newline="") as lines:
            return _read(file, csv.reader(lines))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{file}: cannot be read: {error}") from None


def _read(file: Path, rows: Iterator[list[str]]) -> World:
    header = [name.strip() for name in next(rows, [])]
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise TraceError(f"{file}: row 1: no column {', '.join(missing)} (found: {header})")
    places = [header.index(name) for name in _COLUMNS]
    world, before = World(0.0), -float("inf")
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        try:
            start, latency, ok = (float(row[place]) for place in places)
        except (ValueError, IndexError):
            raise TraceError(f"{file}: row {number}: not three numbers: {row}") from None
        if not (isfinite(start) and isfinite(latency)) or latency < 0.0 or ok not in (0.0, 1.0):
            raise TraceError(
                f"{file}: row {number}: wants a finite time, a finite latency >= 0 and ok 0 or 1, "
                f"not {row}"
            )
        if start < before:
            raise TraceError(f"{file}: row {number}: time {start:g} comes after {before:g}")
        before = start
        # A good call without a measured latency has no vote.
        unmeasured = ok and not latency
        ending = Ending.CALLER_ERROR if unmeasured else Ending.OK if ok else Ending.FAILED
        world.add(start, latency / 1000.0, ending, not ok)
    if not world.starts:
        raise TraceError(f"{file}: row 2: no rows")
    good = [took for took, end in zip(world.tooks, world.endings, strict=True) if end == Ending.OK]
    world.median = median(good) if good else 1.0
    return world


def _raised(world: World) -> list[float]:
    """For each label: median of its good calls / median of all unlabelled good calls before it."""
    healthy = _outside(world)
    good = [ending == Ending.OK for ending in world.endings]
    raised: list[float] = []
    for fault in world.faults:
        first, last = _rows(world, fault)
        inside = [world.tooks[i] for i in range(first, last) if good[i]]
        before = [world.tooks[i] for i in range(first) if good[i] and healthy[i]]
        enough = len(inside) >= _FEW and len(before) >= _FEW
        raised.append(median(inside) / median(before) if enough else 0.0)
    return raised


def _rows(world: World, fault: Fault) -> tuple[int, int]:
    return bisect_left(world.starts, fault.start), bisect_right(world.starts, fault.end)


def _outside(world: World) -> bytearray:
    outside = bytearray(b"\x01") * len(world)
    for fault in world.faults:
        first, last = _rows(world, fault)
        outside[first:last] = bytes(last - first)
    return outside


@dataclass(slots=True)
class TraceScore:
    """The score of one contender for one or more series.

    Attributes:
        healthy: Number of good calls outside all labels.
        healthy_refused: How many of these were refused.
        false_openings: Number of openings outside all labels.
        raised: Number of labels in which the median rose at least `RAISED`-fold.
        noticed: In how many of these the breaker opened, or a probe was bad.
        missed: Names and starts of the others.
    """

    healthy: int = 0
    healthy_refused: int = 0
    false_openings: int = 0
    raised: int = 0
    noticed: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, other: TraceScore) -> None:
        """Add the figures of other series."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def replay(series: Series, entrant: Entrant, seed: int = 1) -> TraceScore:
    """Replay one series to one entrant."""
    clock = Clock()
    run = simulate(series.world, entrant.make(clock, series.world.median, seed), clock)
    return _score(series, run)


def _score(series: Series, run: Run) -> TraceScore:
    world, result = series.world, TraceScore()
    for index, outside in enumerate(_outside(world)):
        if outside and world.endings[index] == Ending.OK:
            result.healthy += 1
            result.healthy_refused += not run.admitted[index]
    result.false_openings = sum(not _labelled(world.faults, at) for at in run.openings)
    for fault, raised in zip(world.faults, series.raised, strict=True):
        if raised < RAISED:
            continue
        result.raised += 1
        # An earlier opening does not count: a breaker that never closes would otherwise win.
        if any(fault.start <= at <= fault.end for at in run.alarms):
            result.noticed += 1
        else:
            result.missed.append(f"{series.name} {fault.start:.0f} {fault.kind} x{raised:.1f}")
    return result


def _labelled(faults: Iterable[Fault], at: float) -> bool:
    return any(fault.start <= at <= fault.end for fault in faults)
