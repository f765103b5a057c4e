"""The output on a terminal, drawn with rich while the demo runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters._command.demo.plan import (
    AFFECTED,
    ARMS,
    DASHBOARD,
    INTRODUCTION,
    PHASES,
    RATE,
    ROUTES,
    Phase,
    schedule,
)
from recloser_adapters._command.demo.record import Change, Record

REDRAW_PER_SECOND = 8
STATES = {
    "closed": ("●", "green"),
    "limited": ("◑", "cyan"),
    "open": ("■", "bold red"),
    "half_open": ("◐", "yellow"),
}
PHASE_STYLES = {"healthy": "green", "hanging": "red", "failing": "red", "slow": "yellow"}
BAR = 25  # columns for RATE calls per second
# Lines of the picture without the sentence and the transitions, lines of the sentence at most, and
# columns for the reason of a transition.
OTHER_LINES = 17
SENTENCE_LINES = 3
REASON = 56
TIMELINE = 63  # columns
WIDTH = 78


class LiveScreen:
    """Redraws the whole picture in place, a few times per second.

    Args:
        console: The terminal.
        seconds: Length of the schedule.
        urls: URL of each app.
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

    def draw(self, record: Record) -> None:
        """Draw the picture again, if the last drawing is old enough."""
        if record.now < self._drawn + 1 / REDRAW_PER_SECOND:
            return
        self._drawn = record.now
        self._live.update(self._picture(record), refresh=True)

    def _picture(self, record: Record) -> RenderableType:
        return picture(record, self._seconds, self._urls, self._live.console.height)


def picture(
    record: Record, seconds: float, urls: Mapping[str, str], height: int = 30
) -> RenderableType:
    """Return the record as one picture for a terminal of 80 columns and `height` lines.

    Before the first outage, what the two halves show stands where the transitions will be.
    """
    why = [] if _begins(record) else _why(record)
    room = height - OTHER_LINES - len(why)
    return Padding(
        Group(
            _title(urls),
            Text(),
            _timeline(record, seconds),
            _phase_names(seconds),
            _upstream(record),
            Text(),
            Text("The app with recloser: its breakers", "bold"),
            _keys(record),
            *why,
            Text(),
            _apps(record),
            Text(),
            _introduction() if _begins(record) else changes(_latest(record.changes, room)),
        ),
        (1, 1, 0, 1),
    )


def _title(urls: Mapping[str, str]) -> Text:
    # The last URL is the one to look at, if there is a dashboard.
    dashboard = urls.get(DASHBOARD)
    return Text.assemble(
        ("recloser demo", "bold"),
        (f"  {dashboard}" if dashboard else ": two equal apps", "" if dashboard else "dim"),
        (f"  {RATE:g} requests per second to each", "dim"),
    )


def _begins(record: Record) -> bool:
    return len(record.phases) <= 1 and not record.changes


def _introduction() -> Text:
    lines = (
        line
        for sentence in INTRODUCTION
        for line in textwrap.wrap(sentence, WIDTH, subsequent_indent="  ")
    )
    return Text("\n").join(Text(line) for line in lines)


def _cells(phase: Phase, seconds: float) -> int:
    return round(TIMELINE * phase.seconds / seconds)


def _timeline(record: Record, seconds: float) -> Text:
    line = Text()
    begun = 0.0
    for phase in schedule(seconds):
        cells = _cells(phase, seconds)
        for cell in range(cells):
            done = record.now >= begun + phase.seconds * cell / cells
            line.append("━" if done else "─", PHASE_STYLES[phase.name] if done else "dim")
        begun += phase.seconds
    return line.append(f" {min(record.now, seconds):4.1f} of {seconds:g} s", "dim")


def _phase_names(seconds: float) -> Text:
    names = (phase.name.ljust(_cells(phase, seconds)) for phase in schedule(seconds))
    return Text("".join(names), "dim")


def _upstream(record: Record) -> Text:
    style = PHASE_STYLES[record.phase]
    return Text.assemble(
        "the orders' upstream is ",
        (record.phase, f"bold {style}"),
        (f": {PHASES[record.phase]}", "dim"),
    )


def _keys(record: Record) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.header_style = "dim"
    table.add_column("breaker", min_width=19)
    table.add_column("state", min_width=11)
    for name in ("good", "bad", "refused", "in flight", "median", "slow at"):
        table.add_column(name, justify="right")
    known = {each["key"]: each for each in record.keys}
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


def _why(record: Record) -> list[Text]:
    """The sentence of the affected route, in a few lines."""
    sentence = next((key["explained"] for key in record.keys if key["key"] == ROUTES[0]), "")
    lines = textwrap.wrap(sentence, WIDTH, initial_indent="now: ", max_lines=SENTENCE_LINES)
    return [Text(line, "italic") for line in lines]


def _apps(record: Record) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=13)
    table.add_column(width=BAR + 2)
    for _ in range(4):
        table.add_column(justify="right", min_width=7)
    heads = ("in the last second", "well", "wasted", "refused", "waiting")
    table.add_row(Text("Both apps", "bold"), *(Text(head, "dim") for head in heads))
    for arm, name in ARMS.items():
        table.add_row(name, *_app_cells(record, arm))
    return table


def _app_cells(record: Record, arm: str) -> list[Text]:
    well, wasted, refused = record.last_second(arm)
    waiting = record.waiting[arm]
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


def _latest(some: Sequence[Change], lines: int) -> list[Change]:
    """Return the last transitions that fit into `lines` lines; the reason of the first may be cut."""
    shown: list[Change] = []
    for change in reversed(some):
        text = textwrap.wrap(f"{_route(change)}{change.reason}", REASON, max_lines=max(1, lines))
        lines -= len(text)
        if shown and (lines < 0 or text[-1].endswith("[...]")):
            break
        reason = " ".join(text).removeprefix(_route(change))
        shown.insert(0, replace(change, reason=reason))
    return shown


def _route(change: Change) -> str:
    # Most transitions are those of the affected route, so its key is left out.
    return "" if change.key == AFFECTED else f"{change.key}: "


def changes(some: Iterable[Change]) -> Table:
    """Return transitions as lines: time, new state, key and reason."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column()
    for change in some:
        sign, style = STATES[change.after]
        state = Text(f"{sign} {change.after.replace('_', '-')}", style)
        table.add_row(f"{change.at:.1f} s", state, f"{_route(change)}{change.reason}")
    return table
