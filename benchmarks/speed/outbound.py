"""The cost of a guarded outbound call next to interlock-cb, and its share of a loopback request.

Each client sends to a fake network, so only the client and its guard are timed. The answer is 200
with seven headers and a body in one piece, which is read to its end.

Both guards have their defaults, with one breaker per host. They do not do the same work. Ours ends
a call with its body, so that a body that breaks off is a failure. interlock-cb ends the call with
the headers, and returns the library's own response unchanged. Ours has keys of host and port,
interlock-cb has keys of the host only. The figures are not corrected for that.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import multiprocessing
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import requests
import yarl
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict
from requests.adapters import HTTPAdapter

from recloser_adapters.aiohttp import BreakerMiddleware
from recloser_adapters.httpx import AsyncBreakerTransport, BreakerTransport
from recloser_adapters.httpx2 import BreakerTransport as BreakerTransport2
from recloser_adapters.requests import BreakerAdapter

from .report import Goal, Section, timed
from .rounds import Batch, Candidate, Effort, Timings, awaited, measure, plain

URL = "http://127.0.0.1:8000/v1/answer"
BODY = b"x" * 100
HEADERS = [
    (b"Server", b"nginx"),
    (b"Date", b"Tue, 24 Nov 2026 08:00:00 GMT"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"100"),
    (b"Connection", b"keep-alive"),
    (b"Cache-Control", b"no-cache"),
    (b"X-Request-Id", b"abcdef"),
]
BARE, OURS, THEIRS = "bare", "recloser", "interlock-cb"
# The goals of the project: a third of what interlock-cb adds, a twentieth of a real request.
LIMIT_TO_INTERLOCK = 1 / 3
LIMIT_OF_LOOPBACK = 0.05

PAIRS = 20  # rounds over loopback for each round of another section
WARM_UP = 200  # requests before the first one that is measured

Tick = Callable[[], None]


def httpx_calls(effort: Effort, tick: Tick) -> Section:
    """Time a sync httpx transport."""
    guards = {
        BARE: _Wire(),
        OURS: BreakerTransport(_Wire()),
        THEIRS: _interlock("httpx", _Wire()),
    }
    request = httpx.Request("GET", URL)
    return _section("httpx, a transport", guards, partial(_sending, request), effort, tick)


def httpx2_calls(effort: Effort, tick: Tick) -> Section:
    """Time a sync httpx2 transport."""
    guards = {
        BARE: _Wire2(),
        OURS: BreakerTransport2(_Wire2()),
        THEIRS: _interlock("httpx2", _Wire2()),
    }
    request = httpx2.Request("GET", URL)
    return _section("httpx2, a transport", guards, partial(_sending, request), effort, tick)


def async_httpx_calls(effort: Effort, tick: Tick) -> Section:
    """Time an async httpx transport."""
    guards = {
        BARE: _AsyncWire(),
        OURS: AsyncBreakerTransport(_AsyncWire()),
        THEIRS: _interlock("httpx", _AsyncWire(), "AsyncCircuitBreakerTransport"),
    }
    with asyncio.Runner() as runner:
        sending = partial(_sending_async, runner)
        return _section("httpx, an async transport", guards, sending, effort, tick)


def requests_calls(effort: Effort, tick: Tick) -> Section:
    """Time a requests adapter."""
    guards = {BARE: _Adapter(), OURS: BreakerAdapter(_Adapter()), THEIRS: _interlock_adapter()}
    return _section("requests, an adapter", guards, _requesting, effort, tick)


def aiohttp_calls(effort: Effort, tick: Tick) -> Section:
    """Time an aiohttp middleware; the small body comes with the headers."""
    with asyncio.Runner() as runner:
        asking = partial(_asking, runner)
        return _section("aiohttp, a middleware", _middlewares(), asking, effort, tick)


def aiohttp_body_calls(effort: Effort, tick: Tick) -> Section:
    """Time an aiohttp middleware; the body comes after the headers.

    The other clients always read the body on its own, so this case compares with theirs.
    """
    with asyncio.Runner() as runner:
        reading = partial(_reading, runner)
        return _section("aiohttp, a body that follows", _middlewares(), reading, effort, tick)


def loopback(effort: Effort, tick: Tick) -> Section:
    """Time a request of a whole httpx client over a real connection, bare and guarded."""
    # One request per batch: over many requests the kernel's timing varies more than the cost added.
    pairs = Effort(effort.rounds * PAIRS, effort.keep * PAIRS, batch_ns=1)
    with _server() as url, ExitStack() as stack:
        # One connection for all, because two connections can differ by more than the cost added.
        wire = stack.enter_context(httpx.HTTPTransport())

        def asking(transport: httpx.BaseTransport) -> Callable[[], object]:
            client = httpx.Client(transport=transport, trust_env=False)
            for _ in range(WARM_UP):
                client.get(url)
            return lambda: client.get(url)

        guards = {BARE: wire, OURS: BreakerTransport(wire), THEIRS: _interlock("httpx", wire)}
        candidates = [
            Candidate(name, plain(asking(guard))) for name, guard in guards.items() if guard
        ]
        timings = measure(candidates, pairs, _every(PAIRS, tick))
    section = timed("httpx, a request over loopback", timings, over=BARE)
    share = timings.added(OURS, BARE) / timings.median(BARE)
    section.goals.append(
        Goal("a guarded request over loopback, added share", share, LIMIT_OF_LOOPBACK, "")
    )
    section.notes.append("CPU time of the client's thread: what waiting costs is not counted.")
    return section


def _every(rounds: int, tick: Tick) -> Tick:
    """Call `tick` once in so many rounds."""
    taken = count(1)

    def sometimes() -> None:
        if next(taken) % rounds == 0:
            tick()

    return sometimes


def _section(
    title: str,
    guards: Mapping[str, Any],
    batch: Callable[[Any], Batch],
    effort: Effort,
    tick: Tick,
) -> Section:
    candidates = [Candidate(name, batch(guard)) for name, guard in guards.items() if guard]
    timings: Timings = measure(candidates, effort, tick)
    section = timed(title, timings, over=BARE)
    if THEIRS in timings.names:
        ratio = timings.added(OURS, BARE) / timings.added(THEIRS, BARE)
        section.goals.append(
            Goal(f"{title}, to interlock-cb's added cost", ratio, LIMIT_TO_INTERLOCK)
        )
    return section


def _sending(request: Any, transport: Any) -> Batch:
    return plain(lambda: transport.handle_request(request).read())


def _sending_async(runner: asyncio.Runner, transport: Any) -> Batch:
    request = httpx.Request("GET", URL)

    async def send() -> None:
        await (await transport.handle_async_request(request)).aread()

    return awaited(runner, send)


def _requesting(adapter: Any) -> Batch:
    request = requests.Request("GET", URL).prepare()
    return plain(lambda: adapter.send(request).content)


def _asking(runner: asyncio.Runner, middleware: Any) -> Batch:
    request = SimpleNamespace(method="GET", url=yarl.URL(URL))
    headers = CIMultiDict((name.decode(), value.decode()) for name, value in HEADERS)

    async def handler(request: Any) -> Any:
        return SimpleNamespace(status=200, headers=headers, content=aiohttp.streams.EMPTY_PAYLOAD)

    return awaited(runner, lambda: middleware(request, handler))


def _reading(runner: asyncio.Runner, middleware: Any) -> Batch:
    request = SimpleNamespace(method="GET", url=yarl.URL(URL))
    headers = CIMultiDict((name.decode(), value.decode()) for name, value in HEADERS)
    loop = runner.get_loop()
    protocol = BaseProtocol(loop)

    async def read() -> bytes:
        body = aiohttp.StreamReader(protocol, 65536, loop=loop)

        async def handler(request: Any) -> Any:
            return SimpleNamespace(status=200, headers=headers, content=body)

        response = await middleware(request, handler)
        body.feed_data(BODY)
        body.feed_eof()
        data: bytes = await response.content.read()
        return data

    return awaited(runner, read)


async def _unguarded(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    return await handler(request)


class _Stream(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield BODY


class _Wire(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=HEADERS, stream=_Stream())


class _Stream2(httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield BODY


class _Wire2(httpx2.BaseTransport):
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=HEADERS, stream=_Stream2())


class _AsyncStream(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield BODY


class _AsyncWire(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=HEADERS, stream=_AsyncStream())


class _Raw(io.BytesIO):
    def stream(self, amount: int, decode_content: bool) -> Iterator[bytes]:
        yield self.read()


class _Adapter(HTTPAdapter):
    """Makes a response as requests does, without a network."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        response = requests.Response()
        response.status_code = 200
        response.headers.update({name.decode(): value.decode() for name, value in HEADERS})
        response.raw = _Raw(BODY)
        response.url = URL
        response.request = request
        return response


def _middlewares() -> dict[str, Any]:
    return {
        BARE: _unguarded,
        OURS: BreakerMiddleware(),
        THEIRS: _interlock_class("aiohttp", "CircuitBreakerMiddleware"),
    }


def _interlock(module: str, inner: object, name: str = "CircuitBreakerTransport") -> Any:
    return _interlock_class(module, name, inner)


def _interlock_class(module: str, name: str, *arguments: object) -> Any:
    try:
        theirs = importlib.import_module(f"interlock.integrations.{module}")
    except ModuleNotFoundError:
        return None
    return getattr(theirs, name)(*arguments)


def _interlock_adapter() -> Any:
    try:
        theirs = importlib.import_module("interlock.integrations.requests")
    except ModuleNotFoundError:
        return None
    # interlock-cb's adapter sends through super(), so the fake adapter is its next base class.
    return type("Guarded", (theirs.CircuitBreakerAdapter, _Adapter), {})()


@contextmanager
def _server() -> Generator[str]:
    """Run a server that answers as fast as possible, in its own process without shared locks."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(
        target=_serve, args=(listener,), daemon=True
    )
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.terminate()
        server.join()
        listener.close()


def _serve(listener: socket.socket) -> None:
    head = b"".join(name + b": " + value + b"\r\n" for name, value in HEADERS)
    reply = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + BODY

    def answer(wire: socket.socket) -> None:
        with wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while wire.recv(65536):
                wire.sendall(reply)

    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


SECTIONS: dict[str, Callable[[Effort, Tick], Section]] = {
    "httpx": httpx_calls,
    "httpx-async": async_httpx_calls,
    "httpx2": httpx2_calls,
    "requests": requests_calls,
    "aiohttp": aiohttp_calls,
    "aiohttp-body": aiohttp_body_calls,
    "loopback": loopback,
}
"""The sections of this module by name. Each takes the usual number of rounds."""
