"""The show on a terminal, drawn with rich: live while it runs, and the summary at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters.demo.plan import ARMS, BARE, GUARDED, PHASES, RATE, ROUTES, schedule
from recloser_adapters.demo.story import Change, Story

REDRAW_PER_SECOND = 8
STATES = {
    "closed": ("●", "green"),
    "open": ("■", "bold red"),
    "half_open": ("◐", "yellow"),
}
PHASE_STYLES = {"healthy": "green", "hanging": "red", "failing": "red", "slow": "yellow"}
BAR = 28  # columns for RATE calls a second
CHANGES_SHOWN = 6


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
        self._live.update(picture(story, self._seconds, self._urls), refresh=True)


def picture(story: Story, seconds: float, urls: Mapping[str, str]) -> RenderableType:
    """Return what is known now, as one picture of at most 24 lines by 80 columns."""
    parts: list[RenderableType] = [
        _title(urls),
        _timeline(story, seconds),
        _upstream(story),
        Text(),
        _keys(story),
        _why(story),
        Text(),
        _apps(story),
        Text(),
        *_changes(story),
    ]
    return Padding(Group(*parts), (0, 1))


def _title(urls: Mapping[str, str]) -> Text:
    return Text.assemble(
        ("recloser demo", "bold"),
        (f"  {RATE:g} requests/s to each of two apps, one with breakers: ", "dim"),
        (urls.get(GUARDED, "").removeprefix("http://"), "dim"),
    )


def _timeline(story: Story, seconds: float) -> Text:
    width = 66
    line = Text()
    begun = 0.0
    for phase in schedule(seconds):
        cells = round(width * phase.seconds / seconds)
        for cell in range(cells):
            done = story.now >= begun + phase.seconds * cell / cells
            line.append("━" if done else "─", PHASE_STYLES[phase.name] if done else "dim")
        begun += phase.seconds
    left = f"  {min(story.now, seconds):4.1f} of {seconds:g} s"
    return line.append(left if not story.over else "  over", "dim")


def _upstream(story: Story) -> Text:
    style = PHASE_STYLES[story.phase]
    return Text.assemble(
        "the orders' upstream is ",
        (story.phase, f"bold {style}"),
        (f": {PHASES[story.phase]}", "dim"),
    )


def _keys(story: Story) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, header_style="dim")
    table.add_column("breaker", min_width=20)
    table.add_column("state", min_width=11)
    for name in ("good", "bad", "refused", "in flight", "median", "slow from"):
        table.add_column(name, justify="right")
    known = {each["key"]: each for each in story.keys}
    for route in ROUTES:
        if route in known:
            table.add_row(*_key_cells(known[route]))
        else:
            table.add_row(route, Text("not used yet", "dim"))
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
        f"{key['median'] * 1000:.0f} ms",
        f"{key['slow_from'] * 1000:,.0f} ms",
    ]


def _why(story: Story) -> Text:
    sentence = next((key["explained"] for key in story.keys if key["key"] == ROUTES[0]), "")
    return Text.assemble(("why  ", "dim"), sentence)


def _apps(story: Story) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=13)
    table.add_column(width=BAR + 2)
    table.add_column()
    for arm, name in ARMS.items():
        well, wasted, refused = story.last_second(arm)
        table.add_row(name, _bar(well, wasted, refused), _bar_words(story, arm))
    return table


def _bar(well: int, wasted: int, refused: int) -> Text:
    bar = Text()
    for number, style in ((well, "green"), (wasted, "red"), (refused, "cyan")):
        bar.append("█" * round(BAR * number / RATE), style)
    bar.truncate(BAR + 2)
    return bar


def _bar_words(story: Story, arm: str) -> Text:
    well, wasted, refused = story.last_second(arm)
    words = Text.assemble(
        (f"{well} well", "green"), (f"  {wasted} wasted", "red" if wasted else "dim")
    )
    if arm == GUARDED:
        words.append(f"  {refused} refused", "cyan" if refused else "dim")
    waiting = story.waiting[arm]
    many = arm == BARE and waiting > RATE / 2
    return words.append(f"  {waiting} waiting", "bold red" if many else "dim")


def _changes(story: Story) -> list[Text]:
    return [change_line(change) for change in story.changes[-CHANGES_SHOWN:]]


def change_line(change: Change) -> Text:
    """Return a transition as one line."""
    sign, style = STATES[change.after]
    line = Text.assemble(
        (f"{change.at:5.1f} s  ", "dim"),
        (f"{sign} {change.after.replace('_', '-')}", style),
        (f"  {change.key}  ", "dim"),
        change.reason,
    )
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line
