"""One SVG per scenario: what users got each second without a breaker and with recloser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from math import log10
from pathlib import Path

from benchmarks.closed_loop.scenarios import Scenario
from benchmarks.closed_loop.simulator import Play, World
from benchmarks.detection.entrants import Recloser
from benchmarks.detection.peers import Never
from benchmarks.detection.pictures import STATE_COLOURS
from benchmarks.detection.simulator import Clock, Contender
from recloser import Policy, State

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 960, 520, 90, 20
_GOOD, _REFUSED, _FAILED, _TRIGGER = "#3a9d5d", "#e0a72e", "#c8433a", "#555"
_WAITING = "#3b6ea5"
# Of each panel: its lower edge and height. `_MOST` waiting is the top of the lowest one.
_NONE, _OURS, _QUEUE, _TALL, _MOST = 210.0, 330.0, 450.0, 100.0, 5.0


@dataclass(slots=True)
class _Seen:
    """A run, and what was seen in it once a second: (time, attempts that waited or the limit)."""

    play: Play
    waiting: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    limits: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])


def draw(scenario: Scenario, directory: Path) -> Path:
    """Run no breaker and recloser once through a scenario, draw both, and return the file."""
    none = _run(scenario, Clock(), [Never() for _ in range(scenario.workers)])
    clock = Clock()
    ours = [Recloser(clock, Policy(), 1_000 + number) for number in range(scenario.workers)]
    seen = _run(scenario, clock, list[Contender](ours))
    tallest = float(max(map(sum, _seconds(none.play, scenario)), default=1))
    parts = [
        _text(_LEFT, 20, scenario.name, "start", 15),
        *_states(ours[0], scenario),
        *_bars(none.play, scenario, _NONE, tallest),
        *_bars(seen.play, scenario, _OURS, tallest),
        _line(none.waiting, scenario, "#9aa4b0"),
        _line(seen.waiting, scenario, _WAITING),
        _line(seen.limits, scenario, "#000"),
        *_words(scenario, tallest),
    ]
    file = directory / f"{file_name(scenario.name)}.svg"
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>' + "".join(parts) + "</svg>\n",
        encoding="utf-8",
    )
    return file


def file_name(name: str) -> str:
    """The name of a scenario as that of a file, without its ending."""
    words = "".join(letter if letter.isalnum() or letter == "." else " " for letter in name)
    return "-".join(words.lower().split())


def _run(scenario: Scenario, clock: Clock, contenders: list[Contender]) -> _Seen:
    world = World(scenario, contenders, clock, 1)
    seen = _Seen(world.play)

    def watch(at: float) -> None:
        seen.waiting.append((at, float(world.waiting)))
        first = contenders[0]
        if isinstance(first, Recloser):
            limit = first.breaker._circuit.limit
            if limit is not None:
                seen.limits.append((at, limit.size))

    world.run(watch)
    return seen


def _seconds(play: Play, scenario: Scenario) -> list[list[int]]:
    """For each second: how many calls were answered, refused, and neither."""
    counts = [[0, 0, 0] for _ in range(int(scenario.end) + 1)]
    for start, good, refused in zip(play.starts, play.good, play.refused, strict=True):
        counts[int(start)][0 if good else 1 if refused else 2] += 1
    return counts


def _x(at: float, scenario: Scenario) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(at / scenario.end, 1.0)


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.4):.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "end", size: int = 12) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )


def _states(breaker: Recloser, scenario: Scenario) -> list[str]:
    left = _x(scenario.warm_up, scenario)
    parts = [_box(left, 36, _x(scenario.over, scenario) - left, 14, _TRIGGER)]
    state, since = State.CLOSED, 0.0
    changes = [(each.at, each.after) for each in breaker.transitions]
    for at, after in [*changes, (scenario.end, State.CLOSED)]:
        left = _x(since, scenario)
        parts.append(_box(left, 56, _x(at, scenario) - left, 14, STATE_COLOURS[state]))
        state, since = after, at
    return parts


def _bars(play: Play, scenario: Scenario, base: float, tallest: float) -> list[str]:
    width = _x(1.0, scenario) - _x(0.0, scenario)
    parts: list[str] = []
    for second, counts in enumerate(_seconds(play, scenario)):
        y = base
        for count, colour in zip(counts, (_GOOD, _REFUSED, _FAILED), strict=True):
            height = _TALL * count / tallest
            y -= height
            if count:
                parts.append(_box(_x(second, scenario), y, width, height, colour))
    return parts


def _line(points: list[tuple[float, float]], scenario: Scenario, colour: str) -> str:
    drawn = " ".join(
        f"{_x(at, scenario):.1f},{_QUEUE - _TALL * min(log10(1.0 + value) / _MOST, 1.0):.1f}"
        for at, value in points
        if at <= scenario.end
    )
    return f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _words(scenario: Scenario, tallest: float) -> list[str]:
    names = ((47, "trigger"), (67, "state"), (_NONE - 50, "no breaker"), (_OURS - 50, "recloser"))
    parts = [_text(_LEFT - 8, y, name) for y, name in names]
    parts += [_text(_LEFT - 8, base - _TALL + 8, f"{tallest:g}/s") for base in (_NONE, _OURS)]
    parts += [
        _text(_LEFT - 8, _QUEUE - _TALL * power / _MOST + 4, f"{10**power:,} wait")
        for power in (1, 3, 5)
    ]
    step = 60 if scenario.end <= 600 else 120
    parts += [
        _text(_x(at, scenario), 468, str(at), "middle") for at in range(0, int(scenario.end), step)
    ]
    legend = (
        "seconds. State of the first worker: green closed, brown limited, amber half-open, red open. "
        "Users: green answered, amber refused, red failed.",
        "Waiting at the callee: grey without a breaker, blue with recloser. Black: the limit, "
        "if there is one.",
    )
    lines = zip((488, 504), legend, strict=True)
    return [*parts, *(_text(_LEFT, y, line, "start") for y, line in lines)]
