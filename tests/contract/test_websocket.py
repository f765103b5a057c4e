"""Of a WebSocket the handshake is the call; a refusal denies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.support.breaker_state import votes
from tests.support.scripted_handler import OopsError

import recloser.asgi
from recloser import Registry, State
from recloser.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]

DENIAL: dict[str, dict[str, str]] = {"websocket.http.response": {}}


class Handshake:
    """A server that opens a WebSocket."""

    def __init__(self, *, extensions: Any = None, leaves: bool = False) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "path": "/live",
            "headers": [],
            "subprotocols": [],
        }
        if extensions is not None:
            self.scope["extensions"] = extensions
        self.sent: list[Any] = []
        self.heard: list[str] = []
        self._events = ["websocket.connect", "websocket.disconnect"]
        if leaves:
            del self._events[0]

    async def receive(self) -> Any:
        await anyio.lowlevel.checkpoint()
        self.heard.append(self._events.pop(0))
        return {"type": self.heard[-1]}

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)

    async def run(self, app: Any) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def accept_and_break(scope: Any, receive: Any, send: Any) -> None:
    await accept(scope, receive, send)
    raise OopsError("in the session")


async def close(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4001})


async def fail(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise OopsError("in the handshake")


def deny(status: int) -> Callable[[Any, Any, Any], Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
        await send({"type": "websocket.http.response.body"})

    return app


async def give_up(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def give_up_loudly(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise OopsError("the client is gone")


@pytest.mark.parametrize(
    ("app", "leaves", "expected"),
    [
        (accept, False, {"successes": 1}),
        (accept_and_break, False, {"successes": 1}),
        (close, False, {"ignored": 1}),
        (fail, False, {"failures": 1}),
        (deny(403), False, {"ignored": 1}),
        (deny(500), False, {"failures": 1}),
        (give_up, False, {"cancelled": 1}),
        (give_up, True, {"cancelled": 1}),
        (give_up_loudly, True, {"cancelled": 1}),
    ],
    ids=str,
)
async def test_the_handshake_is_judged(
    app: Any, leaves: bool, expected: dict[str, int], registry: Registry
) -> None:
    guarded = recloser.asgi.BreakerMiddleware(app, registry)

    try:
        await Handshake(leaves=leaves).run(guarded)
    except OopsError:
        assert app in (accept_and_break, fail, give_up_loudly)

    assert votes(registry["app"].metrics()) == expected


async def test_the_session_is_not_judged(registry: Registry, clock: ManualClock) -> None:
    async def long(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        assert registry["app"].metrics().in_flight == 0
        clock.advance(86_400.0)

    await Handshake().run(recloser.asgi.BreakerMiddleware(long, registry))

    assert registry["app"].metrics().mean == 0.0


async def test_a_refusal_is_a_denial_response_where_the_server_can(registry: Registry) -> None:
    registry["app"].open()
    server = Handshake(extensions=DENIAL)

    await server.run(recloser.asgi.BreakerMiddleware(accept, registry))

    start, body = server.sent
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == 503
    headers = dict(start["headers"])
    assert int(headers[b"retry-after"]) >= 1
    assert headers[b"content-type"] == b"application/problem+json"
    assert body["type"] == "websocket.http.response.body"
    assert str(len(body["body"])).encode() == headers[b"content-length"]


@pytest.mark.parametrize("extensions", [None, {}])
async def test_a_refusal_is_a_close_where_it_cannot(registry: Registry, extensions: Any) -> None:
    registry["app"].open()
    server = Handshake(extensions=extensions)

    await server.run(recloser.asgi.BreakerMiddleware(accept, registry))

    assert server.heard == ["websocket.connect"]
    assert server.sent == [{"type": "websocket.close", "code": 1013}]


async def test_a_refusal_sends_nothing_to_a_client_that_has_left(registry: Registry) -> None:
    registry["app"].open()
    server = Handshake(leaves=True)

    await server.run(recloser.asgi.BreakerMiddleware(accept, registry))

    assert server.sent == []


async def test_failing_handshakes_open_it(registry: Registry) -> None:
    guarded = recloser.asgi.BreakerMiddleware(deny(502), registry)

    for _ in range(10):
        await Handshake(extensions=DENIAL).run(guarded)

    assert registry["app"].state is State.OPEN


async def test_a_refused_handshake_inside_is_no_failure_outside(
    registry: Registry, clock: ManualClock
) -> None:
    inner = recloser.asgi.BreakerMiddleware(accept, registry)
    registry["app"].open()
    other = Registry(clock=clock)

    await Handshake(extensions=DENIAL).run(recloser.asgi.BreakerMiddleware(inner, other))

    assert votes(other["app"].metrics()) == {"ignored": 1}


async def test_what_it_does_not_know_passes_untouched(registry: Registry) -> None:
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.append(args)

    guarded: Any = recloser.asgi.BreakerMiddleware(app, registry)
    registry["app"].open()
    for kind in ("lifespan", "mqtt", "", None):
        call = ({"type": kind}, object(), object())
        await guarded(*call)
        assert all(ours is theirs for ours, theirs in zip(seen.pop(), call, strict=True))
        assert set(call[0]) == {"type"}
    assert registry.faults == 0
