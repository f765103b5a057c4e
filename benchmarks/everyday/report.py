"""The report: a table for each part as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from math import isinf
from statistics import fmean
from typing import cast

from benchmarks.detection.report import table
from benchmarks.everyday.runner import Results
from benchmarks.everyday.scenario import REFUSED, Judged, Result, Scenario, judge

_INTRODUCTION = """\
# What does it do with healthy load that is not simple?

Written by `python -m benchmarks.everyday{arguments}`; the same command reproduces it.

All runs are on virtual time, with the default policy. A figure is the mean over all runs of a row,
with the lowest and the highest in brackets. Goals of shares are compared with the mean over the
seeds, goals of counts with the worst seed; each variant must meet them. *Limitings* are all
changes away from closed, openings among them.
"""
_HEAD = ["scenario", "calls", REFUSED, "changes", "openings", "limitings per million", "at the end"]


def _number(value: float) -> str:
    if isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.2f}"


def _spread(values: list[float]) -> str:
    low, high = min(values), max(values)
    mean = _number(fmean(values))
    return mean if low == high else f"{mean} ({_number(low)} to {_number(high)})"


def _state(results: list[Result]) -> str:
    states = Counter(one.state for one in results)
    if len(states) == 1:
        return next(iter(states))
    return ", ".join(f"{state} {count}" for state, count in states.most_common())


def _some(variants: tuple[str, ...], shown: int = 4) -> str:
    text = ", ".join(variants[:shown])
    return text + (f" ... {variants[-1]}" if len(variants) > shown else "")


def _measured(judged: Judged) -> str:
    text = _number(judged.mean)
    if judged.low != judged.high:
        text += f" ({_number(judged.low)} to {_number(judged.high)})"
    if judged.of > 1 and judged.missed:
        text += f"; {len(judged.missed)} of {judged.of} miss: {_some(judged.missed)}"
        text += f", worst {judged.worst}" if len(judged.missed) > 1 else ""
    return text


def _verdict(judged: list[Judged]) -> str:
    if all(one.goal.bound is None for one in judged):
        return ""
    return "ok" if all(one.met for one in judged) else "**missed**"


def _row(scenario: Scenario, results: list[Result]) -> list[str]:
    calls = sum(one.calls for one in results)
    judged = [judge(goal, results) for goal in scenario.goals]
    return [
        scenario.name,
        f"{calls:,}",
        _spread([one[REFUSED] for one in results]),
        _spread([float(one.changes) for one in results]),
        _spread([float(one.openings) for one in results]),
        _number(1e6 * sum(one.limitings for one in results) / max(calls, 1)),
        _state(results),
        "; ".join(str(goal) for goal in scenario.goals),
        " and ".join(_measured(one) for one in judged),
        _verdict(judged),
    ]


def markdown(arguments: str, chosen: list[Scenario], results: Results) -> str:
    """Return the whole report as Markdown."""
    groups: dict[str, list[list[str]]] = {}
    for scenario in chosen:
        if results.get(scenario.name):
            row = _row(scenario, results[scenario.name])
            groups.setdefault(scenario.group, []).append(row)
    rows = [row for group in groups.values() for row in group]
    met, missed = (sum(row[-1] == word for row in rows) for word in ("ok", "**missed**"))
    parts = [_INTRODUCTION.format(arguments=arguments)]
    parts.append(f"{met} of {met + missed} rows meet their goals.\n")
    for group, its in groups.items():
        parts += [f"## {group}\n", table([*_HEAD, "goal", "measured", ""], its), ""]
    return "\n".join(parts)


def as_json(arguments: str, chosen: list[Scenario], results: Results) -> str:
    """Return all figures as JSON. An infinite figure is null."""

    def finite(value: object) -> object:
        if isinstance(value, dict):
            known = cast("dict[str, object]", value)
            return {name: finite(each) for name, each in known.items()}
        return None if isinstance(value, float) and isinf(value) else value

    rows = [
        {
            "scenario": scenario.name,
            "group": scenario.group,
            "goals": [
                finite(judge(goal, results[scenario.name]).as_dict()) for goal in scenario.goals
            ],
            "runs": [finite(asdict(one)) for one in results[scenario.name]],
        }
        for scenario in chosen
        if results.get(scenario.name)
    ]
    content = {"command": f"python -m benchmarks.everyday{arguments}", "scenarios": rows}
    return json.dumps(content, indent=1) + "\n"
