"""Readable: waits for file descriptors, whatever their state is."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable

from recloser_adapters.sqlite._native import native

_SLICE = 0.1  # seconds to wait where nothing can be waited for


def readable(fds: Iterable[int], seconds: float) -> set[int]:
    """The file descriptors that can be read within some seconds; also those that are broken.

    It does not raise. Where nothing can be waited for, it sleeps, 0.1 s at most.
    """
    watched = [fd for fd in fds if fd >= 0]
    try:
        if not hasattr(select, "POLLIN"):  # Windows
            return set(native("select", "select")(watched, (), (), seconds)[0])
        # Not select(): it cannot watch a descriptor above 1023.
        poll = native("select", "poll")()
        for fd in watched:
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(math.ceil(seconds * 1000))}
    except (OSError, ValueError):
        native("time", "sleep")(min(seconds, _SLICE))
        return set()
