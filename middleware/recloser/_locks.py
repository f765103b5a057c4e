"""Locks that are free again however their section ends, and a counter for many threads.

`with lock:` is not enough: an exception that a signal handler, a tracer or another thread raises
between the last bytecode of the block and the release would leave the lock locked for ever. So a
section that needs a lock is written like this:

    held = owns(lock)
    try:
        with lock:
            ...
    except BaseException:
        if not held:
            give_back(lock)
        raise

CPython 3.11 and later run no signal handler in that gap. The rule does not rest on that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from operator import methodcaller
from threading import Lock as _Mutex
from threading import RLock
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Lock(Protocol):
    """A reentrant lock that knows whether this thread has it; see `owns`.

    `threading.Condition` asks its lock the same question. So the locks of gevent and eventlet, which
    replace those of `threading`, can answer it.
    """

    def __enter__(self) -> bool: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


owns: Callable[[Lock], bool] = methodcaller("_is_owned")
"""Whether this thread, or greenlet, has a lock."""


def new_lock() -> Lock:
    """A lock that nobody has. It is reentrant: finalizers and signal handlers run in any section."""
    return RLock()


# Python 3.13 and later can be built without the global interpreter lock.
_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


def new_counter(first: int = 1) -> Iterator[int]:
    """The whole numbers from `first` on. However many threads ask, each number is given out once."""
    return count(first) if _HAS_GIL else _LockedCounter(first)


class _LockedCounter:
    """`itertools.count`, which is atomic only by the global interpreter lock, without that."""

    __slots__ = ("_mutex", "_number")

    def __init__(self, first: int) -> None:
        self._mutex = _Mutex()
        self._number = first

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._mutex:
            number = self._number
            self._number = number + 1
        return number

    def free_after_fork(self) -> None:
        """Go on in a child process, where another thread of the parent may have the mutex for ever."""
        self._mutex = _Mutex()
        self._number += 1  # that thread may have taken the last one


def free_after_fork(counter: Iterator[int]) -> None:
    """Let a counter go on in a child process."""
    if isinstance(counter, _LockedCounter):
        counter.free_after_fork()


def give_back(lock: Lock) -> None:
    """Release a lock as often as this thread has it. Its section was interrupted."""
    while owns(lock):
        lock.release()


def within(lock: Lock, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Do something while this thread has a lock, and return what it returns."""
    held = owns(lock)
    try:
        with lock:
            return action(*arguments)
    except BaseException:
        if not held:
            give_back(lock)
        raise
