"""A pytest plugin for the tests of requests and of aiohttp's client: every call is guarded.

requests: `HTTPAdapter.send` is replaced, and goes through a real `BreakerAdapter`. aiohttp: every
`ClientSession` gets a `BreakerMiddleware`. No breaker may open, since these tests make things fail on
purpose and none is about breakers. The session fails if nothing was guarded, if a permit is left at
its end, or if something of ours was at fault.

`RECLOSER_CONTROL` names a deliberate mistake, to prove that the tests would notice one: see `MISTAKES`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any
from unittest.mock import NonCallableMock

import pytest
from accounts import LEFT, REGISTRY

# Hooks of this plugin.
from accounts import pytest_sessionfinish as pytest_sessionfinish
from accounts import pytest_terminal_summary as pytest_terminal_summary

CONTROL = os.environ.get("RECLOSER_CONTROL", "")
MISTAKES = ("header", "body", "silent", "leak")
"""A header of the answer that is lost, an altered body, an error that is hidden (requests) or replaced
(aiohttp), a permit that is not returned."""


def _guard_requests() -> None:
    import requests
    from requests.adapters import BaseAdapter, HTTPAdapter

    from recloser_adapters.requests import BreakerAdapter

    send = HTTPAdapter.send

    class Unguarded(BaseAdapter):
        """An adapter with the method that it had before."""

        def __init__(self, adapter: Any) -> None:
            super().__init__()
            self._adapter = adapter

        def __getattr__(self, name: str) -> Any:
            return getattr(self._adapter, name)

        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            return send(self._adapter, request, *args, **options)

        def close(self) -> None:
            self._adapter.close()

    @functools.wraps(send)
    def guarded(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        names = ("stream", "timeout", "verify", "cert", "proxies")
        options = {**dict(zip(names, args, strict=False)), **options}
        try:
            response = BreakerAdapter(Unguarded(self), REGISTRY).send(request, **options)
        except requests.RequestException:
            if CONTROL != "silent":
                raise
            response = requests.Response()
            response.status_code = 200
        return _with_mistake(response)

    HTTPAdapter.send = guarded  # type: ignore[method-assign]  # that is the point


def _with_mistake(response: Any) -> Any:
    if CONTROL == "header":
        response.headers.clear()
    elif CONTROL == "body":
        response._content = b"!"
    _leak()
    return response


def _leak() -> None:
    if CONTROL == "leak":
        LEFT.append(REGISTRY["left"].acquire())


def _guard_aiohttp() -> None:
    import aiohttp

    from recloser_adapters.aiohttp import BreakerMiddleware, by_host, wrap_session

    construct = aiohttp.ClientSession.__init__
    call = BreakerMiddleware.__call__

    def key(request: Any) -> str:
        """The host, unless a test has a mock in place of the request."""
        try:
            found: object = by_host(request)
        except Exception:
            found = None
        return found if isinstance(found, str) else "no request"

    @functools.wraps(construct)
    def guarded(self: Any, *args: Any, **options: Any) -> None:
        construct(self, *args, **options)
        wrap_session(self, REGISTRY, key=key, label_by=None)

    async def real(self: Any, request: Any, handler: Any) -> Any:
        # Some tests put a mock in place of the request. Nothing can be read of it, which would be
        # counted as a fault.
        if isinstance(request, NonCallableMock):
            return await handler(request)
        return await call(self, request, handler)

    async def mistaken(self: Any, request: Any, handler: Any) -> Any:
        try:
            response: Any = await real(self, request, handler)
        except aiohttp.ClientError as error:
            if CONTROL == "silent":
                raise aiohttp.ClientError("something") from error
            raise
        if CONTROL == "header":
            response._headers = type(response._headers)({})
        elif CONTROL == "body":
            response._body = b"!"
        _leak()
        return response

    aiohttp.ClientSession.__init__ = guarded  # type: ignore[method-assign]
    BreakerMiddleware.__call__ = mistaken if CONTROL else real  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    if CONTROL and CONTROL not in MISTAKES:
        raise pytest.UsageError(f"RECLOSER_CONTROL: no mistake is called {CONTROL!r}")
    for name, guard in (("requests", _guard_requests), ("aiohttp", _guard_aiohttp)):
        if importlib.util.find_spec(name):
            guard()
