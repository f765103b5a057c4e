"""How busy the machine is, for tests that judge by the clock on the wall."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

# Seconds between two looks.
_EVERY = 0.01
# On a machine with a core to spare a sleep is over within a millisecond, 99 times of 100.
_BUSY = 0.005


class MachineLoad:
    """While the block runs, measures how much later than asked for a thread is woken."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def late(self) -> float:
        """Seconds of delay that 99 of 100 sleeps stayed below."""
        return sorted(self._late)[int(0.99 * len(self._late))] if self._late else 0.0

    @property
    def is_busy(self) -> bool:
        """Whether times measured meanwhile say more about the machine than about us."""
        return self.late > _BUSY

    def _measure(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(_EVERY)
            self._late.append(time.monotonic() - began - _EVERY)
