"""Telling a slow callee from a process of ours that stood still.

A pause of the process, a blocked event loop or a storm of garbage collection makes every call
that spans it look slow, all at once. While requests come in, a `Pulse` beats a `StallWatch` from
their event loop; a gap between two beats is a stall.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

# Ten wake-ups a second cost nothing that can be measured. A loop that is merely busy is late by
# milliseconds; a quarter of a second is a stall.
_BEAT_EVERY = 0.1
_LONGEST_BEAT = 0.35
# A loop that has not beaten for so long was closed: the next request starts another pulse.
_GIVEN_UP_AFTER = 1.0


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
        if now - self._beat_at > _LONGEST_BEAT:
            self._ended_at = now
        self._beat_at = now

    def stop(self) -> None:
        """Expect no more beats, so that their absence is no stall."""
        self._beat_at = inf

    def excuses(self, started: float, now: float) -> bool:
        """Whether a call from `started` to `now` spans a stall, and its latency says nothing."""
        return started < self._ended_at <= now


class Pulse:
    """Beats a watch from the asyncio loop that serves requests, for as long as they come.

    Under trio, and where the clock is not the system's (in tests, time moves in leaps that are no
    stalls), it does nothing.

    After a stall, asyncio runs the timers that are due before it resumes a single task: the watch
    knows of a stall before any call that spans it can end.

    Attributes:
        lives_until: A request that began after this, in seconds, is to call `start`.
        is_wanted: Set by each request; the pulse stops a beat after the last one.
    """

    __slots__ = ("_clock", "_watch", "is_wanted", "lives_until")

    def __init__(self, watch: StallWatch, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._clock = clock
        self.is_wanted = False
        is_real = clock is time.perf_counter or clock is time.monotonic
        self.lives_until = -inf if is_real else inf

    def start(self) -> None:
        """Begin to beat from the running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.lives_until = inf
            return
        self._watch.stop()
        self._beat(loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        if not self.is_wanted:
            self._watch.stop()
            self.lives_until = -inf
            return
        self.is_wanted = False
        self._watch.beat(now)
        self.lives_until = now + _GIVEN_UP_AFTER
        loop.call_later(_BEAT_EVERY, self._beat, loop)
