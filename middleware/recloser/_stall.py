"""StallWatch: tells a slow callee from a process of ours that stood still.

A pause of the process, a blocked event loop or a storm of garbage collection makes every call
that spans it look slow, all at once. Something that runs at short intervals beats a watch (see
`Pulse`); a gap between two beats is a stall.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

BEAT_EVERY = 0.1
"""Seconds between two beats: ten wake-ups a second cost nothing that can be measured."""
# A loop that is merely busy is late by milliseconds; a quarter of a second is a stall.
_LONGEST_BEAT = BEAT_EVERY + 0.25


class StallWatch:
    """Beats, and the end of the last gap between them. Without beats it never sees a stall.

    Safe to beat from one thread and to ask from others: each store is a single one.

    Attributes:
        keep_up: Called now and then while calls come, with the time in seconds: what beats this
            watch may stop without them.
    """

    __slots__ = ("_beat_at", "_ended_at", "keep_up")

    def __init__(self) -> None:
        self.keep_up: Callable[[float], None] | None = None
        self._beat_at = inf
        self._ended_at = -inf

    def beat(self, now: float) -> None:
        """Note that the process runs at `now` seconds."""
        if now - self._beat_at > _LONGEST_BEAT:
            self._ended_at = now
        self._beat_at = now

    def stop(self) -> None:
        """Expect no more beats, so that their absence is no stall."""
        self._beat_at = inf

    def excuses(self, started: float, now: float) -> bool:
        """Whether a call from `started` to `now` spans a stall, and its latency says nothing."""
        return started < self._ended_at <= now
