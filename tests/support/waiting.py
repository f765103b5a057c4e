"""Waits for events in other processes and threads, also on a slow machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# Seconds that an event may take on a loaded machine.
PATIENCE = 20.0


def until(happened: Callable[[], bool], what: str) -> None:
    """Poll until it has happened; fail after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)


async def until_in_loop(happened: Callable[[], bool], what: str) -> None:
    """Like `until`, but the other tasks of the event loop run while it waits."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.01)
