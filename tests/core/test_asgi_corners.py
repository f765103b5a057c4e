"""The ASGI middleware in the corners: odd scopes, refusals on their way out, signal handlers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.breaker_state import ended
from tests.support.passing import never, passing

from recloser import Registry
from recloser._http.asgi_watch import Receive, RequestWatch, Scope, Send
from recloser._http.cut_off import CutOff
from recloser.asgi import BreakerMiddleware
from recloser.testing import ManualClock

ORIGIN = (b"origin", b"https://a.example")


def http(method: str = "GET", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": "/x", "headers": [*headers]}


def serve(app: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent to the client, who then leaves."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    asyncio.run(app(scope, receive, send))
    return sent


Passing = passing(BreakerMiddleware, "type")
NotPassing = passing(BreakerMiddleware, "type", passes=False)


# Latency


@pytest.mark.parametrize(("method", "status"), [("DELETE", 204), ("GET", 304), ("HEAD", 200)])
def test_a_response_that_can_have_no_body_is_slow_if_it_comes_late(
    registry: Registry, clock: ManualClock, method: str, status: int
) -> None:
    took = [0.01] * 40 + [1.0] * 4

    async def app(scope: Any, receive: Any, send: Any) -> None:
        clock.advance(took.pop(0))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = BreakerMiddleware(app, registry)
    while took:
        serve(guarded, http(method))

    assert registry["app"].metrics().slow == 4


# Settings


@pytest.mark.parametrize("shown", [False, True])
def test_a_refusal_has_details_if_that_is_asked_for(registry: Registry, shown: bool) -> None:
    registry["app"].open("by the operator")
    guarded = BreakerMiddleware(never, registry, expose_details=shown)

    _, body = serve(guarded, http())

    assert (b"by the operator" in body["body"]) is shown


@pytest.mark.parametrize(
    ("mode", "cuts_off"),
    [(None, True), ("enforce", True), ("observe", False), ("disabled", False)],
)
def test_it_cuts_off_where_it_enforces(mode: str | None, cuts_off: bool) -> None:
    guarded = BreakerMiddleware(never, mode=mode, cut_off=True)

    assert isinstance(guarded.app, CutOff) is cuts_off


# Odd scopes


@pytest.mark.parametrize("scope", [{}, {"type": []}, {"type": "lifespan"}, {"type": None}])
def test_what_is_no_request_passes_as_it_is(registry: Registry, scope: dict[str, Any]) -> None:
    served: list[Any] = []

    async def app(*arguments: Any) -> None:
        served.extend(arguments)

    serve(BreakerMiddleware(app, registry), scope)

    assert served[0] is scope
    assert not [*registry]


class LeftFleet:
    """A fleet that counts how often it was left."""

    left = 0

    def leave(self) -> None:
        self.left += 1


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ({"type": "lifespan.startup.complete"}, 0),
        ({"type": "lifespan.shutdown.complete"}, 1),
        ({"type": "lifespan.shutdown.failed", "message": "broken"}, 1),
        ({}, 0),
        ({"type": []}, 0),
        (None, 0),
    ],
)
def test_when_the_app_has_shut_down_the_fleet_is_left(
    registry: Registry, message: Any, left: int
) -> None:
    fleet = LeftFleet()
    registry._listeners.fleet = fleet  # type: ignore[assignment]
    scope = {"type": "lifespan"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    assert serve(BreakerMiddleware(app, registry), scope) == [message]
    assert fleet.left == left


def test_of_several_layers_one_leaves_each_fleet(registry: Registry) -> None:
    fleet, other_fleet, other = LeftFleet(), LeftFleet(), Registry()
    registry._listeners.fleet = fleet  # type: ignore[assignment]
    other._listeners.fleet = other_fleet  # type: ignore[assignment]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    layers = BreakerMiddleware(BreakerMiddleware(BreakerMiddleware(app, registry), registry), other)
    serve(layers, {"type": "lifespan"})

    assert (fleet.left, other_fleet.left) == (1, 1)


@pytest.mark.parametrize("scope", [{}, {"type": []}, {"type": None}, {"type": "websocket.odd"}])
def test_what_is_no_lifespan_leaves_no_fleet(registry: Registry, scope: dict[str, Any]) -> None:
    fleet = LeftFleet()
    registry._listeners.fleet = fleet  # type: ignore[assignment]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    serve(BreakerMiddleware(app, registry), scope)

    assert fleet.left == 0


def test_a_fleet_that_cannot_be_left_breaks_no_shutdown(registry: Registry) -> None:
    class Broken:
        def leave(self) -> None:
            raise RuntimeError("a fault of our own")

    registry._listeners.fleet = Broken()  # type: ignore[assignment]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    sent = serve(BreakerMiddleware(app, registry), {"type": "lifespan"})

    assert sent == [{"type": "lifespan.shutdown.complete"}]


@pytest.mark.parametrize("headers", ["left out", None, [(b"a",)], [(b"a", b"b", b"c")]])
def test_headers_that_no_server_sends_have_no_origin(registry: Registry, headers: Any) -> None:
    registry["app"].open()
    guarded = Passing(never, registry)
    scope = http()
    if headers == "left out":
        del scope["headers"]
    else:
        scope["headers"] = headers

    start, _ = serve(guarded, scope)

    assert start["status"] == 503
    assert guarded.passed == []


# Refusals on their way out


@pytest.mark.parametrize("kind", [Passing, NotPassing], ids=["passing", "not passing"])
@pytest.mark.parametrize("origin", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_only_requests_of_another_origin_are_passed_on_and_only_where_that_is_asked_for(
    registry: Registry, kind: Any, origin: bool, answers: bool
) -> None:
    async def on_refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    registry["app"].open()
    guarded = kind(never, registry, on_refuse=on_refuse if answers else None)

    start, _ = serve(guarded, http("GET", *[ORIGIN] * origin))

    assert start["status"] == (429 if answers else 503)
    assert guarded.passed == ["http"] * (origin and kind is Passing)
    assert registry.faults == 0


def test_a_websocket_is_not_passed_on(registry: Registry) -> None:
    registry["app"].open()
    guarded = Passing(never, registry)
    scope = {
        **http("GET", ORIGIN),
        "type": "websocket",
        "extensions": {"websocket.http.response": {}},
    }

    start, _ = serve(guarded, scope)

    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert guarded.passed == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_the_users_answer_fails_head_has_no_body_either(
    registry: Registry, method: str
) -> None:
    async def on_refuse(scope: Any, receive: Any, send: Any) -> None:
        raise OSError

    registry["app"].open()
    guarded = BreakerMiddleware(never, registry, on_refuse=on_refuse)

    start, body = serve(guarded, http(method))

    assert start["status"] == 503
    assert (body["body"] == b"") is (method == "HEAD")
    assert registry.faults == 1


# The end of a request


def test_an_app_that_sends_nothing_leaves_no_call_in_flight(registry: Registry) -> None:
    """Whoever keeps its `receive`, which is the permit, keeps no call."""
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(receive)

    serve(BreakerMiddleware(app, registry), http())

    assert kept[0].ended
    assert registry["app"].metrics().in_flight == 0


def test_a_signal_handler_that_strikes_at_the_end_leaves_none_either(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(receive)

    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RequestWatch, "leave", strike)
    with pytest.raises(KeyboardInterrupt):
        serve(BreakerMiddleware(app, registry), http())
    monkeypatch.undo()

    assert kept[0].ended
    assert ended(registry["app"]) == (0, 0, 0, 1)
