"""Requests that are cut off: their time-outs are lowered until the headers have arrived."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any

# Not `pool`, the wait for a connection of our own: that is not the time of the callee.
_LOWERED = ("connect", "read", "write")


@contextmanager
def lowered_timeouts(request: Any, limit: float) -> Generator[dict[str, Any]]:
    """Lower the time-outs of a request while it is sent. They hold for each step of it.

    Args:
        request: The request. Afterwards it has its own time-outs again, also for its body, for a
            redirect, and for another attempt.
        limit: Seconds; infinite to leave the request as it is.

    Yields:
        The time-outs as the transport reads them; empty if they are left as they are.
    """
    if limit == inf:
        yield {}
        return
    extensions = request.extensions
    own = _copy(extensions.get("timeout"))
    limits: dict[str, Any] = {**own, **{name: _lower(own.get(name), limit) for name in _LOWERED}}
    request.extensions = {**extensions, "timeout": limits}
    try:
        yield limits
    finally:
        request.extensions = extensions
        # For the body the transport reads them again, from the same dict.
        limits.clear()
        limits.update(own)


def lower_read(timeouts: dict[str, Any], limit: float) -> None:
    """Lower the time-out of each read of a body, before the first one.

    Args:
        timeouts: What `lowered_timeouts` gave.
        limit: Seconds; infinite to leave it as it is.
    """
    if limit < inf:
        timeouts["read"] = _lower(timeouts.get("read"), limit)


def _copy(timeouts: Any) -> dict[str, Any]:
    return {**timeouts} if isinstance(timeouts, Mapping) else {}


def _lower(own: float | None, limit: float) -> float:
    return limit if own is None else min(own, limit)
