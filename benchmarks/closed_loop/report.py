"""The report: tables as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf

from benchmarks.closed_loop.entrants import CUT, NONE, OURS
from benchmarks.closed_loop.goals import Goal, best_peer, goals
from benchmarks.closed_loop.runner import Scores
from benchmarks.closed_loop.scenarios import Scenario
from benchmarks.closed_loop.scores import Score, mean
from benchmarks.detection.report import table

_INTRODUCTION = """\
# What does it do to a callee that its calls slow down?

Written by `python -m benchmarks.closed_loop{arguments}`; the same command reproduces it.

A callee of ten servers with 50 ms each gets 120 calls a second at random, unless a row says
otherwise. It is healthy for 120 s, then something happens for 120 s (the *trigger*), and 60 s are
left to recover. A client gives up after 2 s and tries once more; the callee also does the work that
nobody waits for. The retry storm lasts 20 s, with three retries; in it, and where the pool shrinks,
clients give up after 1 s.

A user is *answered* if one of the attempts was. Figures are % of the users who came during the
trigger: the average of {runs}, and the lowest and highest run in brackets. *Changes* are
changes of state per breaker and minute of the trigger. *Recovery* is the time from its end until
95 % are answered in each of five seconds. The best peer is whoever answers most in a row: all
others, and no breaker at all.
"""


@dataclass(slots=True)
class Results:
    """All results of a benchmark."""

    arguments: str
    stories: list[Scenario]
    names: list[str]
    seeds: int
    scores: Scores

    def goals(self) -> list[Goal]:
        """Return the rows of the table of goals."""
        return goals(self.stories, self.scores)


def markdown(results: Results) -> str:
    """Return the whole report as Markdown."""
    runs = f"{results.seeds} runs" if results.seeds > 1 else "one run"
    parts = [_INTRODUCTION.format(arguments=results.arguments, runs=runs)]
    aims = results.goals()
    if aims:
        missed = [goal for goal in aims if not goal.met]
        parts += [
            "## Goals\n",
            f"{len(aims) - len(missed)} of {len(aims)} are met.\n",
            _goals(aims),
        ]
    under = [story for story in results.stories if story.group != "healthy"]
    if under:
        parts += ["\n## Under stress\n", _stress(results, under)]
        parts += ["\n## Everybody, % answered\n", _everybody(results, under)]
    healthy = [story for story in results.stories if story.group == "healthy"]
    if healthy:
        parts += ["\n## Healthy queues\n", _healthy(results, healthy)]
    return "\n".join(parts) + "\n"


def _goals(rows: list[Goal]) -> str:
    return table(
        ["scenario", "figure", "goal", "measured", ""],
        [
            [g.scenario, g.figure, g.wanted, g.measured, "ok" if g.met else "**missed**"]
            for g in rows
        ],
    )


def _figure(
    results: Results, story: Scenario, name: str, of: Callable[[Score], float]
) -> float | None:
    scores = results.scores.get((story.name, name))
    return mean([of(score) for score in scores]) if scores else None


def _seconds(value: float | None) -> str:
    return "" if value is None else "never" if value == inf else f"{value:.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def spread(values: list[float]) -> str:
    """The average, and the lowest and highest in brackets."""
    return f"{mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def _stress(results: Results, stories: list[Scenario]) -> str:
    rows: list[list[str]] = []
    cut = CUT in results.names
    for story in stories:
        best = best_peer(results.scores, story.name)
        row = [story.name, _number(_figure(results, story, NONE, lambda s: s.answered))]
        for name in (OURS, CUT) if cut else (OURS,):
            ours = results.scores.get((story.name, name))
            row.append(spread([score.answered for score in ours]) if ours else "")
        row += [
            _number(_figure(results, story, OURS, lambda s: s.changes)),
            _seconds(_figure(results, story, OURS, lambda s: s.recovery)),
            f"{best[1]:.1f} {best[0]}" if best else "",
        ]
        rows.append(row)
    head = ["scenario", NONE, OURS, *([CUT] if cut else [])]
    return table([*head, "changes/min", "recovery, s", "best peer"], rows)


def _everybody(results: Results, stories: list[Scenario]) -> str:
    rows = [
        [
            story.name,
            *(_number(_figure(results, story, n, lambda s: s.answered)) for n in results.names),
        ]
        for story in stories
    ]
    return table(["scenario", *results.names], rows)


def _healthy(results: Results, stories: list[Scenario]) -> str:
    rows: list[list[str]] = []
    for story in stories:
        for name in results.names:
            refused = _figure(results, story, name, lambda s: s.refused)
            openings = _figure(results, story, name, lambda s: s.per_million)
            answered = _figure(results, story, name, lambda s: s.answered)
            if refused is not None and openings is not None:
                row = [story.name, name, f"{refused:.3f} %", f"{openings:,.0f}"]
                rows.append([*row, f"{answered:.2f}"])
    return table(["queue", "", "refused", "openings per million calls", "answered"], rows)


def as_json(results: Results) -> str:
    """Return all figures as JSON. What never recovered has no `recovery`."""
    content: dict[str, object] = {
        "command": f"python -m benchmarks.closed_loop{results.arguments}",
        "goals": [asdict(goal) for goal in results.goals()],
        "scores": [
            {"scenario": story, "entrant": name, "runs": [score.summary() for score in scores]}
            for (story, name), scores in sorted(results.scores.items())
        ],
    }
    return json.dumps(content, indent=1) + "\n"
