"""One SVG per scenario: state, calls, latency and slow threshold over time."""

from __future__ import annotations

from bisect import bisect_left
from html import escape
from math import log10
from pathlib import Path

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.scenarios import Scenario
from benchmarks.detection.simulator import Clock, Ending, Run, World, simulate
from recloser import Policy, State

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 960, 486, 70, 20
_BINS = 240
_DOTS = 1500
STATE_COLOURS = {
    State.CLOSED: "#3a9d5d",
    State.LIMITED: "#8a5200",
    State.HALF_OPEN: "#e0a72e",
    State.OPEN: "#c8433a",
}
"""Every state has a colour, so that each run can be drawn."""
_HIGHEST, _LOWEST = 1.6, -2.4  # of the latency axis, powers of ten of a second


def draw(scenario: Scenario, directory: Path) -> Path:
    """Run recloser once through a scenario, draw the result, and return the file."""
    world, clock = scenario.world(1), Clock()
    breaker = Recloser(clock, Policy(), 1)
    thresholds: list[tuple[float, float]] = []
    every = max(len(world) // _BINS, 1)

    def watch(index: int) -> None:
        if index % every == 0:
            thresholds.append((clock.now, breaker.breaker.metrics().slow_threshold))

    run = simulate(world, breaker, clock, watch)
    span = world.starts[-1]
    parts = [
        *_states(breaker, world, span),
        *_calls(world, run, span),
        *_latency(world, run, thresholds, span),
        *_axis(span),
    ]
    file = directory / f"{_file_name(scenario.name)}.svg"
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(scenario.name)}</text>'
        + "".join(parts)
        + "</svg>\n",
        encoding="utf-8",
    )
    return file


def _file_name(name: str) -> str:
    words = "".join(letter if letter.isalnum() or letter == "." else " " for letter in name)
    return "-".join(words.lower().split())


def _x(at: float, span: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at / span


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.4):.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _label(y: float, text: str) -> str:
    return f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{text}</text>'


def _states(breaker: Recloser, world: World, span: float) -> list[str]:
    parts = [_label(47, "fault"), _label(67, "state")]
    parts += [
        _box(_x(f.start, span), 36, _x(f.end, span) - _x(f.start, span), 14, "#555")
        for f in world.faults
    ]
    state, since = State.CLOSED, 0.0
    for at, after in [*((t.at, t.after) for t in breaker.transitions), (span, State.CLOSED)]:
        left = _x(since, span)
        parts.append(_box(left, 56, _x(min(at, span), span) - left, 14, STATE_COLOURS[state]))
        state, since = after, at
    return parts


def _calls(world: World, run: Run, span: float) -> list[str]:
    """Stacked bars: admitted good and bad calls, and below them refused good and bad calls."""
    counts = [[0, 0, 0, 0] for _ in range(_BINS)]
    for start, bad, admitted in zip(world.starts, world.bad, run.admitted, strict=True):
        counts[min(int(_BINS * start / span), _BINS - 1)][bad + 2 * (not admitted)] += 1
    tallest = max(max(good + bad, ok + saved) for good, bad, ok, saved in counts) or 1
    parts = [_label(125, "admitted"), _label(185, "refused")]
    width = (_WIDTH - _LEFT - _RIGHT) / _BINS
    for number, (good, bad, lost, saved) in enumerate(counts):
        x, scale = _LEFT + number * width, 60 / tallest
        parts.append(_box(x, 150 - good * scale, width, good * scale, "#8fbf9f"))
        parts.append(_box(x, 150 - (good + bad) * scale, width, bad * scale, "#c8433a"))
        parts.append(_box(x, 152, width, lost * scale, "#e0a72e"))
        parts.append(_box(x, 152 + lost * scale, width, saved * scale, "#9aa4b0"))
    return [part for part in parts if 'height="0.0"' not in part]


def _y(seconds: float) -> float:
    power = min(max(log10(max(seconds, 1e-6)), _LOWEST), _HIGHEST)
    return 420 - 190 * (power - _LOWEST) / (_HIGHEST - _LOWEST)


def _latency(
    world: World, run: Run, thresholds: list[tuple[float, float]], span: float
) -> list[str]:
    parts = [_label(_y(10.0**power) + 4, f"{10.0**power:g} s") for power in (-2, -1, 0, 1)]
    for index in range(0, len(world), max(len(world) // _DOTS, 1)):
        failed = world.endings[index] != Ending.OK
        colour = "#bbb" if not run.admitted[index] else "#c8433a" if failed else "#3b6ea5"
        x, y = _x(world.starts[index], span), _y(world.tooks[index])
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.2" fill="{colour}"/>')
    line = " ".join(f"{_x(at, span):.1f},{_y(value):.1f}" for at, value in thresholds)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#000" stroke-width="1.2"/>')
    return parts


def _axis(span: float) -> list[str]:
    steps = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 864000]
    step = steps[min(bisect_left(steps, span / 8), len(steps) - 1)]
    parts = [
        f'<text x="{_x(at, span):.0f}" y="438" text-anchor="middle">{at:g}</text>'
        for at in range(0, int(span) + 1, step)
    ]
    legend = (
        "seconds. State: green closed, brown limited, amber half-open, red open. Line: slow threshold.",
        "Calls: green good, red bad, amber good but refused, grey bad and refused.",
    )
    lines = [
        f'<text x="{_LEFT}" y="{y}" fill="#555">{line}</text>'
        for y, line in zip((458, 474), legend, strict=True)
    ]
    return [*parts, *lines]
