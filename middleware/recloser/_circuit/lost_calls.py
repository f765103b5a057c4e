"""Calls that nobody can end any more, because whoever had to end them is gone.

The table of calls in flight keeps most permits alive itself, so the garbage collector ends none of
them. They are ended by the stack frame that has them. If a signal handler raises at a bytecode that no
`try` covers, such as the `return` of what admits calls, that frame is gone before it could do so. Then
the table has the only reference, which is how such a call is told from others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from recloser._circuit.in_flight import Timing
from recloser._circuit.machine import Circuit

# Missing on PyPy: there no such call is found. While nothing hangs, none is left by CPython itself.
_count_references: Callable[[object], int] | None = getattr(sys, "getrefcount", None)


def _references(table: Mapping[int, Timing]) -> list[tuple[int, Timing, int]]:
    count = _count_references
    if count is None:
        return []
    return [(token, call, count(call)) for token, call in dict(table).items()]


def _least() -> int:
    """The references that a call has, as counted above, if only a table refers to it."""
    counted = _references({1: Timing()})
    return counted[0][2] if counted else 0


_LEAST = _least()


def lost_calls(circuit: Circuit) -> list[int]:
    """The tokens of the calls in flight that nobody can end any more.

    They include tokens of which something is noted still, although their calls are not in flight.
    """
    calls = circuit.calls
    tables = (calls.voting, calls.answering, calls.overdue, *calls.outdated)
    if not any(tables) and circuit.explained is None and calls.streams is None:
        return []  # the usual case where many keys are asked, as by a scrape of the metrics
    lost = [
        token
        for table in tables
        for token, call, references in _references(table)
        if call.is_lost(is_referred=references > _LEAST)
    ]
    noted = set[int]()
    if circuit.explained is not None:
        noted.update(circuit.explained.kinds.copy())
    if calls.streams is not None:
        noted.update(calls.streams.by_token.copy())
    return lost + [token for token in noted if token not in calls]
