"""Races: whether a call was cancelled because another one ended, and not because it took too long.

A program may ask two callees and cancel the slower one, or stop all calls of a group when one of them
fails. Such a cancel says nothing about the callee. It looks like a time-out, though, and while it is not
known how long calls of a key take, many time-outs in a row are a hang (`_circuit/given_up.py`). What
tells them apart is that another call, which began no later, has ended at the same moment.

Calls that end without a decision leave their latency only. One that just ended, and that took as long
as the cancelled call waited, began and ended with it. Whether it just ended is not known the first time;
if the same latency is found again, nothing has ended since.

To look at all breakers takes a while where there are thousands. So that is done for at most one part in
a hundred of the time. In between, only those are looked at that have outrun a call before: the callees
of a race are the same again and again.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from recloser._circuit.votes import OUTPACED, OUTRUN, TIMED_OUT, way_of_leaving
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
# Seconds between two looks at all breakers, for each of them: a look takes two microseconds.
_PAUSE = 250e-6
_MOST_WINNERS = 16


class _Winners:
    """The breakers whose calls have outrun others of late.

    Two threads at the same time may look once too often, or forget one.
    """

    def __init__(self) -> None:
        self._clock: Callable[[], float] | None = None
        self._look_at = 0.0
        # By breaker, the latency by which it was recognized last. The object tells whether it is new.
        self._seen: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        self._winners: deque[weakref.ref[Any]] = deque(maxlen=_MOST_WINNERS)

    def has_one(self, circuit: Any, waited: float, at_once: float, now: float) -> bool:
        """Whether a call of another breaker just ended that took as long as one of this waited."""
        before = [winner for ref in tuple(self._winners) if (winner := ref()) is not None]
        if self._find(before, circuit, waited, at_once):
            return True
        if self._clock == circuit.clock and now < self._look_at:
            return False
        others = circuit.others()
        self._clock, self._look_at = circuit.clock, now + _PAUSE * len(others)
        return self._find(others, circuit, waited, at_once)

    def _find(self, others: Iterable[Any], circuit: Any, waited: float, at_once: float) -> bool:
        found = False
        for other in others:
            latency = other.last_undecided
            if not abs(latency - waited) <= at_once or other is circuit:
                continue
            if self._seen.get(other) is latency or other.clock != circuit.clock:
                continue
            self._seen[other] = latency
            found = True
            if not any(ref() is other for ref in tuple(self._winners)):
                self._winners.append(weakref.ref(other))
        return found


_winners = _Winners()


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
    if error is OUTPACED:
        return OUTPACED
    way = way_of_leaving(error)
    if way == TIMED_OUT or circuit.knows_latency:
        return way
    waited = now - started
    at_once = min(max(_AT_ONCE * waited, _SHORTEST), _LONGEST)
    for clock, began, ended in tuple(_ended):
        if clock == circuit.clock and began <= started + at_once and now - ended <= at_once:
            return OUTRUN
    return OUTRUN if _winners.has_one(circuit, waited, at_once, now) else way
