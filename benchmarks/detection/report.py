"""The report: tables as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import fmean

from benchmarks.detection import goals as aims
from benchmarks.detection.bound import Delay, Interval
from benchmarks.detection.goals import OURS, Goal
from benchmarks.detection.runner import Scores, TraceScores
from benchmarks.detection.scenarios import Scenario
from benchmarks.detection.scores import Score
from benchmarks.detection.traces import TraceScore, is_seen
from recloser import Policy

_INTRODUCTION = """\
# How good is it at noticing?

Written by `python -m benchmarks.detection{arguments}`; the same command reproduces it.

Every breaker is played the same calls, whose fate is settled beforehand. A call is *bad* by its
own fate: a fault makes it fail, or answer later than 3.5 times the healthy median. Everyday
failures of a healthy service are nobody's harm, since every breaker lets them through.
*Harm* = (bad calls let through + good calls refused) / all calls. Lengths and starts of faults
are random, so that no fixed timer fits by luck. Python packages are driven themselves; the others
are small models of them. *Tuned* ones were told the median latency of the very service they
guard; recloser runs with its defaults in every row.
"""

_BOUND = """\
Each repeat is a fresh key that has seen 20,000 calls and no outage; +- is the standard error.
{near} of {rows} rows are within the goal. The bound is for a rule that knows in advance how many
calls fail in the outage, and how often they fail before it. recloser has to learn both. It opens at
failure number {fewest} (`Policy.min_failures`) at the earliest, and the column before the last shows
the ratio of a rule that always opens then: above the goal, no evidence could reach it.

"""
_TUNED = """\
Series are seen or unseen: seen ones were at hand while the defaults of recloser were chosen, so
their rows show how well it was fitted, and not how well it does on a service that it has never met.
"""


@dataclass(slots=True)
class Results:
    """All results of a benchmark."""

    arguments: str
    stories: list[Scenario]
    settings: dict[str, str]
    missing: list[str]
    scores: Scores
    delays: list[Delay] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    traces: TraceScores | None = None

    def goals(self) -> list[Goal]:
        """Return the rows of the table of goals."""
        return aims.goals(self.scores, self.settings, self.delays, self.intervals, self.traces)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose columns are also aligned as plain text."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def markdown(results: Results) -> str:
    """Return the whole report as Markdown."""
    parts = [_INTRODUCTION.format(arguments=results.arguments)]
    if results.missing:
        parts.append(f"Not installed, so left out: {', '.join(results.missing)}.\n")
    parts += ["## Goals\n", _goals(results.goals())]
    parts += ["\n## All together\n", _together(results)]
    parts += ["\n## Harm by scenario, in %\n", _by_scenario(results)]
    parts += ["\n## recloser by scenario\n", _details(results)]
    if results.delays:
        parts += ["\n## The bound\n", _delays(results.delays), "", _intervals(results.intervals)]
    if results.traces:
        parts += ["\n## Real traces\n", _traces(results.traces, results.settings)]
    return "\n".join(parts) + "\n"


def _goals(rows: list[Goal]) -> str:
    return table(
        ["figure", "goal", "measured", ""],
        [[g.figure, g.wanted, g.measured, "ok" if g.met else "**missed**"] for g in rows],
    )


def _group(results: Results, groups: tuple[str, ...], name: str) -> Score:
    total = Score()
    for story in results.stories:
        if story.group in groups and (story.name, name) in results.scores:
            total.add(results.scores[story.name, name])
    return total


def _together(results: Results) -> str:
    rows: list[list[str]] = []
    for name in sorted(results.settings, key=lambda name: aims.harm(results.scores, name)):
        calm = _group(results, ("independent",), name)
        runs = _group(results, ("runs",), name)
        sick = _group(results, ("fault",), name)
        rows.append(
            [
                name,
                results.settings[name],
                f"{aims.harm(results.scores, name):,.1f}",
                f"{calm.false_per_million:,.1f}",
                f"{100 * calm.refused:.2f} %",
                f"{100 * runs.refused:.2f} %",
                f"{100 * sick.let_through:.1f} %",
                f"{100 * sick.refused:.2f} %",
                f"{sick.noticed} of {sick.faults}",
            ]
        )
    head = ["", "settings", "harm, sum", "false openings per million", "healthy: good refused"]
    head += ["runs: good refused", "faults: bad let through", "good refused", "noticed"]
    return table(head, rows)


def _best(results: Results, settings: str) -> str | None:
    names = [name for name, kind in results.settings.items() if kind == settings]
    return min(names, key=lambda name: aims.harm(results.scores, name)) if names else None


def _by_scenario(results: Results) -> str:
    names = [OURS, _best(results, "default"), _best(results, "tuned"), "no breaker"]
    shown = [name for name in names if name and name in results.settings]
    rows: list[list[str]] = []
    for story in results.stories:
        row = [story.name, story.group]
        for name in shown:
            score = results.scores.get((story.name, name))
            row.append(f"{100 * score.harm:.2f}" if score else "")
        ours = results.scores.get((story.name, OURS))
        row.append(f"{100 * ours.unavoidable / ours.calls:.2f}" if ours else "")
        rows.append(row)
    sums = [aims.harm(results.scores, name) for name in shown]
    sums.append(aims.unavoidable(results.scores))
    rows.append(["sum", "", *(f"{value:.1f}" for value in sums)])
    return table(["scenario", "group", *shown, "unavoidable"], rows)


def _mean(values: list[int] | list[float], digits: int = 0) -> str:
    return f"{fmean(values):,.{digits}f}" if values else ""


def _details(results: Results) -> str:
    rows: list[list[str]] = []
    for story in results.stories:
        score = results.scores.get((story.name, OURS))
        if score is None:
            continue
        rows.append(
            [
                story.name,
                f"{score.calls:,}",
                str(score.false_openings),
                f"{100 * score.refused:.3f} %",
                _mean(score.wasted),
                f"{100 * score.let_through:.1f} %" if score.bad else "",
                _mean(score.harmed),
                _mean(score.delays, 2),
                _mean(score.recoveries, 2),
            ]
        )
    head = ["scenario", "calls", "false openings", "good refused", "wasted", "bad let through"]
    head += ["harmed per fault", "noticed after s", "recovered after s"]
    return table(head, rows)


def _kind(*, runs: bool) -> str:
    return "in runs" if runs else "independent"


def _delays(delays: list[Delay]) -> str:
    fewest = Policy().min_failures
    rows = [
        [
            f"{d.p0:.1%}",
            _kind(runs=d.runs),
            f"{d.p1:.0%}",
            f"{d.calls:.1f} +- {d.error:.1f}",
            f"{d.bound:.1f}",
            f"{d.ratio:.2f}",
            f"{max(fewest / d.p1 / d.bound, 1.0):.2f}",
            "ok" if d.ratio <= aims.NEAR else "**missed**",
        ]
        for d in delays
    ]
    near = sum(d.ratio <= aims.NEAR for d in delays)
    head = ["failures before", "", "failures in the outage", "calls to detection"]
    head += ["ln(interval) / KL", "ratio", f"at failure {fewest}", f"<= {aims.NEAR:g}"]
    return _BOUND.format(near=near, rows=len(delays), fewest=fewest) + table(head, rows)


def _intervals(intervals: list[Interval]) -> str:
    rows = [
        [
            f"{i.asked:,.0f}",
            f"{i.p0:.1%}",
            _kind(runs=i.runs),
            f"{i.calls / i.openings:,.0f}" if i.openings else f"> {i.calls:,}",
            f"{'' if i.openings else '> '}{i.ratio:.1f}",
        ]
        for i in intervals
    ]
    return table(["interval asked for", "failures", "", "measured", "ratio"], rows)


def _traces(traces: TraceScores, settings: dict[str, str]) -> str:
    rows: list[list[str]] = []
    for name in settings:
        for sampled, seen in ((False, True), (False, False), (True, True), (True, False)):
            what = "sampled means" if sampled else "per request"
            what += "" if seen else ", unseen"
            total = TraceScore()
            for (series, entrant), (is_sampled, score) in traces.items():
                if entrant == name and is_sampled is sampled and is_seen(series) is seen:
                    total.add(score)
            if total.healthy:
                rows.append(
                    [
                        name,
                        what,
                        f"{total.noticed} of {total.raised}",
                        f"{100 * total.healthy_refused / total.healthy:.3f} %",
                        f"{1e6 * total.false_openings / total.healthy:,.0f}",
                    ]
                )
    missed = [
        missed
        for (_, name), (sampled, score) in traces.items()
        if name == OURS and not sampled
        for missed in score.missed
    ]
    head = ["", "series", "threefold faults noticed", "good refused outside labels"]
    text = table([*head, "openings outside labels per million"], rows)
    return (
        _held_out({series for series, _ in traces})
        + text
        + (f"\n\nMissed per request: {', '.join(missed)}." if missed else "")
    )


def _held_out(series: set[str]) -> str:
    unseen = sorted(name for name in series if not is_seen(name))
    if unseen:
        return f"{_TUNED}Unseen are only: {', '.join(unseen)}.\n\n"
    return (
        f"{_TUNED}None of these series is held out. For a test on traces that nobody has tuned for,\n"
        "give `--traces` a directory of your own; they get rows of their own.\n\n"
    )


def as_json(results: Results) -> str:
    """Return all figures as JSON."""
    content: dict[str, object] = {
        "command": f"python -m benchmarks.detection{results.arguments}",
        "not_installed": results.missing,
        "goals": [asdict(goal) for goal in results.goals()],
        "scores": [
            {"scenario": story, "entrant": name, **score.summary()}
            for (story, name), score in sorted(results.scores.items())
        ],
        "delays": [{**asdict(delay), "ratio": delay.ratio} for delay in results.delays],
        "intervals": [{**asdict(one), "ratio": one.ratio} for one in results.intervals],
        "traces": [
            {"series": series, "entrant": name, "sampled": sampled, **asdict(score)}
            for (series, name), (sampled, score) in sorted((results.traces or {}).items())
        ],
    }
    return json.dumps(content, indent=1) + "\n"
