"""Drawing in SVG: an area with two axes, and what is put into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from recloser import State

WIDTH = 480

# Each is seen on white and on black. Text and axes have the colour of the page's text.
STYLE = """
.picture{color:#1f2328;font:13px system-ui,sans-serif}
@media (prefers-color-scheme:dark){.picture{color:#e6edf3}}
.picture text{fill:currentColor}
.picture .axis{stroke:currentColor;stroke-opacity:.45;fill:none}
.picture .closed,.picture .good{fill:#2f9e5f}
.picture .limited{fill:#c98500}
.picture .half_open{fill:#8a6fe8}
.picture .open,.picture .bad{fill:#e5484d}
.picture .refused{fill:#8b949e}
.picture .threshold{stroke:#c98500;fill:none;stroke-width:2}
.picture .evidence{stroke:#3b82f6;fill:none;stroke-width:2}
.picture .box{fill:none;stroke-width:2.5}
.picture .box.closed{stroke:#2f9e5f}.picture .box.limited{stroke:#c98500}
.picture .box.half_open{stroke:#8a6fe8}.picture .box.open{stroke:#e5484d}
.picture .box{fill:none!important}
.picture .arrow{stroke:currentColor;fill:none;stroke-width:1.5}
.picture .head{fill:currentColor}
"""


@dataclass(frozen=True)
class Axis:
    """From a value to a place: `low` is at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)


@dataclass
class Picture:
    """The parts of one picture, in the order in which they are drawn."""

    title: str
    height: int
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, anchor: str = "start") -> None:
        """Write words at a place."""
        place = f'x="{x:.1f}" y="{y:.1f}"'
        end = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(f"<text {place}{end}>{escape(words)}</text>")

    def dots(self, kind: str, places: Iterable[tuple[float, float]], radius: float = 1.6) -> None:
        """Draw all dots of a kind as one path."""
        size = 2 * radius
        marks = "".join(
            f"M{x - radius:.1f} {y - radius:.1f}h{size:.1f}v{size:.1f}h-{size:.1f}z"
            for x, y in places
        )
        self.parts.append(f'<path class="{kind}" d="{marks}"/>')

    def line(self, kind: str, places: Iterable[tuple[float, float]]) -> None:
        """Draw a line through places."""
        self.parts.append(
            f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        )

    def bar(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        """Draw a filled rectangle; nothing if it has no area."""
        if width > 0 and height > 0:
            self.parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"/>'
            )

    def axes(
        self, across: Axis, up: Axis, ticks: dict[float, str], marks: dict[float, str]
    ) -> None:
        """Draw both axes with the words at their ticks."""
        self.line(
            "axis",
            [(across.start, up.end), (across.start, up.start), (across.end, up.start)],
        )
        for value, words in ticks.items():
            self.text(across(value), up.start + 16, words, "middle")
        for value, words in marks.items():
            self.text(across.start - 5, up(value) + 4, words, "end")

    def states(self, y: float, across: Axis, changes: Iterable[tuple[float, State]]) -> None:
        """Draw the states as a band: (since when, state), the first one from the left edge on."""
        steps = [*changes, (across.high, State.CLOSED)]
        for (begun, state), (ended, _) in pairwise(steps):
            left, right = across(begun), across(ended)
            # What lasted for less than a pixel must be seen as well.
            self.bar(state.value, left, y, max(right - left, 1.2 if ended > across.low else 0), 10)

    def legend(self, y: float, kinds: dict[str, str]) -> None:
        """Say what the colours mean, in one row."""
        x = 44.0
        for kind, words in kinds.items():
            self.bar(kind, x, y - 9, 10, 10)
            self.text(x + 14, y, words)
            x += 26 + 7.2 * len(words)

    def __str__(self) -> str:
        return (
            f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" height="{self.height}">\n'
            f"<title>{escape(self.title)}</title>\n"
            f"<style>{STYLE.strip()}</style>\n" + "\n".join(self.parts) + "\n</svg>\n"
        )
