"""Pulse: beats the stall watch from the event loop in which calls are made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from recloser._stall import BEAT_EVERY, StallWatch

if TYPE_CHECKING:
    import asyncio

# Seconds: a loop that has not beaten for so long was closed.
_GIVEN_UP_AFTER = 1.0
# Beats after the last call that asked for them: for another second.
_BEATS = round(1.0 / BEAT_EVERY)


# A process stands still as a whole, so all who use a clock share a watch, and a pulse.
_watches: dict[Callable[[], float], StallWatch] = {}


def watch_of(clock: Callable[[], float]) -> StallWatch:
    """The stall watch for a clock, beaten from asyncio loops while calls are made in them.

    A clock that is not the system's has a watch of its own without a pulse: in tests, time moves
    in leaps that are no stalls.
    """
    if clock is not time.perf_counter and clock is not time.monotonic:
        return StallWatch()
    watch = _watches.get(clock)
    if watch is None:
        watch = _watches.setdefault(clock, StallWatch())
        watch.keep_up = Pulse(watch, clock).keep_up
    return watch


class Pulse:
    """Beats a watch from an asyncio loop while calls come; under trio it does nothing.

    After a stall, asyncio runs the timers that are due before it resumes a single task: the watch
    knows of a stall before any call that spans it can end.
    """

    __slots__ = ("_beats_left", "_clock", "_look_at", "_watch")

    def __init__(self, watch: StallWatch, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._clock = clock
        self._beats_left = 0
        self._look_at = -inf

    def keep_up(self, now: float) -> None:
        """Begin to beat from the loop of this thread, if that is not being done."""
        self._beats_left = _BEATS
        if now <= self._look_at:
            return
        # Not imported: that is as much as all that importing recloser costs, and who runs a loop of
        # it has done so.
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._watch.stop()
        self._beat(loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        if not self._beats_left:
            self._watch.stop()
            self._look_at = -inf
            return
        self._beats_left -= 1
        self._watch.beat(now)
        self._look_at = now + _GIVEN_UP_AFTER
        loop.call_later(BEAT_EVERY, self._beat, loop)
