"""Whose call it is, where only a share of the callers is refused.

A breaker with `enforce_share=0.1` refuses a tenth of the callers, always the same ones, in all keys and
processes. A coin for each call would let each caller fail now and then, and nobody could compare.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from random import Random
from typing import Any

_caller: ContextVar[str] = ContextVar("recloser.caller", default="")


@contextmanager
def calling_for(caller: str) -> Generator[None, None, None]:
    """Say for whom the calls in this block are made: the id of a user or tenant.

    It decides whether they belong to the share of `enforce_share`. Without it, the caller of a web
    request is the address of its client. The caller of any other call is the process, so then it is a
    share of the processes.

    It must be around what asks the breaker: for the breaker of a web request, a middleware outside.
    It holds in its own context only. A plain generator as a dependency of FastAPI runs in another
    one, so it must be an async one.

    Raises:
        TypeError: `caller` is not a str.
    """
    if not isinstance(caller, str):
        raise TypeError(f"caller must be a str, not {caller!r}")
    token = _caller.set(caller)
    try:
        yield
    finally:
        # A generator that a thread pool runs step by step ends in another context than it began in.
        with suppress(ValueError):
            _caller.reset(token)


def is_enforced(share: float, request: Mapping[str, Any] | None) -> bool:
    """Whether the present caller is one of the share that is refused.

    Args:
        share: The share of callers, 0.0-1.0.
        request: The web request, of ASGI or WSGI, whose client it is if `calling_for` does not say
            who it is; None for this process.
    """
    caller = _caller.get() or _client_of(request) or f"process {os.getpid()}"
    # A number that follows from the name, and is the same in every process.
    return Random(caller).random() < share


def _client_of(request: Mapping[str, Any] | None) -> str:
    """The address of the client of a request; "" if it has none."""
    if request is None:
        return ""
    client = request.get("client")  # host and port, as ASGI has it
    address = client[0] if client else request.get("REMOTE_ADDR")
    return str(address or "")
