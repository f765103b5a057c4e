"""Requests that are cut off: their time-outs are lowered until the headers have arrived.

requests has forms of its own for a time-out beside those of urllib3.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any


def lower_timeout(timeout: Any, limit: float) -> Any:
    """Lower a time-out, in any form that urllib3 or requests accepts: nothing becomes longer.

    Args:
        timeout: Seconds, a pair of seconds (to connect and to read), a `Timeout` of urllib3, or
            None for no time-out.
        limit: Seconds; infinite to leave the time-out as it is.

    Returns:
        The time-out. It is the same object if there is nothing to lower, or if it is of a form that
        requests itself will reject.
    """
    if limit == inf:
        return timeout
    if _is_pair(timeout):
        lowered = tuple(_lower(part, limit) for part in timeout)
        return timeout if lowered == timeout else lowered
    if hasattr(timeout, "connect_timeout"):
        # Its `total` is the limit of both steps together.
        total = _lower(timeout.total, limit)
        return type(timeout)(total=total, connect=timeout._connect, read=timeout._read)
    return _lower(timeout, limit)


def _is_pair(timeout: object) -> bool:
    return isinstance(timeout, tuple) and len(timeout) == 2  # pyright: ignore[reportUnknownArgumentType]


def _lower(seconds: Any, limit: float) -> Any:
    if seconds is None:
        return limit
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return limit if is_number and seconds > limit else seconds


def restore_timeout(raw: Any, timeout: Any) -> None:
    """Give a body its own time-out to read: only the wait for the headers is limited.

    Args:
        raw: The response of urllib3.
        timeout: The time-out of the request as the caller gave it.
    """
    if _is_pair(timeout):
        timeout = timeout[1]
    elif hasattr(timeout, "connect_timeout"):
        numbers = [each for each in (timeout.total, timeout._read) if _is_seconds(each)]
        timeout = min(numbers, default=None)
    # There is no public way to the socket, and none at all if the body has arrived already, or if
    # another adapter than that of requests has sent the request.
    with suppress(AttributeError, OSError):
        raw._original_response.fp.raw._sock.settimeout(timeout)


def _is_seconds(value: Any) -> bool:
    # urllib3 marks a default by an object, or in other versions by -1.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
