"""The report of a run: sections of rows and goals, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .rounds import Effort, Timings


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit, and what was measured."""

    promise: str
    measured: float
    limit: float
    unit: str = "x"

    @property
    def kept(self) -> bool:
        """Whether the measured value is within the limit."""
        return self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Reach:
    """A goal for what a candidate may add, and whether plain Python can reach it at all.

    Attributes:
        floor: The floor of the candidate, which shows what it has to cost at least; see `floors`.
        most: What the two may add to the baseline of their table, in its unit.
    """

    floor: str
    most: float

    def note(self, name: str, added: float, least: float, unit: str = "ns") -> str:
        """Say what is left for the promises that the floor does not keep.

        Args:
            name: The candidate.
            added: What it adds.
            least: What its floor adds.
            unit: The unit of all three.
        """
        digits = 0 if unit == "ns" else 2
        said = (
            f"{name} adds {added:,.{digits}f} {unit}, its floor {least:,.{digits}f}, "
            f"and the goal allows {self.most:,.{digits}f}: "
        )
        if least > self.most:
            return said + "plain Python cannot reach the goal."
        left = self.most - least
        return said + f"{left:,.{digits}f} are left for what the floor does not promise."


@dataclass(slots=True)
class Section:
    """One table of the report."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str | float]] = field(default_factory=list[Sequence[str | float]])
    goals: list[Goal] = field(default_factory=list[Goal])
    notes: list[str] = field(default_factory=list[str])


def timed(
    title: str, timings: Timings, *, over: str, reach: Mapping[str, Reach] | None = None
) -> Section:
    """Return the section of timed candidates: cost, spread, and cost added to one of them.

    Args:
        title: The title of the section.
        timings: The candidates.
        over: The candidate to which the others add their cost.
        reach: The goals of candidates that have a floor.
    """
    reach = reach or {}
    most = {name: goal.most for name, goal in reach.items()}
    most |= {goal.floor: goal.most for goal in reach.values()}
    section = Section(
        title, ["", "ns", "spread", f"added to {over}, ns", *["goal, ns"][: len(most)]]
    )
    for name in timings.names:
        row: list[str | float] = [name, timings.median(name), f"{timings.spread(name):.0%}"]
        row.append("" if name == over else timings.added(name, over))
        section.rows.append([*row, most.get(name, "")] if most else row)
    section.notes += [
        goal.note(name, timings.added(name, over), timings.added(goal.floor, over))
        for name, goal in reach.items()
    ]
    return section


def missed(sections: Sequence[Section]) -> list[Goal]:
    """Return the goals that were not kept."""
    return [goal for section in sections for goal in section.goals if not goal.kept]


def machine() -> dict[str, str]:
    """Return the machine and the Python that the figures depend on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": platform.python_compiler(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
    }


def markdown(sections: Sequence[Section], effort: Effort) -> str:
    """Return the report as Markdown."""
    lines = ["# What recloser costs", ""]
    lines += [f"{name}: {value}  " for name, value in machine().items()]
    lines += [
        f"method: interleaved shuffled batches of {effort.batch_ns / 1e6:g} ms of thread CPU time, "
        f"the fastest {effort.keep} of {effort.rounds} rounds, medians",
        "",
        "## Goals",
        "",
        "| goal | measured | limit | |",
        "|---|---:|---:|---|",
    ]
    lines += [
        f"| {goal.promise} | {goal.measured:,.3g} {goal.unit} | {goal.limit:g} {goal.unit} "
        f"| {'pass' if goal.kept else '**FAIL**'} |"
        for section in sections
        for goal in section.goals
    ]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [_row(section.columns), "|" + "---|" + "---:|" * (len(section.columns) - 1)]
        lines += [_row(row) for row in section.rows]
        lines += [f"\n{note}" for note in section.notes]
    return "\n".join(lines) + "\n"


def as_json(sections: Sequence[Section], effort: Effort) -> str:
    """Return the report as JSON."""
    found = [
        {
            "title": section.title,
            "columns": list(section.columns),
            "rows": [list(row) for row in section.rows],
            "goals": [asdict(goal) | {"kept": goal.kept} for goal in section.goals],
            "notes": section.notes,
        }
        for section in sections
    ]
    report = {
        "machine": machine(),
        "argv": sys.argv[1:],
        "effort": asdict(effort),
        "sections": found,
    }
    return json.dumps(report, indent=2) + "\n"


def _row(cells: Sequence[str | float]) -> str:
    shown = (cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in cells)
    return "| " + " | ".join(shown) + " |"
