"""The app that the servers run, as ASGI and as WSGI; steered by files, seen through `/breakers`.

Steering does not go through HTTP because a sync worker that is busy with one request cannot take
another. `SHOP_DIR/<name>` holds what `/work/<name>` and `/stream/<name>` do; an absent file means `healthy`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recloser.asgi
import recloser.wsgi
from recloser import Policy, Registry

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STEERING = Path(os.environ["SHOP_DIR"])
# Longer than any test waits: what ends earlier was ended by something else.
LONGEST = 60.0
LOOK_EVERY = 0.01
TEXT = "text/plain"

registry = Registry(Policy(open_for=1.0, max_open_for=1.0))


def _mode(name: str) -> str:
    try:
        return (STEERING / name).read_text()
    except FileNotFoundError:
        return "healthy"


def _key(path: str) -> str | None:
    kind, name = path.split("/")[1:3] if path.count("/") == 2 else ("", "")
    return name if kind in {"work", "upload", "stream", "endless"} else None


def _described() -> bytes:
    metrics = (breaker.metrics() for breaker in registry.breakers())
    return json.dumps(
        {
            each.key: {
                "state": each.state.value,
                "calls": each.calls,
                "successes": each.successes,
                "failures": each.failures,
                "cancelled": each.cancelled,
                "refused": each.refused,
                "in_flight": each.in_flight,
            }
            for each in metrics
        }
    ).encode()


def _ended_hanging(name: str, begun: float) -> bool:
    return _mode(name) != "hanging" or time.monotonic() > begun + LONGEST


def _worked(name: str) -> tuple[int, bytes]:
    return (500, b"broken\n") if _mode(name) == "failing" else (200, b"done\n")


async def _asgi(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    _, kind, name = f"{scope['path']}/".split("/")[:3]
    if kind == "work":
        await _work(name, receive, send)
    elif kind == "upload":
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.request":
            await _respond(send, 200, b"done\n")
    elif kind in {"stream", "endless"}:
        await _stream(kind, name, receive, send)
    else:
        await _respond(send, 200, _described())


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _gone(receive: Receive) -> None:
    """Wait for the client's leaving, as frameworks do: servers do not cancel an app for it."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _work(name: str, receive: Receive, send: Send) -> None:
    begun = time.monotonic()
    gone = asyncio.create_task(_gone(receive))
    try:
        while not _ended_hanging(name, begun):
            await asyncio.wait([gone], timeout=LOOK_EVERY)
            if gone.done():
                return
    finally:
        gone.cancel()
    await _respond(send, *_worked(name))


async def _stream(kind: str, name: str, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.create_task(_gone(receive))
    try:
        for chunk in _chunks(kind, name):
            if gone.done():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.wait([gone], timeout=LOOK_EVERY)
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b"last\n"})


def _chunks(kind: str, name: str) -> Iterator[bytes]:
    """Yield a first chunk, then whatever keeps a stream open until it may end."""
    begun = time.monotonic()
    while _mode(name) == "silent" and time.monotonic() < begun + LONGEST:
        yield b""
    yield b"first\n"
    while time.monotonic() < begun + LONGEST and (kind == "endless" or _mode(name) == "holding"):
        yield b"." * 1024 + b"\n"


def _wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    _, kind, name = f"{environ['PATH_INFO']}/".split("/")[:3]
    if kind in {"stream", "endless"}:
        start_response("200 OK", [("Content-Type", TEXT)])
        return _wsgi_stream(kind, name)
    if kind == "upload":
        environ["wsgi.input"].read()
        status, body = 200, b"done\n"
    else:
        status, body = _wsgi_work(name) if kind == "work" else (200, _described())
    headers = [("Content-Type", TEXT), ("Content-Length", str(len(body)))]
    start_response(f"{status} Said", headers)
    return [body]


def _wsgi_work(name: str) -> tuple[int, bytes]:
    begun = time.monotonic()
    while not _ended_hanging(name, begun):
        time.sleep(LOOK_EVERY)
    return _worked(name)


def _wsgi_stream(kind: str, name: str) -> Iterator[bytes]:
    for chunk in _chunks(kind, name):
        yield chunk
        time.sleep(LOOK_EVERY)
    yield b"last\n"


asgi = recloser.asgi.BreakerMiddleware(_asgi, registry, key=lambda scope: _key(scope["path"]))
wsgi = recloser.wsgi.BreakerMiddleware(
    _wsgi, registry, key=lambda environ: _key(environ["PATH_INFO"])
)
