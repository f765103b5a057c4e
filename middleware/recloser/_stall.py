"""StallWatch: tells a slow callee from a process of ours that stood still.

A pause of the process, a blocked event loop or a storm of garbage collection makes every call
that spans it look slow, all at once. Something that should run at short intervals beats this
watch (the ASGI middleware does, from the event loop); a gap between beats is a stall.
"""

from __future__ import annotations

from math import inf

BEAT_EVERY = 0.1
"""Seconds between two beats: ten wake-ups a second cost nothing that can be measured."""
# A loop that is merely busy is late by milliseconds. A quarter of a second is a stall, and below
# the slow threshold of most calls that it could spoil.
_TOLERATED = 0.25


class StallWatch:
    """Beats, and the end of the last gap between them. Without beats it never sees a stall.

    Safe to beat from one thread and to ask from others: each store is a single one.
    """

    __slots__ = ("_beat_at", "_ended_at")

    def __init__(self) -> None:
        self._beat_at = inf
        self._ended_at = -inf

    def beat(self, now: float) -> None:
        """Note that the process runs at `now` seconds."""
        if now - self._beat_at > BEAT_EVERY + _TOLERATED:
            self._ended_at = now
        self._beat_at = now

    def stop(self) -> None:
        """Expect no more beats, so that their absence is no stall."""
        self._beat_at = inf

    def excuses(self, started: float, now: float) -> bool:
        """Whether a call from `started` to `now` spans a stall, and its latency says nothing."""
        # After a stall, callbacks of calls may run before the beat that is due as well.
        return started < self._ended_at or now - self._beat_at > BEAT_EVERY + _TOLERATED
