"""What a client's exception says about a call: whose fault it was, and whether anything was sent.

The core knows no client library. It reads the two shapes that all of them share: a status on the
exception or on the response it carries, and the operating system's own errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from recloser._errors import BreakerOpenError
from recloser._outcome import Outcome
from recloser._retry_after import parse_retry_after


def classify_error(error: BaseException) -> Outcome:
    """Classify what a client raised: by its HTTP status where it has one, else by its type.

    The status is `error.status_code` (OpenAI, Anthropic, Starlette), `error.response.status_code`
    (requests, httpx) or `error.status` (aiohttp). `error.code` is not read: of many protocols it is
    something else. A refusal by a breaker is ignored, whatever status it has.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return Outcome.worst(classify_error(leaf) for leaf in group.exceptions)
    if isinstance(error, BreakerOpenError) or not isinstance(error, Exception):
        return Outcome.of_error(error)
    response = getattr(error, "response", None)
    for holder, name in ((error, "status_code"), (response, "status_code"), (error, "status")):
        status = getattr(holder, name, None)
        if isinstance(status, int) and 400 <= status <= 599:
            return Outcome.of_upstream_status(status)
    return Outcome.of_error(error)


def nothing_sent(error: BaseException) -> bool:
    """Tell whether the request certainly never left: no such name, no listener, or a refusal.

    Only the error itself is read, never its cause: a client that tried twice may have sent the
    second time. Clients with errors of their own (httpx, requests, aiohttp) need their own rule.
    """
    if isinstance(error, (ConnectionRefusedError, BreakerOpenError)):
        return True
    # Here, because it would be a third of what importing recloser costs. What raised such an error
    # has imported it.
    import socket

    return isinstance(error, socket.gaierror)


def retry_after_of(error: BaseException) -> float | None:
    """Read for how long the response that an exception carries asks to be left alone, seconds."""
    try:
        response = getattr(error, "response", None)
        headers = getattr(error if response is None else response, "headers", None)
        if not isinstance(headers, Mapping):
            return None
        return parse_retry_after(cast("Mapping[str, str]", headers))
    except Exception:
        # What is foreign may do anything; what cannot be read was not said.
        return None
