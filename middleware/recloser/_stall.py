"""StallWatch: tells a slow callee from a process of ours that stood still.

A pause of the process, a handler that blocks the event loop or a storm of garbage collection makes
every call that spans it look slow, all at once. Something that is due at short intervals beats a
watch (see `Pulse`); by how much it is late is time that the process lost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

BEAT_EVERY = 0.02
"""Seconds between two beats: a stall is known to within one, and nothing is slow below 50 ms unless
`slow_floor` says so. Fifty wake-ups a second cost a thousandth of a core."""
# Seconds by which the timer of a loop that stands still for nobody may be late.
_LATE = 0.005
# A beat that has been missing for longer than this many seconds will not come: its loop is closed.
_MISSING = 1.0
_REMEMBERED = 64


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
