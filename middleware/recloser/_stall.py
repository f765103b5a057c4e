"""StallWatch: distinguishes a slow callee from our own process standing still.

A pause of the process, a handler that blocks the event loop or a long garbage collection makes all
calls in flight look slow at once. So a timer beats a watch at short intervals (see `Pulse`). If a
beat is late, the process stood still for that time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

BEAT_EVERY = 0.02
"""Seconds between two beats. A stall is measured with this precision. That is enough: with the
default `slow_floor`, nothing below 50 ms is slow. Fifty wake-ups a second cost a thousandth of a
core."""
# The timer of an event loop may be late by so many seconds without a stall.
_LATE = 0.005
# If a beat is late by more than this many seconds, its event loop was closed: there is no stall.
_MISSING = 1.0
_REMEMBERED = 64

# If an event loop has not beaten for so many seconds, it was closed, and another one takes over.
_GIVEN_UP_AFTER = 1.0
# Beats after the last call of `keep_up`: they go on for another second.
_BEATS = round(1.0 / BEAT_EVERY)


class StallWatch:
    """The recent stalls of this process. Without beats it never notices one.

    One thread may beat it while others read it, because each change is a single store.

    Attributes:
        keep_up: Called from time to time while calls are made, with the time in seconds. Without
            calls, the beats may stop. None if the watch has no pulse.
    """

    __slots__ = ("_due", "_stalls", "keep_up")

    def __init__(self) -> None:
        self.keep_up: Callable[[float], None] | None = None
        self._due = inf
        # When each stall ended, and how long it was, in seconds; the latest one last.
        self._stalls: tuple[tuple[float, float], ...] = ()

    def beat(self, now: float, every: float = BEAT_EVERY) -> None:
        """Note that the process runs at `now` seconds; the next beat is due after `every`."""
        late = now - self._due
        if late > _LATE:
            self._stalls = (*self._stalls[1 - _REMEMBERED :], (now, late))
        self._due = now + every

    def stop(self) -> None:
        """Expect no more beats, so that a missing beat is no stall."""
        self._due = inf

    def lost(self, started: float, now: float) -> float:
        """Seconds between two times in which the process stood still, as far as is known."""
        late = now - self._due
        # After a stall, this code may run before the late beat.
        lost = late if _LATE < late < _MISSING else 0.0
        for ended, length in reversed(self._stalls):
            if ended <= started:
                break
            lost += min(length, ended - started)
        return lost


# A process stands still as a whole. So all users of the same clock share one watch and one pulse.
_watches: dict[Callable[[], float], StallWatch] = {}


def watch_of(clock: Callable[[], float]) -> StallWatch:
    """The stall watch for a clock, beaten by asyncio event loops while calls are made in them.

    A clock that is not the system's has its own watch without a pulse: a test moves its clock in
    jumps, which are no stalls.
    """
    if clock is not time.perf_counter and clock is not time.monotonic:
        return StallWatch()
    watch = _watches.get(clock)
    if watch is None:
        watch = _watches.setdefault(clock, StallWatch())
        watch.keep_up = Pulse(watch, clock).keep_up
    return watch


class Pulse:
    """Beats a watch from an asyncio event loop while calls are made; under trio it does nothing.

    After a stall, asyncio runs the timers that are due before it resumes any task. So the watch has
    recorded a stall before a call that was in flight during it can end.
    """

    __slots__ = ("_beats_left", "_clock", "_look_at", "_watch")

    def __init__(self, watch: StallWatch, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._clock = clock
        self._beats_left = 0
        self._look_at = -inf

    def keep_up(self, now: float) -> None:
        """Begin to beat from the event loop of this thread, unless a loop is beating already."""
        self._beats_left = _BEATS
        if now <= self._look_at:
            return
        # Not imported here: that would double the import time of recloser. A program that runs an
        # asyncio event loop has imported it already.
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
