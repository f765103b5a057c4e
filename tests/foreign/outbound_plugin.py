"""A pytest plugin for the tests of requests and of aiohttp's client: every call is guarded.

requests: `HTTPAdapter.send` is replaced, and goes through a real `BreakerAdapter`. aiohttp: every
`ClientSession` gets a `BreakerMiddleware`. No breaker may open, since these tests make things fail on
purpose and none is about breakers. The session fails if nothing was guarded, if a permit is left at
its end, or if something of ours was at fault.

`RECLOSER_CONTROL` names a deliberate mistake, to prove that the tests would notice one: see `MISTAKES`.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
from typing import Any

import pytest

from recloser import Permit, Policy, Registry, State

CONTROL = os.environ.get("RECLOSER_CONTROL", "")
REGISTRY = Registry(Policy(min_failures=10_000), max_keys=10_000)
MISTAKES = ("header", "body", "silent", "leak")
"""A header of the answer that is lost, an altered body, an error that is hidden (requests) or replaced
(aiohttp), a permit that is not returned."""
LEFT: list[Permit] = []


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

    async def mistaken(self: Any, request: Any, handler: Any) -> Any:
        try:
            response: Any = await call(self, request, handler)
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
    if CONTROL:
        BreakerMiddleware.__call__ = mistaken  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    if CONTROL and CONTROL not in MISTAKES:
        raise pytest.UsageError(f"RECLOSER_CONTROL: no mistake is called {CONTROL!r}")
    for name, guard in (("requests", _guard_requests), ("aiohttp", _guard_aiohttp)):
        if importlib.util.find_spec(name):
            guard()


def _account() -> tuple[str, bool]:
    gc.collect()
    counts = [breaker.metrics() for breaker in REGISTRY]
    calls = sum(each.calls for each in counts)
    left = sum(each.in_flight for each in counts)
    shut = sum(each.state is not State.CLOSED for each in counts)
    line = (
        f"recloser: {calls} calls on {len(counts)} keys, {left} permits left, "
        f"{REGISTRY.faults} faults, {shut} not closed"
    )
    return line, bool(calls) and not (left or REGISTRY.faults or shut)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _account()[1] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(_account()[0])
