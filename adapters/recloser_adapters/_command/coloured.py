"""Shows the lines of `recloser status` in colours, with rich."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from recloser_adapters._command.status import Screen
from recloser_adapters._command.table import Line, cropped


@contextmanager
def coloured_screen(*, whole: bool) -> Generator[Screen, None, None]:
    """Yield what shows lines; `whole` if it uses the whole terminal, which comes back afterwards."""
    console = Console(highlight=False)
    if not whole:
        yield _Printer(console)
        return
    with Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        yield _Picture(live)


def _text(line: Line) -> Text:
    # Not markup: a key may look like it.
    return Text.assemble(*line, no_wrap=True, overflow="ellipsis")


class _Printer:
    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, lines: list[Line]) -> None:
        for line in lines:
            self._console.print(_text(line), soft_wrap=True)


class _Picture:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, lines: list[Line]) -> None:
        fitting = cropped(lines, self._live.console.height)
        self._live.update(Text("\n").join(map(_text, fitting)), refresh=True)
