"""The goals, and whether a benchmark reached them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from benchmarks.detection.bound import Delay, Interval
from benchmarks.detection.runner import Scores, TraceScores
from benchmarks.detection.scenarios import scenarios
from benchmarks.detection.scores import PATIENCE, Score
from benchmarks.detection.services import MEDIAN
from benchmarks.detection.traces import TraceScore
from recloser import Policy

OURS = "recloser"
NEAR = 1.5  # a delay is near the bound up to this multiple of it
_HOVERING = ("2.5x slower for good", "3x slower for good", "3.5x slower for good")


@dataclass(frozen=True, slots=True)
class Goal:
    """One row: the figure, its goal, and what was measured."""

    figure: str
    wanted: str
    measured: str
    met: bool


def _sum(scores: Scores, names: Iterable[str], entrant: str = OURS) -> Score:
    total = Score()
    for name in names:
        if (name, entrant) in scores:
            total.add(scores[name, entrant])
    return total


def _group(group: str) -> list[str]:
    return [scenario.name for scenario in scenarios() if scenario.group == group]


def harm(scores: Scores, entrant: str) -> float:
    """Return the sum of the harm over all scenarios, in percentage points."""
    return sum(100.0 * score.harm for (_, name), score in scores.items() if name == entrant)


def unavoidable(scores: Scores) -> float:
    """Return the harm of a breaker that knows all, summed over all scenarios, in percent points."""
    ours = (score for (_, name), score in scores.items() if name == OURS)
    return sum(100.0 * score.unavoidable / score.calls for score in ours)


def goals(
    scores: Scores,
    settings: dict[str, str],
    delays: list[Delay],
    intervals: list[Interval],
    traces: TraceScores | None,
) -> list[Goal]:
    """Return all rows for which there are figures."""
    rows = [*_healthy(scores), *_wasted(scores), *_bounds(delays, intervals), *_harmed(scores)]
    rows += [*_steps(scores), *_harm(scores, settings)]
    return rows + (_traces(traces) if traces else [])


def _at_most(figure: str, value: float, limit: float, unit: str = "", digits: int = 1) -> Goal:
    shown = f"{value:,.{digits}f}{unit}"
    return Goal(figure, f"<= {limit:,g}{unit}", shown, value <= limit)


def _healthy(scores: Scores) -> list[Goal]:
    rows: list[Goal] = []
    calm = _sum(scores, _group("independent"))
    if calm.calls:
        rows.append(
            _at_most(
                "false openings per million healthy calls, all independent healthy scenarios",
                calm.false_per_million,
                1.0,
                digits=2,
            )
        )
    runs = _sum(scores, _group("runs"))
    if runs.calls:
        asked = Policy().false_trip_interval
        learned = asked * runs.learned_false_openings / max(runs.learned_calls, 1)
        rows += [
            _at_most(
                "the same in runs, per `false_trip_interval`, keys of more than 20,000 calls",
                learned,
                1.0,
                digits=2,
            ),
            Goal(
                "... the first 20,000 calls, in which runs are learned, included",
                "(for comparison)",
                f"{asked * runs.false_openings / runs.healthy_calls:.1f}",
                True,
            ),
            _at_most("... good calls refused", 100 * runs.refused, 0.1, " %", 3),
        ]
    return rows


def _wasted(scores: Scores) -> list[Goal]:
    threshold = Policy().max_latency_ratio * MEDIAN
    limits = {
        "fast failures": 7.0,
        "hang until a 30 s time-out": 50 * threshold + 7,
        "hang, client cancels at 10 s": 50 * threshold + 7,
        "hang until a 30 s time-out, 2,000/s": 2000 * threshold + 7,
        "hang, client cancels, 2,000/s": 2000 * threshold + 7,
        "10x slower": 15.0,
    }
    return [
        _at_most(f"calls wasted before opening: {name}", fmean(scores[name, OURS].wasted), limit)
        for name, limit in limits.items()
        if (name, OURS) in scores
    ]


def _bounds(delays: list[Delay], intervals: list[Interval]) -> list[Goal]:
    rows = [
        Goal(
            f"calls to detection over the Lorden bound: {d.p1:.0%} fail, {d.p0:.1%} before"
            f"{' in runs' if d.runs else ''}",
            f"<= {NEAR:g}",
            f"{d.ratio:.2f} +- {d.error / d.bound:.2f}",
            d.ratio <= NEAR,
        )
        for d in delays
    ]
    if intervals:
        least = min(intervals, key=lambda interval: interval.ratio)
        rows.append(
            Goal(
                "measured interval between false openings over the one asked for, the least",
                ">= 1",
                f"{least.ratio:.2f} ({least.p0:.1%}{', in runs' if least.runs else ''})",
                least.ratio >= 1.0,
            )
        )
    return rows


def _harmed(scores: Scores) -> list[Goal]:
    limits = {
        "fast failures": ("about 60 s", 90),
        "down for 30 min": ("about 30 min", 640),
        "down, 2,000/s": ("about 20 s at 2,000/s", 900),
        "down, 1/s": ("about 120 s at 1/s", 25),
    }
    return [
        _at_most(f"calls harmed by one outage of {what}", fmean(scores[name, OURS].harmed), limit)
        for name, (what, limit) in limits.items()
        if (name, OURS) in scores
    ]


def _steps(scores: Scores) -> list[Goal]:
    steps = _sum(scores, _group("step"))
    if not steps.calls:
        return []
    rows = [
        _at_most(
            f"a lasting step of 1.3 to 6: good calls refused after {PATIENCE:g} s",
            steps.refused_after_patience,
            0,
            digits=0,
        )
    ]
    for name in _HOVERING:
        if (name, OURS) in scores:
            score = scores[name, OURS]
            refused = 100 * score.refused
            rows.append(
                Goal(
                    f"{name}, hovering at the threshold: good calls refused",
                    "<= 0.5 %, no flapping",
                    f"{refused:.2f} %, {score.openings / score.runs:.1f} openings in 20 min",
                    refused <= 0.5 and score.openings <= 3 * score.runs,
                )
            )
    return rows


def _harm(scores: Scores, settings: dict[str, str]) -> list[Goal]:
    ours = harm(scores, OURS)
    peers = {name: harm(scores, name) for name, s in settings.items() if s in ("default", "tuned")}
    if not peers or not ours:
        return []
    best = min(peers, key=peers.__getitem__)
    none = peers[best] / ours
    floor = unavoidable(scores)
    return [
        Goal(
            "harm summed over all scenarios: the best peer's over ours",
            ">= 5",
            f"{none:.1f} ({peers[best]:.1f} of {best}, {ours:.1f} of {OURS})",
            none >= 5.0,
        ),
        Goal(
            "... of what an all-knowing breaker would not harm",
            "(for comparison)",
            f"{(peers[best] - floor) / max(ours - floor, 1e-9):.1f} ({floor:.1f} is unavoidable)",
            True,
        ),
    ]


def _traces(traces: TraceScores) -> list[Goal]:
    total = TraceScore()
    for (_, name), (sampled, score) in traces.items():
        if name == OURS and not sampled:
            total.add(score)
    rows: list[Goal] = []
    if total.raised:
        share = 100 * total.noticed / total.raised
        rows.append(
            Goal(
                "real traces, per request: faults that raise the median threefold noticed",
                ">= 85 %",
                f"{share:.0f} % ({total.noticed} of {total.raised})",
                share >= 85.0,
            )
        )
    refused = 100 * total.healthy_refused / max(total.healthy, 1)
    rows.append(_at_most("... good calls outside labels refused", refused, 0.2, " %", 2))
    return rows
