"""Patience: repeats a statement while another process has the lock, until a deadline.

SQLite can wait itself, but the longer it has waited, the more rarely it looks: eight processes that
write all the time let some of them wait for more than 0.2 s. And one method, which may consist of
several statements, has one deadline.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from random import uniform
from typing import Any, TypeVar

from recloser_adapters.sqlite._native import native

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.0005, 0.002  # seconds, of a pause


def code_of(error: BaseException) -> int:
    """The primary result code of an error of SQLite; 0 if it has none."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0


def patiently(do: Callable[[], T], deadline: float) -> T:
    """Do it until it is not told that the file is locked.

    Args:
        do: Called once at least.
        deadline: When to give up, by the monotonic clock.

    Raises:
        sqlite3.Error: What it raises, also that the file is locked.
    """
    longest = _SHORTEST
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        native("time", "sleep")(uniform(0.0, longest))
        longest = min(1.5 * longest, _LONGEST)


def execute(
    db: sqlite3.Connection, sql: str, values: Mapping[str, Any], deadline: float
) -> sqlite3.Cursor:
    """Execute one statement, which may wait for locks until the deadline."""
    return patiently(lambda: db.execute(sql, values), deadline)
