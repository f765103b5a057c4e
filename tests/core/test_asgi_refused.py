"""The ASGI middleware: what a refused client gets, message by message, and what an app sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.passing import never

from recloser import Outcome, Registry
from recloser.asgi import PERMIT, REFUSAL, BreakerMiddleware, permit_of
from recloser.testing import ManualClock


def http(method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": "/x", "headers": [], **more}


def websocket(*, answers: bool) -> dict[str, Any]:
    extensions: Any = {"websocket.http.response": {}} if answers else None
    return {"type": "websocket", "path": "/x", "headers": [], "extensions": extensions}


class Client:
    """Sends some messages, and notes what it gets."""

    def __init__(self, *messages: str) -> None:
        self.messages = [*messages]
        self.sent: list[dict[str, Any]] = []

    def ask(self, app: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
        asyncio.run(app(scope, self.receive, self.send))
        return self.sent

    async def receive(self) -> dict[str, Any]:
        return {"type": self.messages.pop(0)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


async def good(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def names(message: dict[str, Any]) -> set[bytes]:
    return {name for name, _ in message["headers"]}


# Refused


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_refused_request_gets_a_503_and_head_no_body(registry: Registry, method: str) -> None:
    registry["app"].open()

    start, body = Client().ask(BreakerMiddleware(never, registry), http(method))

    assert (start["type"], start["status"]) == ("http.response.start", 503)
    assert {b"retry-after", b"content-type", b"content-length"} <= names(start)
    assert body.keys() == {"type", "body"}
    assert body["type"] == "http.response.body"
    assert (body["body"] == b"") is (method == "HEAD")


def test_a_refused_handshake_gets_a_503_where_the_server_can_send_one(registry: Registry) -> None:
    registry["app"].open()

    start, body = Client().ask(BreakerMiddleware(never, registry), websocket(answers=True))

    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert b"retry-after" in names(start)
    assert body["type"] == "websocket.http.response.body"
    assert body["body"] != b""


def test_a_refused_handshake_is_closed_to_try_again_later_where_it_cannot(
    registry: Registry,
) -> None:
    registry["app"].open()

    sent = Client("websocket.connect").ask(
        BreakerMiddleware(never, registry), websocket(answers=False)
    )

    assert sent == [{"type": "websocket.close", "code": 1013}]


def test_a_refused_client_that_has_left_is_sent_nothing_and_asked_once(registry: Registry) -> None:
    registry["app"].open()
    client = Client("websocket.disconnect")

    assert client.ask(BreakerMiddleware(never, registry), websocket(answers=False)) == []
    assert client.messages == []


def test_the_users_answer_knows_why_it_answers(registry: Registry) -> None:
    refusals: list[Any] = []

    async def on_refuse(scope: Any, receive: Any, send: Any) -> None:
        refusals.append(scope[REFUSAL])
        await good(scope, receive, send)

    registry["app"].open("for repair")
    guarded = BreakerMiddleware(never, registry, on_refuse=on_refuse)

    start, _ = Client().ask(guarded, http())

    assert start["status"] == 200
    assert refusals[0].key == "app"


def test_where_the_users_answer_fails_in_the_middle_the_server_sees_the_error(
    registry: Registry,
) -> None:
    async def on_refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        raise ConnectionResetError

    registry["app"].open()
    client = Client()

    with pytest.raises(ConnectionResetError):
        client.ask(BreakerMiddleware(never, registry, on_refuse=on_refuse), http())

    assert [each["type"] for each in client.sent] == ["http.response.start"]
    assert registry.faults == 1


# Served


def test_what_is_exempt_reaches_the_app_as_the_server_sent_it(registry: Registry) -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    client, scope = Client(), http()

    client.ask(BreakerMiddleware(app, registry, exempt=["GET /x"]), scope)

    assert seen == [(scope, client.receive, client.send)]
    assert not [*registry]


def test_the_status_is_judged_by_the_users_function(registry: Registry) -> None:
    guarded = BreakerMiddleware(good, registry, classify=lambda status: Outcome.FAILURE)

    Client().ask(guarded, http())

    assert registry["app"].metrics().failures == 1


def test_the_time_until_the_client_has_sent_its_request_is_none_of_the_handler(
    registry: Registry, clock: ManualClock
) -> None:
    class Slow(Client):
        async def receive(self) -> dict[str, Any]:
            clock.advance(5.0)
            return {"type": "http.request", "body": b"x", "more_body": False}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        clock.advance(0.25)
        await good(scope, receive, send)

    Slow().ask(BreakerMiddleware(app, registry), http("POST"))

    assert registry["app"].metrics().mean == pytest.approx(0.25)


def test_after_an_inner_middleware_the_request_has_the_permit_of_the_outer_one_again(
    registry: Registry,
) -> None:
    permits: list[Any] = []
    inner = BreakerMiddleware(good, registry, key=lambda scope: "inner")

    async def between(scope: Any, receive: Any, send: Any) -> None:
        permits.append(permit_of(scope))
        await inner(scope, receive, send)
        permits.append(permit_of(scope))

    scope = http()
    Client().ask(BreakerMiddleware(between, registry, key=lambda scope: "outer"), scope)

    assert permits[0] is permits[1] is not None
    assert permits[0].breaker.key == "outer"
    assert PERMIT not in scope
