"""The show on a terminal, drawn with rich: live while it runs, and the summary at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters._command.demo.plan import (
    ARMS,
    GUARDED,
    PHASES,
    RATE,
    ROUTES,
    SICK,
    Phase,
    schedule,
)
from recloser_adapters._command.demo.story import Change, Story

REDRAW_PER_SECOND = 8
STATES = {
    "closed": ("●", "green"),
    "open": ("■", "bold red"),
    "half_open": ("◐", "yellow"),
}
PHASE_STYLES = {"healthy": "green", "hanging": "red", "failing": "red", "slow": "yellow"}
BAR = 25  # columns for RATE calls a second
# Lines of the picture but for its transitions, and columns that those have for their reason.
OTHER_LINES = 22
REASON = 58
TIMELINE = 63  # columns


class LiveScreen:
    """Redraws the whole picture in place a few times a second.

    Args:
        console: Where to.
        seconds: How long the schedule takes.
        urls: By app, where it serves.
    """

    def __init__(self, console: Console, seconds: float, urls: Mapping[str, str]) -> None:
        self._seconds = seconds
        self._urls = urls
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = -1.0

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def draw(self, story: Story) -> None:
        """Draw the picture again, if it is time."""
        if story.now < self._drawn + 1 / REDRAW_PER_SECOND:
            return
        self._drawn = story.now
        self._live.update(self._picture(story), refresh=True)

    def _picture(self, story: Story) -> RenderableType:
        return picture(story, self._seconds, self._urls, self._live.console.height)


def picture(
    story: Story, seconds: float, urls: Mapping[str, str], height: int = 30
) -> RenderableType:
    """Return what is known now, as one picture for a terminal of 80 columns and so many lines."""
    return Padding(
        Group(
            _title(urls),
            Text(),
            _timeline(story, seconds),
            _phase_names(seconds),
            _upstream(story),
            Text(),
            _keys(story),
            Text(),
            _why(story),
            Text(),
            _apps(story),
            Text(),
            changes(_latest(story.changes, height - OTHER_LINES)),
        ),
        (1, 1),
    )


def _title(urls: Mapping[str, str]) -> Text:
    return Text.assemble(
        ("recloser demo", "bold"),
        (f"  {RATE:g} requests a second to each of two apps", "dim"),
        (f"  {urls[GUARDED]}" if GUARDED in urls else "", "dim"),
    )


def _cells(phase: Phase, seconds: float) -> int:
    return round(TIMELINE * phase.seconds / seconds)


def _timeline(story: Story, seconds: float) -> Text:
    line = Text()
    begun = 0.0
    for phase in schedule(seconds):
        cells = _cells(phase, seconds)
        for cell in range(cells):
            done = story.now >= begun + phase.seconds * cell / cells
            line.append("━" if done else "─", PHASE_STYLES[phase.name] if done else "dim")
        begun += phase.seconds
    return line.append(f" {min(story.now, seconds):4.1f} of {seconds:g} s", "dim")


def _phase_names(seconds: float) -> Text:
    names = (phase.name.ljust(_cells(phase, seconds)) for phase in schedule(seconds))
    return Text("".join(names), "dim")


def _upstream(story: Story) -> Text:
    style = PHASE_STYLES[story.phase]
    return Text.assemble(
        "the orders' upstream is ",
        (story.phase, f"bold {style}"),
        (f": {PHASES[story.phase]}", "dim"),
    )


def _keys(story: Story) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.header_style = "dim"
    table.add_column("breaker", min_width=19)
    table.add_column("state", min_width=11)
    for name in ("good", "bad", "refused", "in flight", "median", "slow at"):
        table.add_column(name, justify="right")
    known = {each["key"]: each for each in story.keys}
    for route in ROUTES:
        if route in known:
            table.add_row(*_key_cells(known[route]))
        else:
            table.add_row(route, Text("no call yet", "dim"))
    return table


def _key_cells(key: Mapping[str, Any]) -> list[str | Text]:
    sign, style = STATES[key["state"]]
    return [
        key["key"],
        Text(f"{sign} {key['state'].replace('_', '-')}", style),
        f"{key['successes']:,}",
        Text(f"{key['bad']:,}", "red" if key["bad"] else "dim"),
        Text(f"{key['refused']:,}", "cyan" if key["refused"] else "dim"),
        f"{key['in_flight']:,}",
        _latency(key["median"]),
        _latency(key["slow_from"]),
    ]


def _latency(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10.0 else f"{seconds * 1000:.0f} ms"


def _why(story: Story) -> Text:
    sentence = next((key["explained"] for key in story.keys if key["key"] == ROUTES[0]), "")
    return Text.assemble(("now  ", "dim"), sentence)


def _apps(story: Story) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=13)
    table.add_column(width=BAR + 2)
    for _ in range(4):
        table.add_column(justify="right", min_width=7)
    heads = ("in the last second", "well", "wasted", "refused", "waiting")
    table.add_row("", *(Text(head, "dim") for head in heads))
    for arm, name in ARMS.items():
        table.add_row(name, *_app_cells(story, arm))
    return table


def _app_cells(story: Story, arm: str) -> list[Text]:
    well, wasted, refused = story.last_second(arm)
    waiting = story.waiting[arm]
    return [
        _bar(well, wasted, refused),
        Text(f"{well}", "green"),
        Text(f"{wasted}", "red" if wasted else "dim"),
        Text(f"{refused}", "cyan" if refused else "dim"),
        Text(f"{waiting}", "bold red" if waiting > RATE / 2 else "dim"),
    ]


def _bar(well: int, wasted: int, refused: int) -> Text:
    bar = Text()
    for number, style in ((well, "green"), (wasted, "red"), (refused, "cyan")):
        bar.append("█" * round(BAR * number / RATE), style)
    bar.truncate(BAR + 2)
    return bar


def _latest(some: Sequence[Change], lines: int) -> Sequence[Change]:
    """Return the last transitions that so many lines have room for, one at least."""
    shown = 0
    for change in reversed(some):
        lines -= 1 + len(change.reason) // REASON
        if shown and lines < 0:
            break
        shown += 1
    return some[len(some) - shown :]


def changes(some: Iterable[Change]) -> Table:
    """Return transitions as lines: when, to which state, of which key, and why."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column()
    for change in some:
        sign, style = STATES[change.after]
        state = Text(f"{sign} {change.after.replace('_', '-')}", style)
        # All but the ill route's are news of another kind, and rare.
        key = "" if change.key == SICK else f"{change.key}: "
        table.add_row(f"{change.at:.1f} s", state, f"{key}{change.reason}")
    return table
