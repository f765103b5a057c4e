"""A progress bar on standard error, only where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_WIDTH = 40


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Pass items on and draw how many have passed."""
    watched = sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        if watched:
            bar = "#" * (_WIDTH * number // max(total, 1))
            print(f"\r{what} [{bar:<{_WIDTH}}] {number}/{total}", end="", file=sys.stderr)
        yield item
    if watched:
        print("\r\x1b[K", end="", file=sys.stderr)
