"""Moment: the time that is written into a row, and what it means in another boot of the host."""

from __future__ import annotations

import os
import time
from functools import cache


@cache
def _boot() -> str:
    """Names the clock that `time.monotonic` reads; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
    except OSError:
        return ""
    try:
        # A container may have a clock of its own.
        return f"{boot} {os.readlink('/proc/self/ns/time')}"
    except OSError:
        return boot


def moment() -> dict[str, float | str]:
    """The parameters `now`, `wall` and `boot` of a statement.

    `now` decides. The wall clock is for rows of another boot only, since a clock that is set would
    otherwise end or prolong all that the workers share.
    """
    return {"now": time.monotonic(), "wall": time.time(), "boot": _boot()}
