"""The thread of a fleet: it runs the turns of a member, and sleeps in between.

There is one for each registry with a store. It begins with the first call that needs a decision, not
when the registry is made: a thread that a server starts before it forks its workers would be missing in
all of them. In a forked process it begins again. It is a thread of the operating system under gevent
too, so that a store that hangs stops no greenlet.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

from recloser._fleet.member import Member
from recloser._fleet.store import Store

# At most this many seconds between two turns.
_LONGEST_WAIT = 1.0
# After a fault of our own: seconds until the next turn.
_AFTER_FAULT = 1.0
# Where the thread could not begin, for want of file descriptors or threads: seconds until it is tried
# again. Each call would try it otherwise.
_START_AGAIN = 1.0
# The end of the process waits for this many seconds at most until what was learned is kept.
_LEAVES_WITHIN = 0.25
_LONGEST_LEAVE = 3600.0  # seconds: a lock cannot wait for much longer


def _native(module: str, name: str) -> Any:
    """A function of the standard library as it was before gevent replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        with suppress(Exception):
            return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


def _make_hub() -> None:
    """Let gevent make the hub of this thread now, if it has replaced what threads use.

    It imports modules meanwhile. If another thread imported some at that moment, both could wait for
    the other one's import lock for ever.
    """
    gevent = sys.modules.get("gevent")
    if gevent is not None and "gevent.monkey" in sys.modules:
        with suppress(Exception):
            gevent.get_hub()


class _Pipe:
    """What wakes the thread. It is closed when nobody has it any more.

    So no number is used after it was closed: the process gives it to another file at once, and to
    close it, or to write to it, would harm that file.

    Attributes:
        ends: The file descriptors to read from and to write to.

    Raises:
        OSError: There are no more file descriptors.
    """

    def __init__(self) -> None:
        self.ends: tuple[int, ...] = ()
        self.ends = os.pipe()
        for end in self.ends:
            os.set_blocking(end, False)

    def close(self) -> None:
        """Close it now: after a fork, the thread that has it too is gone. It may be called twice."""
        ends, self.ends = self.ends, ()
        for end in ends:
            with suppress(OSError):
                os.close(end)

    __del__ = close


class Runner:
    """Runs the turns of a member in a thread.

    Args:
        member: The member.
        clock: Returns monotonic seconds: the clock of its registry.
        fault: Called with a place and an exception: a fault of our own.

    Attributes:
        is_running: Whether there are turns: the thread has begun in this process, and has not left.
    """

    def __init__(
        self,
        member: Member,
        clock: Callable[[], float],
        fault: Callable[[str, BaseException], None],
    ) -> None:
        self._member = member
        self._clock = clock
        self._fault = fault
        self._stopped = False
        self._begin()
        _runners.add(self)

    def _begin(self) -> None:
        self.is_running = False
        self._signalled = False
        self._pipe: _Pipe | None = None
        self._starts: Any = _native("_thread", "allocate_lock")()
        self._start_at = -inf
        self._ended: Any = None
        self._left: Any = None  # released by the thread when it has left
        self._has_left = False

    def start(self) -> None:
        """Begin the thread, or go on after leaving, unless it was stopped. It does not raise.

        Where it cannot begin now, a later call tries it again.
        """
        if self.is_running or self._stopped:
            return
        if self._has_left:
            self._has_left, self.is_running = False, True
            self.wake()
        elif self._starts.acquire(False):  # else another thread begins it
            try:
                self._start()
            finally:
                self._starts.release()

    def _start(self) -> None:
        now = time.monotonic()
        if self.is_running or now < self._start_at:
            return
        try:
            pipe = self._pipe = _Pipe()
            self._ended = _native("_thread", "allocate_lock")()
            self._ended.acquire()
            _make_hub()
            arguments = (weakref.ref(self), self._member.store, pipe, self._ended)
            _native("_thread", "start_new_thread")(_run, arguments)
        except Exception as error:  # no more file descriptors or threads, or the interpreter ends
            self._pipe = self._ended = None
            self._start_at = now + _START_AGAIN
            self._member.note_failure(f"its thread cannot begin: {error}", self._clock())
            return
        self.is_running = True
        with suppress(Exception):
            _leave_with_process()

    def wake(self) -> None:
        """Let the next turn be now. It takes a microsecond, and does not raise."""
        pipe = self._pipe
        if pipe is None or self._signalled:
            return
        self._signalled = True
        with suppress(OSError, IndexError):  # it may have been closed by a fork just now
            os.write(pipe.ends[1], b"\0")

    def turn(self) -> float:
        """One turn; return for how many seconds there is nothing to do."""
        self._signalled = False
        if self._left is not None:
            self._leave()
            self._has_left = True  # before the next line: `start` must always see one of them
            self.is_running = False
            self._let_go()
            if self._member.has_news:
                self.start()
        if self._has_left:
            return _LONGEST_WAIT
        try:
            return min(self._member.turn(self._clock()), _LONGEST_WAIT)
        except Exception as error:
            self._fault("fleet", error)
            return _AFTER_FAULT

    def ring(self) -> None:
        """Note that the bell has rung."""
        self._member.rung = True

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped."""
        return self._stopped

    def leave(self, timeout: float = _LEAVES_WITHIN) -> None:
        """Keep what was learned, and leave the fleet until `start` is called.

        If that takes longer, it is done later.

        Args:
            timeout: Seconds to wait for that, 0.0-3600.0.
        """
        if self._stopped or not self.is_running or self._left is not None:
            return
        left = _native("_thread", "allocate_lock")()
        left.acquire()
        self._left = left
        self._signalled = False
        self.wake()
        left.acquire(True, min(max(0.0, timeout), _LONGEST_LEAVE))

    def stop(self, timeout: float = _LEAVES_WITHIN) -> None:
        """Keep what was learned, leave the fleet, and end the thread.

        Args:
            timeout: Seconds to wait for that, >= 0.
        """
        if not self._stopped:
            self.begin_stop()
            self.wait_for_end(timeout)

    def begin_stop(self) -> None:
        """Let the thread keep what was learned, leave the fleet and end; do not wait for it."""
        self._stopped = True
        self._signalled = False
        self.wake()

    def wait_for_end(self, timeout: float) -> None:
        """Wait until the thread has ended, for `timeout` seconds, >= 0, at most."""
        ended = self._ended
        if ended is not None and ended.acquire(True, timeout):
            ended.release()  # it may be waited for again

    def end(self) -> None:
        """What the thread does last."""
        self._leave()
        self._let_go()
        self._pipe = None

    def _let_go(self) -> None:
        """Let the caller of `leave` go on."""
        left, self._left = self._left, None
        if left is not None:
            left.release()

    def _leave(self) -> None:
        try:
            self._member.leave(self._clock())
        except Exception as error:
            self._fault("fleet", error)

    def after_fork(self) -> None:
        """Begin anew in a forked process."""
        pipe = self._pipe
        self._begin()
        if pipe is not None:
            pipe.close()  # the thread that has it too is not there
            self._member.store.after_fork()
        self._member.after_fork()


def _run(this: weakref.ref[Runner], store: Store, pipe: _Pipe, ended: Any) -> None:
    """What the thread does. It keeps no registry alive."""
    wake = pipe.ends[0]
    try:
        while True:
            runner = this()
            if runner is None:
                break
            if runner.is_stopped:
                runner.end()
                break
            pause = runner.turn()
            del runner
            rung = store.wait(pause, wake)
            with suppress(OSError):
                os.read(wake, 4096)
            if rung and (runner := this()) is not None:
                runner.ring()
                del runner
    finally:
        store.close()
        ended.release()


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _after_fork() -> None:
    for runner in list(_runners):
        runner.after_fork()


@atexit.register
def _at_exit() -> None:
    # All at once: each of them may wait for a store that hangs.
    runners = [each for each in list(_runners) if not each.is_stopped]
    until = time.monotonic() + _LEAVES_WITHIN
    for runner in runners:
        runner.begin_stop()
    for runner in runners:
        runner.wait_for_end(max(until - time.monotonic(), 0.0))


_leaves_with = 0  # the number of the process in which `multiprocessing` knows what to do at its end


def _leave_with_process() -> None:
    """Leave at the end of a process that `multiprocessing` has forked: it runs nothing of `atexit`."""
    global _leaves_with
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _leaves_with != os.getpid():
        _leaves_with = os.getpid()
        util.Finalize(None, _at_exit, exitpriority=0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
