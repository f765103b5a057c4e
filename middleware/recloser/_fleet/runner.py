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
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from recloser._fleet.member import Member
from recloser._fleet.store import Store

# Not longer than so many seconds between two turns.
_LONGEST_WAIT = 1.0
# After a fault of our own: seconds until the next turn.
_AFTER_FAULT = 1.0
# The end of the process waits for so many seconds at most until what was learned is kept.
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
        self._pipe: tuple[int, int] | None = None
        self._ended: Any = None
        self._left: Any = None  # released by the thread when it has left
        self._has_left = False

    def start(self) -> None:
        """Begin the thread, or go on after leaving, unless it was stopped. It does not raise."""
        if self.is_running or self._stopped:
            return
        if self._has_left:
            self._has_left, self.is_running = False, True
            self.wake()
            return
        self.is_running = True
        try:
            read, write = os.pipe()
            os.set_blocking(read, False)
            os.set_blocking(write, False)
            self._pipe = read, write
            self._ended = _native("_thread", "allocate_lock")()
            self._ended.acquire()
            _make_hub()
            arguments = (weakref.ref(self), self._member.store, self._pipe, self._ended)
            _native("_thread", "start_new_thread")(_run, arguments)
            _leave_with_process()
        except Exception as error:  # the interpreter ends, or there are no more threads
            self._fault("fleet", error)

    def wake(self) -> None:
        """Let the next turn be now. It takes a microsecond, and does not raise."""
        pipe = self._pipe
        if pipe is None or self._signalled:
            return
        self._signalled = True
        with suppress(OSError):
            os.write(pipe[1], b"\0")

    def turn(self) -> float:
        """One turn; return for how many seconds there is nothing to do."""
        self._signalled = False
        if self._left is not None:
            self._leave()
            self._has_left = True  # before the next line: `start` must never see neither
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
        if self._stopped:
            return
        self._stopped = True
        if self._ended is not None:
            self._signalled = False
            self.wake()
            self._ended.acquire(True, timeout)

    def end(self) -> None:
        """What the thread does last."""
        self._leave()
        self._let_go()

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
            for end in pipe:
                with suppress(OSError):
                    os.close(end)
            self._member.store.after_fork()
        self._member.after_fork()


def _run(this: weakref.ref[Runner], store: Store, pipe: tuple[int, int], ended: Any) -> None:
    """What the thread does. It keeps no registry alive."""
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
            rung = store.wait(pause, pipe[0])
            with suppress(OSError):
                os.read(pipe[0], 4096)
            if rung and (runner := this()) is not None:
                runner.ring()
                del runner
    finally:
        store.close()
        for end in pipe:
            with suppress(OSError):
                os.close(end)
        ended.release()


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _after_fork() -> None:
    for runner in list(_runners):
        runner.after_fork()


@atexit.register
def _at_exit() -> None:
    for runner in list(_runners):
        with suppress(Exception):
            runner.stop()


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
