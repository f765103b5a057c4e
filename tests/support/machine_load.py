"""The load of the machine, for tests that measure wall-clock time."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

# Seconds between two measurements.
_EVERY = 0.01
# Seconds. With a free core, 99 % of the sleeps end less than a millisecond late.
_BUSY = 0.005


class MachineLoad:
    """Measures how late a sleeping thread wakes up, while the block runs."""

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
        """99th percentile of the delay, in seconds."""
        return sorted(self._late)[int(0.99 * len(self._late))] if self._late else 0.0

    @property
    def is_busy(self) -> bool:
        """Whether the machine was too busy for times measured meanwhile to be reliable."""
        return self.late > _BUSY

    def _measure(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(_EVERY)
            self._late.append(time.monotonic() - began - _EVERY)
