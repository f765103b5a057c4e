"""What `flask recloser status` and `manage.py recloser status` print of the routes of an application."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from recloser import Mode
from recloser_adapters._routes.rows import Row

_MEANING: Final = {
    Mode.ENFORCE: "",
    Mode.OBSERVE: ": nothing is refused",
    Mode.DISABLED: ": nothing is guarded",
}


def status_report(rows: list[Row], *, enabled: bool, mode: Mode) -> dict[str, Any]:
    """The rows as values for JSON."""
    return {
        "enabled": enabled,
        "mode": mode.value,
        "process": os.getpid(),
        "keys": [row.report() for row in rows],
    }


def status_lines(rows: list[Row], *, mode: Mode, key: object, exempt: object) -> Iterator[str]:
    """The rows as lines.

    Args:
        rows: The rows.
        mode: The mode of the breakers.
        key: The user's function that makes the keys; None if they are made from routes.
        exempt: The user's function that says what is exempt; anything else if there is none.
    """
    for line in _lines(rows, mode, key, exempt):
        # A key may contain text from a client, so control sequences and line breaks are escaped.
        yield "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def _lines(rows: list[Row], mode: Mode, key: object, exempt: object) -> Iterator[str]:
    yield f"mode {mode.value}{_MEANING[mode]}"
    width = max((len(row.key) for row in rows), default=0)
    for row in rows:
        yield f"{row.key:<{width}}  {row.state:<9}  {row.sentence()}"
    if key is not None:
        yield f"Requests are named by {_name(key)}: only keys that were used are listed."
    if callable(exempt):
        yield f"{_name(exempt)} says which requests are exempt: no rule is listed as exempt."
    yield (
        "Each process has its own breakers. These are the breakers of the process of this command; "
        "--url shows those of a process that serves."
    )


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
