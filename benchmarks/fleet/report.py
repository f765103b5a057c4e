"""The report: tables as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import inf

from benchmarks.detection.report import table
from benchmarks.fleet.cases import Part, Results, Section


@dataclass(slots=True)
class Played:
    """A part that was played.

    Attributes:
        part: The part.
        command: The command line that plays it.
        seeds: How often each case was played.
        results: What was measured.
    """

    part: Part
    command: str
    seeds: int
    results: Results

    @property
    def section(self) -> Section:
        """Its tables and goals."""
        return self.part.report(self.results)


def markdown(every: list[Played]) -> str:
    """Return the whole report as Markdown."""
    return "\n".join([_one(played) for played in every])


def _one(played: Played) -> str:
    section = played.section
    runs = f"the average of {played.seeds} runs, and the lowest and the highest in brackets"
    parts = [
        f"## {played.part.title}\n",
        f"{played.part.text} Figures are {runs if played.seeds > 1 else 'of one run'}.\n",
        f"```console\n{played.command}\n```\n",
        *[f"{table(head, rows)}\n" for head, rows in section.tables],
    ]
    if section.goals:
        met = sum(goal.met for goal in section.goals)
        parts.append(f"{met} of {len(section.goals)} goals are met.\n")
        rows = [
            [goal.what, goal.wanted, goal.measured, "ok" if goal.met else "**missed**"]
            for goal in section.goals
        ]
        parts.append(f"{table(['goal', 'wanted', 'measured', ''], rows)}\n")
    return "\n".join(parts)


def as_json(every: list[Played]) -> str:
    """Return all figures as JSON. What never happened is null."""
    content = [
        {
            "part": played.part.name,
            "command": played.command,
            "goals": [asdict(goal) for goal in played.section.goals],
            "cases": [
                {
                    **asdict(case),
                    "runs": [
                        {name: None if value == inf else value for name, value in run.items()}
                        for run in runs
                    ],
                }
                for case, runs in played.results.items()
            ],
        }
        for played in every
    ]
    return json.dumps(content, indent=1) + "\n"
