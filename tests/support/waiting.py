"""Waiting for what other processes and threads do, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds that anything may take on a loaded machine.
PATIENCE = 20.0


def until(happened: Callable[[], bool], what: str) -> None:
    """Look again and again until it happened; fail after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)
