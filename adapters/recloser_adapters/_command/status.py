"""`recloser status` and `recloser fleet status`: show what is asked for, once or again and again."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from recloser_adapters._command.dashboard_api import NO_ANSWER, CommandError
from recloser_adapters._command.table import Line, cropped

EVERY = 2.0
"""Seconds between two looks, if nothing else is said."""


class Screen(Protocol):
    """Shows lines, each time in place of the ones before if it can."""

    def show(self, lines: list[Line]) -> None:
        """Show lines."""


class Ask(Protocol):
    """Asks for what is shown."""

    def __call__(self, *, news_only: bool = False) -> dict[str, Any] | None:
        """Return the answer; with `news_only`, None if nothing has changed."""


LinesOf = Callable[[Mapping[str, Any], int | None], list[Line]]
"""Makes lines of an answer for a terminal of so many columns, None for any length."""


def show_status(
    ask: Ask, lines_of: LinesOf, *, as_json: bool = False, every: float | None = None
) -> None:
    """Print what a dashboard or a store tells.

    Args:
        ask: Asks for it.
        lines_of: Makes the lines of it.
        as_json: Print the answer as JSON, on one line each time if it is printed again.
        every: Seconds between two looks, > 0; None to look once. It goes on until Ctrl-C.

    Raises:
        CommandError: The first look failed, or a later one was refused.
    """
    view = ask()
    if view is None:
        raise AssertionError("the first answer is never one of no change")
    if as_json:
        print(json.dumps(view, indent=2 if every is None else None), flush=True)
        if every is not None:
            _follow_as_json(ask, every)
    elif every is None:
        with _screen(whole=False) as screen:
            screen.show(lines_of(view, _width()))
    else:
        with _screen(whole=True) as screen:
            _follow(ask, lines_of, view, every, screen)


def _follow_as_json(ask: Ask, every: float) -> None:
    while True:
        time.sleep(every)
        try:
            view = ask(news_only=True)
        except CommandError as error:
            if error.status != NO_ANSWER:
                raise
            print(f"recloser: {error}", file=sys.stderr, flush=True)
            continue
        if view is not None:
            print(json.dumps(view), flush=True)


def _follow(
    ask: Ask, lines_of: LinesOf, view: dict[str, Any], every: float, screen: Screen
) -> None:
    note = ""
    while True:
        lines = lines_of(view, _width())
        if note:
            # Said first, since the end may not be on the screen.
            lines = [[(f"out of date: {note}", "bold red")], *lines]
        screen.show(lines)
        time.sleep(every)
        try:
            view, note = ask(news_only=True) or view, ""
        except CommandError as error:
            # A server that is deployed anew is away for a moment; one that refuses will go on so.
            if error.status != NO_ANSWER:
                raise
            note = str(error)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def _screen(*, whole: bool) -> Generator[Screen, None, None]:
    """Yield what shows lines; `whole` if it may use the whole terminal."""
    if not sys.stdout.isatty():
        yield PlainScreen()
    elif find_spec("rich") is None:
        yield PlainScreen(clears=whole)
    else:
        from recloser_adapters._command.coloured import coloured_screen

        with coloured_screen(whole=whole) as screen:
            yield screen


class PlainScreen:
    """Prints lines without colours.

    Args:
        clears: Whether the terminal is cleared before.
    """

    def __init__(self, *, clears: bool = False) -> None:
        self._clears = clears

    def show(self, lines: list[Line]) -> None:
        """Print the lines; on a terminal as many as there is room for."""
        if self._clears:
            print("\x1b[H\x1b[2J", end="")
            # The cursor takes the last line.
            lines = cropped(lines, shutil.get_terminal_size().lines - 1)
        print("\n".join("".join(piece for piece, _ in line) for line in lines), flush=True)
