"""A progress bar on standard error, only if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_WIDTH = 40


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items, and draw how many of them are done."""
    watched = sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        if watched:
            bar = "#" * (_WIDTH * number // max(total, 1))
            print(f"\r{what} [{bar:<{_WIDTH}}] {number}/{total}", end="", file=sys.stderr)
        yield item
    if watched:
        print("\r\x1b[K", end="", file=sys.stderr)
