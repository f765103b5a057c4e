"""Background: hands work of exporters to a thread of its own, so that no request waits for it."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

from recloser_adapters._forks import in_forked_process

_FLUSH = 2.0  # seconds that the end of the process waits for what is queued


class Background:
    """A bounded queue, and one daemon thread that does what is in it, in order.

    The thread is begun by the first work, and again in a process that was forked. If the queue is full,
    work is dropped and counted: an exporter that hangs must not fill the memory.

    Args:
        name: The name of the thread.
        fault: Called with each exception that work raises, and with one for each that is dropped.
        size: How much work may wait, >= 1.

    Attributes:
        dropped: How much work was dropped.
    """

    def __init__(self, name: str, fault: Callable[[Exception], object], size: int = 1000) -> None:
        self._name = name
        self._fault = fault
        self._size = size
        self.dropped: int = 0
        self._begin()
        in_forked_process(self, Background._begin)
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _begin(self) -> None:
        self._work: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False

    def put(self, work: Callable[[], object]) -> None:
        """Do it later. This takes some microseconds, whatever the work does."""
        with self._changed:
            if len(self._work) >= self._size:
                self.dropped += 1
                full = True
            else:
                full = False
                self._work.append(work)
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    thread.start()  # raises where the interpreter ends, so it comes first
                    self._thread = thread
                self._changed.notify_all()
        if full:
            self._fault(OverflowError(f"more than {self._size} events wait: dropped"))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._work:
                    self._changed.wait()
                work = self._work.popleft()
                self._busy = True
            try:
                work()
            except Exception as error:
                self._fault(error)
            del work

    def flush(self, timeout: float = _FLUSH) -> bool:
        """Wait until all is done, for some seconds at most; return whether it is."""
        until = time.monotonic() + timeout
        with self._changed:
            while self._work or self._busy:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True


def _flush_at_exit(this: weakref.ref[Background]) -> None:
    background = this()
    if background is not None:
        background.flush()
