"""Outages of one route, on a server and its twin at the same time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Self

from benchmarks.soak.servers import Running

# Seconds: how long an outage lasts, and all is well between two of them. A sync worker serves one
# request a second to the route of an outage, and it takes five failures to notice one.
LASTS, PAUSES = (4.0, 9.0), (4.0, 20.0)
# Seconds after an outage in which it may still be refused: two of the longest pauses between probes,
# the probes themselves, and a loaded machine.
RECOVERY = 10.0
# Seconds around a change in which the two may differ, because a request may be between them.
BLURRED = 1.0


class Outages:
    """Begins and ends outages at random, while the block runs.

    Args:
        servers: Those that break down together.
        seed: When.
    """

    def __init__(self, servers: Sequence[Running], seed: int) -> None:
        self._servers = servers
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._changed = time.monotonic()
        self._broken = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._set(broken=False)

    def may_refuse(self, since: float) -> bool:
        """Whether a call that began at `since` seconds may rightly be refused."""
        return self._broken or since - self._changed < RECOVERY

    def may_differ(self, since: float) -> bool:
        """Whether an outage has begun or ended since, or just before `since` seconds."""
        return since - self._changed < BLURRED

    def _set(self, *, broken: bool) -> None:
        self._broken, self._changed = broken, time.monotonic()
        for server in self._servers:
            server.break_down(broken)
        self._changed = time.monotonic()

    def _run(self) -> None:
        while not self._over.wait(self._chance.uniform(*PAUSES)):
            self._set(broken=True)
            self._over.wait(self._chance.uniform(*LASTS))
            self._set(broken=False)
