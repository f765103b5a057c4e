"""What is played, what is measured, and what should hold: as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from statistics import fmean

from benchmarks.fleet.workers import FLEET

Figures = dict[str, float]
"""What was measured in one run, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is played.

    Attributes:
        part: The part of the benchmark.
        what: What happens.
        entrant: Who takes part: `one`, `alone` or `fleet`.
        workers: How many workers there are.
        rate: Calls per second of all workers together.
        delay: Seconds that an operation of the store takes.
        lost: Share of the rings of the bell that are lost.
        failing: Share of the operations of the store that fail.
    """

    part: str
    what: str
    entrant: str = FLEET
    workers: int = 8
    rate: float = 120.0
    delay: float = 0.002
    lost: float = 0.0
    failing: float = 0.0

    @property
    def name(self) -> str:
        """What distinguishes it from the others of its part."""
        return f"{self.what}, {self.entrant}, {self.workers} workers, {self.rate:g}/s"


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure, and what it should be."""

    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(slots=True)
class Section:
    """What is reported of one part: tables, each with a head and rows, and goals."""

    tables: list[tuple[list[str], list[list[str]]]] = field(
        default_factory=list[tuple[list[str], list[list[str]]]]
    )
    goals: list[Goal] = field(default_factory=list[Goal])

    def at_most(self, what: str, wanted: float, measured: float, unit: str = "") -> None:
        """Note a goal that is an upper bound."""
        shown = "never" if measured == inf else f"{measured:.4g}{unit}"
        self.goals.append(Goal(what, f"<= {wanted:.4g}{unit}", shown, measured <= wanted + 1e-9))

    def at_least(self, what: str, wanted: float, measured: float, unit: str = "") -> None:
        """Note a goal that is a lower bound."""
        met = measured >= wanted - 1e-9
        self.goals.append(Goal(what, f">= {wanted:.4g}{unit}", f"{measured:.4g}{unit}", met))


Results = dict[Case, list[Figures]]
"""What was measured in each run of each case."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Attributes:
        workers: Numbers of workers.
        seeds: Runs of each case.
        quick: Whether it is a coarse run.
    """

    workers: tuple[int, ...] = (8, 64)
    seeds: int = 5
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the benchmark.

    Attributes:
        name: Its name on the command line.
        title: Its title in the report.
        text: What is played and measured, in some sentences.
        cases: Returns what is played.
        play: Plays a case with a seed.
        report: Makes tables and goals of what was measured.
        picture: Draws a picture of what was measured, as SVG; None for none.
    """

    name: str
    title: str
    text: str
    cases: Callable[[Options], list[Case]]
    play: Callable[[Case, int], Figures]
    report: Callable[[Results], Section]
    picture: Callable[[Results], str] | None = None


def mean(runs: list[Figures], name: str) -> float:
    """The average of a figure."""
    values = [run[name] for run in runs]
    return inf if inf in values else fmean(values)


def spread(runs: list[Figures], name: str, digits: int = 0) -> str:
    """The average of a figure, and the lowest and the highest in brackets."""
    values = [run[name] for run in runs]
    known = [value for value in values if value < inf]
    if not known:
        return "never"
    text = f"{fmean(known):,.{digits}f}"
    if len(values) > 1:
        highest = "never" if len(known) < len(values) else f"{max(known):,.{digits}f}"
        text += f" ({min(known):,.{digits}f}-{highest})"
    return text


def most(runs: list[Figures], name: str) -> float:
    """The highest of a figure."""
    return max(run[name] for run in runs)
