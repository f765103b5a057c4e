"""Threads that take turns at bytecodes of our code, where a test wants them to.

One thread runs until it has done a number of bytecodes of ours. Then another one runs to its end, or
until it waits for a lock that the first one has, and the first one goes on. With each number in turn,
that is every place at which the system may switch threads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.support.bytecodes import trace_bytecodes
from tests.support.strikes import is_ours

# Seconds of real time after which a thread that did not end is taken to wait for a lock.
_WAITS = 0.01


class Turns:
    """Runs work in a thread, and other work in the midst of it.

    Args:
        work: What runs first.
        others: What runs in the midst: the number of bytecodes of ours that `work` does before, and
            what runs then. The numbers ascend.

    Attributes:
        done: How many bytecodes of ours `work` has done.
        errors: What was raised in a thread.
    """

    def __init__(
        self, work: Callable[[], object], others: list[tuple[int, Callable[[], object]]]
    ) -> None:
        self._work = work
        self._others = others
        self.done = 0
        self._threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def run(self) -> int:
        """Run all to their ends; return how many of the others had begun before `work` ended."""
        first = threading.Thread(target=self._guarded, args=(self._first,))
        first.start()
        first.join(60.0)
        begun = len(self._threads)
        for _, other in self._others:
            self._begin(other)
        for thread in self._threads:
            thread.join(60.0)
            assert not thread.is_alive(), "it hangs"
        assert not first.is_alive(), "it hangs"
        assert not self.errors, self.errors
        return begun

    def _first(self) -> None:
        # CPython 3.12 traces no bytecode unless that is wanted of the frame that begins to trace.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            self._work()
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not is_ours(frame):
            return None
        return trace_bytecodes(frame, self._trace_bytecode)

    def _trace_bytecode(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            if self._others and self.done == self._others[0][0]:
                _, other = self._others.pop(0)
                self._begin(other).join(_WAITS)
            self.done += 1
        return self._trace_bytecode

    def _begin(self, work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(work,))
        self._threads.append(thread)
        thread.start()
        return thread

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            self.errors.append(error)
