"""A pytest plugin for httpx's own tests: every default transport is guarded.

The methods are replaced, not the objects, because those tests look at the transports of a client.
Each call goes through a real `BreakerTransport` around the transport at hand. At the end no permit
may be left.

`RECLOSER_CONTROL` names a deliberate mistake, to prove that the tests would notice one: `unclosed`
does not close a body, `altered` appends a byte to each, `silent` ends a body that breaks as if it
were complete.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from recloser import Policy, Registry
from recloser_adapters._httpx.bodies import AsyncBody, SyncBody
from recloser_adapters.httpx import AsyncBreakerTransport, BreakerTransport

CONTROL = os.environ.get("RECLOSER_CONTROL", "")
# The tests make things fail on purpose, and none of them is about breakers: none may open.
REGISTRY = Registry(Policy(min_failures=10_000))
SYNC = (httpx.HTTPTransport, httpx.MockTransport, httpx.WSGITransport)
ASYNC = (httpx.AsyncHTTPTransport, httpx.MockTransport, httpx.ASGITransport)


class _Unguarded:
    """A transport with the method that it had before."""

    def __init__(self, transport: Any, method: Any) -> None:
        self._transport = transport
        self._method = method

    def handle_request(self, request: Any) -> Any:
        return self._method(self._transport, request)

    async def handle_async_request(self, request: Any) -> Any:
        return await self._method(self._transport, request)


def _guard_sync(kind: Any) -> None:
    method = kind.handle_request

    def handle_request(self: Any, request: Any) -> Any:
        guard = BreakerTransport(_Unguarded(self, method), REGISTRY)  # type: ignore[arg-type]  # has what is used
        return guard.handle_request(request)

    kind.handle_request = handle_request


def _guard_async(kind: Any) -> None:
    method = kind.handle_async_request

    async def handle_async_request(self: Any, request: Any) -> Any:
        guard = AsyncBreakerTransport(_Unguarded(self, method), REGISTRY)  # type: ignore[arg-type]  # has what is used
        return await guard.handle_async_request(request)

    kind.handle_async_request = handle_async_request


def _make_a_mistake(control: str) -> None:
    async def not_closed(self: Any) -> None:
        self.success()

    def altered(self: Any) -> Iterator[bytes]:
        yield from self.stream
        yield b"!"

    async def altered_async(self: Any) -> AsyncIterator[bytes]:
        async for chunk in self.stream:
            yield chunk
        yield b"!"

    def silent(self: Any) -> Iterator[bytes]:
        try:
            yield from self.stream
        except Exception:
            return

    async def silent_async(self: Any) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.stream:
                yield chunk
        except Exception:
            return

    replaced: dict[str, dict[tuple[type, str], Any]] = {
        "": {},
        "unclosed": {
            (SyncBody, "close"): lambda self: self.success(),
            (AsyncBody, "aclose"): not_closed,
        },
        "altered": {(SyncBody, "__iter__"): altered, (AsyncBody, "__aiter__"): altered_async},
        "silent": {(SyncBody, "__iter__"): silent, (AsyncBody, "__aiter__"): silent_async},
    }
    for (kind, name), method in replaced[control].items():
        setattr(kind, name, method)


def pytest_configure(config: pytest.Config) -> None:
    for transport in SYNC:
        _guard_sync(transport)
    for async_transport in ASYNC:
        _guard_async(async_transport)
    _make_a_mistake(CONTROL)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    gc.collect()
    left = sum(breaker.metrics().in_flight for breaker in REGISTRY)
    if (left or REGISTRY.faults) and not CONTROL:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts = [breaker.metrics() for breaker in REGISTRY]
    terminalreporter.write_line(
        f"recloser: {sum(each.calls for each in counts)} calls on {len(counts)} keys, "
        f"{sum(each.in_flight for each in counts)} permits left, {REGISTRY.faults} faults"
    )
