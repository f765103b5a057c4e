"""StallWatch: distinguishes a slow callee from our own process standing still.

A handler that blocks its event loop makes all other calls in that loop look slow. A pause of the
whole process (SIGSTOP, a long garbage collection, C code that keeps the global interpreter lock)
does so everywhere. So each asyncio event loop in which calls are made beats at short intervals. If
a beat is late, that loop stood still for that time. Whose stall excuses which call?

- A loop's stall excuses the calls in that loop, and no others. It does not excuse the call that
  blocks the loop: one that began and ends in the same turn of the loop did not wait for anything.
  One that also waited, before it blocked the loop, looks like those that it held up; it is blamed
  if stall after stall a call of the same key is the first that ends. One that waits once more
  afterwards cannot be told from them.
- A stall in which nothing else in the process ran either excuses every call, in threads too. What
  blocks a thread alone is that thread's own work.
- An excuse is never longer than the part of the stall in which the call waited.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
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
# If a beat by hand is late by more than this many seconds, there will be no more: it is no stall.
_MISSING = 1.0
# If an event loop's beat is late by so many seconds, the next call in it does not wait for it.
_GIVEN_UP_AFTER = 1.0
# A loop that stands still for longer than this many seconds excuses no calls of others any more.
_DEAD = 30.0
_REMEMBERED = 64
# A key whose call is the first to end in so many stalls in a row, causes them.
_IN_A_ROW = 3

# Beats after the last call of `keep_up`: they go on for another second.
_BEATS = round(1.0 / BEAT_EVERY)


class Beats:
    """When something that beats at intervals stood still.

    One thread may beat while others read, because each change is a single store.
    """

    __slots__ = ("_due", "_stalls")

    def __init__(self) -> None:
        self._due = inf
        # When each stall ended, and how long it was, in seconds; the latest one last.
        self._stalls: tuple[tuple[float, float], ...] = ()

    def beat(self, now: float, every: float = BEAT_EVERY) -> float:
        """Note that it runs at `now` seconds; the next beat is due after `every`.

        Returns:
            Seconds by which the beat was late; 0.0 if it was in time.
        """
        late = now - self._due
        self._due = now + every
        if late <= _LATE:
            return 0.0
        self._note(now, late)
        return late

    def _note(self, ended: float, length: float) -> None:
        self._stalls = (*self._stalls[1 - _REMEMBERED :], (ended, length))

    def stop(self) -> None:
        """Expect no more beats, so that a missing beat is no stall."""
        self._due = inf

    def _recorded(self, started: float, until: float) -> float:
        """Seconds between two times in which it stood still, as far as beats came after it."""
        lost = 0.0
        for ended, length in reversed(self._stalls):
            if ended <= started:
                break
            lost += max(0.0, min(ended, until) - max(ended - length, started))
        return lost


class StallWatch(Beats):
    """The recent stalls of this process, and of its event loops. Without beats it notices none.

    `beat` and `stop` are for a process that is watched by hand: they concern all of it.

    Args:
        clock: The clock by which loops beat; None if they do not.

    Attributes:
        keep_up: Called from time to time while calls are made, with the time in seconds, where they
            are made. Without calls, the beats may stop. None if no loops beat.
    """

    __slots__ = ("_clock", "_loops", "_thread_ran_at", "keep_up")

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__()
        self._clock = clock
        # By the id of the loop.
        self._loops: dict[int, Pulse] = {}
        self._thread_ran_at = -inf
        self.keep_up: Callable[[float], None] | None = None if clock is None else self._keep_up

    def lost(self, started: float, now: float, until: float = inf, who: int = 0) -> float:
        """Seconds that a call lost, for which the code that runs now is about to end it.

        Args:
            started: When the call began, in seconds.
            now: Seconds.
            until: When its answer began, if that was before.
            who: A number that calls of the same key have in common; 0 if it is not known.
        """
        until = min(until, now)
        lost = self._lost_by_all(started, now, until)
        loop = _running_loop()
        if loop is None:
            lost = max(lost, self._held_everywhere(started, now, until))
        else:
            pulse = self._loops.get(id(loop))
            if pulse is not None and pulse.loop() is loop:
                lost = max(lost, pulse.lost_to_others(started, now, until, who))
        return min(lost, max(0.0, until - started))

    def lost_anywhere(self, started: float, now: float) -> float:
        """Seconds that a call in flight may have lost, whatever loop or thread it is in."""
        lost = self._lost_by_all(started, now, now)
        for pulse in [*self._loops.values()]:
            lost = max(lost, pulse.lost(started, now))
        return min(lost, max(0.0, now - started))

    def _lost_by_all(self, started: float, now: float, until: float) -> float:
        late = now - self._due
        # After a stall, this code may run before the late beat.
        pending = until - max(self._due, started) if _LATE < late < _MISSING else 0.0
        return self._recorded(started, until) + max(0.0, pending)

    def _held_everywhere(self, started: float, now: float, until: float) -> float:
        """Seconds since which no loop has beaten, if there are loops that should."""
        late = [pulse.late(now) for pulse in [*self._loops.values()]]
        held = min((each for each in late if each > -inf), default=0.0)
        if held <= _LATE or self._thread_ran_within(now - held, now):
            return 0.0
        return max(0.0, until - max(now - held, started))

    def _thread_ran_within(self, began: float, ended: float) -> bool:
        # At both ends, it may have run just before, or just after, the rest.
        return began + _LATE < self._thread_ran_at < ended - _LATE

    def _keep_up(self, now: float) -> None:
        """Begin to beat from the event loop that runs in this thread, if there is one."""
        loop = _running_loop()
        if loop is None:
            self._thread_ran_at = now
            return
        pulse = self._loops.get(id(loop))
        if pulse is None or pulse.loop() is not loop:
            for key, each in [*self._loops.items()]:
                if each.is_over:
                    self._loops.pop(key, None)
            pulse = self._loops[id(loop)] = Pulse(self, loop, self._clock or time.perf_counter)
        pulse.keep_up(now)

    def note_stall_of(self, pulse: Pulse, ended: float, length: float) -> None:
        """Note that a loop stood still for `length` seconds: perhaps the whole process did."""
        began = ended - length
        if self._thread_ran_within(began, ended):
            return
        for other in [*self._loops.values()]:
            if other is not pulse and other.ran_within(began, ended):
                return
        if self._recorded(began, ended) < 0.5 * length:  # otherwise another loop has noted it
            self._note(ended, length)

    def forget_loops(self) -> None:
        """Forget the loops, in a child process: they run in the parent."""
        self._loops.clear()
        self.stop()


class Pulse(Beats):
    """The beats of one asyncio event loop, which go on while calls are made in it.

    After a stall, asyncio runs the timers that are due before it resumes any task that was not
    ready before. So a stall is usually noted before a call that it held up can end.

    Args:
        watch: The watch of the process.
        loop: The event loop.
        clock: Returns seconds.

    Attributes:
        loop: Returns the event loop, None if it is gone.
    """

    __slots__ = (
        "_beats_left",
        "_clock",
        "_in_a_row",
        "_ran_at",
        "_suspect",
        "_suspected_at",
        "_timer",
        "_turn_since",
        "_watch",
        "loop",
    )

    def __init__(
        self, watch: StallWatch, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._watch = watch
        self._clock = clock
        self._beats_left = 0
        # When code of ours ran in this loop last, as far as is known.
        self._ran_at = -inf
        # A call that began later than this did so in the present turn of the loop.
        self._turn_since = inf
        # The key whose call ended first in the last stalls, in how many in a row, and when the beat
        # was due in the last of them.
        self._suspect = self._in_a_row = 0
        self._suspected_at = -inf
        # The number of the timer that is set. Not the timer: it would keep the loop.
        self._timer = 0
        self.loop: weakref.ref[asyncio.AbstractEventLoop] = weakref.ref(loop)

    @property
    def is_over(self) -> bool:
        """Whether the loop is closed or gone."""
        loop = self.loop()
        return loop is None or loop.is_closed()

    def keep_up(self, now: float) -> None:
        """Go on for another second from `now` seconds on. Called in the loop."""
        self._beats_left = _BEATS
        if now - self._due > _GIVEN_UP_AFTER or self._due == inf:
            self._beat_at(now)
        self._ran_at = now
        loop = self.loop()
        if loop is not None and self._turn_since == inf:
            # It runs in the next turn, before anything that is made ready from now on. Set after
            # that: a signal handler that raises in between leaves nothing set.
            loop.call_soon(self._end_turn)
            self._turn_since = now

    def _end_turn(self) -> None:
        self._turn_since = inf

    def _beat(self, timer: int) -> None:
        if timer == self._timer:  # otherwise it was given up
            self._beat_at(self._clock())

    def _beat_at(self, now: float) -> None:
        due = self._due
        late = self.beat(now)
        self._ran_at = now
        if late:
            if self._suspected_at != due:
                self._in_a_row = 0
            self._watch.note_stall_of(self, now, late)
        self._timer += 1
        loop = self.loop()
        if loop is None or not self._beats_left:
            self.stop()
            return
        self._beats_left -= 1
        loop.call_later(BEAT_EVERY, self._beat, self._timer)

    def late(self, now: float) -> float:
        """Seconds by which the next beat is late; minus infinity if none is due."""
        late = now - self._due
        if late <= 0.0 or late > _DEAD:
            return late if late <= 0.0 else -inf
        loop = self.loop()
        # A loop that is not running, between two calls of `run_until_complete`, has no stall.
        return late if loop is not None and loop.is_running() else -inf

    def lost(self, started: float, now: float) -> float:
        """Seconds between two times in which it stood still."""
        pending = now - max(self._due, started) if self.late(now) > _LATE else 0.0
        return self._recorded(started, now) + max(0.0, pending)

    def lost_to_others(self, started: float, now: float, until: float, who: int) -> float:
        """Seconds that a call lost to others; see `StallWatch.lost`."""
        lost = self._recorded(started, until)
        if now - self._due > _LATE:
            if not self._is_to_blame(started, who):
                lost += max(0.0, until - max(self._due, started))
            self._ran_at = now
        return lost

    def _is_to_blame(self, started: float, who: int) -> bool:
        """Whether a call that ends while a beat is overdue has held the loop itself."""
        if self._turn_since <= started:
            return True
        due = self._due
        if self._ran_at > max(due, started) or started <= due - BEAT_EVERY:
            return False  # another call was first, or it has waited for long
        if self._suspected_at != due:
            self._in_a_row = self._in_a_row + 1 if who == self._suspect else 1
            self._suspect, self._suspected_at = who, due
        return who == self._suspect and self._in_a_row >= _IN_A_ROW

    def ran_within(self, began: float, ended: float) -> bool:
        """Whether it beat between two times, though another loop did not."""
        return self._due < inf and self.lost(began, ended) < 0.5 * (ended - began)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    # Not imported here: that would double the import time of recloser. A program that runs an
    # asyncio event loop has imported it already.
    events = sys.modules.get("asyncio.events")
    # Unlike get_running_loop(), it does not raise where there is none.
    running = getattr(events, "_get_running_loop", None)
    return None if running is None else running()


# A process stands still as a whole. So all users of the same clock share one watch.
_watches: dict[Callable[[], float], StallWatch] = {}


def watch_of(clock: Callable[[], float]) -> StallWatch:
    """The stall watch for a clock, beaten by asyncio event loops while calls are made in them.

    A clock that is not the system's has its own watch, and no loop beats it: a test moves its clock
    in jumps, which are no stalls.
    """
    if clock is not time.perf_counter and clock is not time.monotonic:
        return StallWatch()
    watch = _watches.get(clock)
    return _watches.setdefault(clock, StallWatch(clock)) if watch is None else watch


def _after_fork() -> None:
    for watch in _watches.values():
        watch.forget_loops()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
