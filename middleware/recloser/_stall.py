"""StallWatch: tells a slow callee from a process of ours that stood still.

A pause of the process, a handler that blocks the event loop or a storm of garbage collection makes
every call that spans it look slow, all at once. Something that is due at short intervals beats a
watch (see `Pulse`); by how much it is late is time that the process lost.
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
"""Seconds between two beats: a stall is known to within one, and nothing is slow below 50 ms unless
`slow_floor` says so. Fifty wake-ups a second cost a thousandth of a core."""
# Seconds by which the timer of a loop that stands still for nobody may be late.
_LATE = 0.005
# A beat that has been missing for longer than this many seconds will not come: its loop is closed.
_MISSING = 1.0
_REMEMBERED = 64

# Seconds: a loop that has not beaten for so long was closed.
_GIVEN_UP_AFTER = 1.0
# Beats after the last call that asked for them: for another second.
_BEATS = round(1.0 / BEAT_EVERY)


class StallWatch:
    """The stalls of late. Without beats it never sees one.

    Safe to beat from one thread and to ask from others: each store is a single one.

    Attributes:
        keep_up: Called now and then while calls come, with the time in seconds: what beats this
            watch may stop without them.
    """

    __slots__ = ("_due", "_stalls", "keep_up")

    def __init__(self) -> None:
        self.keep_up: Callable[[float], None] | None = None
        self._due = inf
        # When each ended, and how long it was; the latest last. In seconds.
        self._stalls: tuple[tuple[float, float], ...] = ()

    def beat(self, now: float, every: float = BEAT_EVERY) -> None:
        """Note that the process runs at `now` seconds, and will say so again after `every`."""
        late = now - self._due
        if late > _LATE:
            self._stalls = (*self._stalls[1 - _REMEMBERED :], (now, late))
        self._due = now + every

    def stop(self) -> None:
        """Expect no more beats, so that their absence is no stall."""
        self._due = inf

    def lost(self, started: float, now: float) -> float:
        """Seconds between two times in which the process stood still, as far as it knows."""
        late = now - self._due
        # What was woken together with the beat may run before it.
        lost = late if _LATE < late < _MISSING else 0.0
        for ended, length in reversed(self._stalls):
            if ended <= started:
                break
            lost += min(length, ended - started)
        return lost


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
