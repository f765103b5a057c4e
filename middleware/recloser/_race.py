"""Races: whether a call was cancelled because another one ended, and not because it took too long.

A program may ask two callees and cancel the slower one, or stop all calls of a group when one of them
fails. Such a cancel says nothing about the callee. It looks like a time-out, though, and while it is not
known how long calls of a key take, many time-outs in a row are a hang (`_circuit/given_up.py`). What
tells them apart is that another call, which began no later, has ended at the same moment.

Calls that end without a decision leave their latency only. One that just ended, and that took as long
as the cancelled call waited, began and ended with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from recloser._circuit.votes import OUTRUN, TIMED_OUT, way_of_leaving
from recloser._outcome import Outcome

# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_CANCELLED = Outcome.CANCELLED
# The moment, as a part of the wait, and its limits in seconds. Between the end of one call and the
# cancel of the other there are two steps of the event loop.
_AT_ONCE = 0.1
_SHORTEST, _LONGEST = 0.002, 0.05
# The last calls that ended by a decision: the clock of the breaker, the begin and the end in seconds.
# An append is atomic, so threads need no lock.
_ended: deque[tuple[Callable[[], float], float, float]] = deque(maxlen=16)


def note_end(clock: Callable[[], float], started: float, now: float, outcome: Outcome) -> None:
    """Note a call that ends by a decision, unless it was cancelled."""
    if outcome is not _CANCELLED:
        _ended.append((clock, started, now))


def how_it_left(circuit: Any, error: object, started: float, now: float) -> str:
    """How a call was cancelled: as `way_of_leaving`, or `OUTRUN`.

    Args:
        circuit: The `OperableCircuit` of the call. Once it knows how long its calls take, it need not
            be known what has ended before.
        error: What cancelled it, as for `way_of_leaving`.
        started: When it began, in seconds.
        now: Seconds.
    """
    way = way_of_leaving(error)
    if way == TIMED_OUT or circuit.knows_latency:
        return way
    waited = now - started
    at_once = min(max(_AT_ONCE * waited, _SHORTEST), _LONGEST)
    for clock, began, ended in tuple(_ended):
        if clock == circuit.clock and began <= started + at_once and now - ended <= at_once:
            return OUTRUN
    for other in circuit.others():
        if other is not circuit and abs(other.last_undecided - waited) <= at_once:
            return OUTRUN
    return way
