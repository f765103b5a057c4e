"""Pulse: beats the stall watch from the event loop that serves requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

from recloser._stall import BEAT_EVERY, StallWatch

# A loop that has not beaten for so long was closed: the next request starts another pulse.
_GIVEN_UP_AFTER = 1.0


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
        loop.call_later(BEAT_EVERY, self._beat, loop)
