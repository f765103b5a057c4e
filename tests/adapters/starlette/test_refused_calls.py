"""A refusal inside an endpoint, outbound or by `protect`: the client's answer, and that nobody is blamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from tests.support.starlette_endpoints import chat, converse, page

from recloser import BreakerOpenError, Registry
from recloser.testing import open_breaker
from recloser_adapters.starlette import BreakerMiddleware, protect, refuse


def outbound(registry: Registry) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        with registry["upstream"]:
            return PlainTextResponse("never")

    return endpoint


def test_a_refused_outbound_call_becomes_a_503_that_its_route_is_not_blamed_for(
    registry: Registry,
) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)
    registry["upstream"].open("test", for_=20.0)

    answers = [client.get("/") for _ in range(20)]

    assert {answer.status_code for answer in answers} == {503}
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert answers[-1].json()["status"] == 503
    assert 20 <= int(answers[-1].headers["retry-after"]) <= 22
    assert "upstream" not in answers[-1].text
    metrics = registry["GET /"].metrics()
    assert (metrics.failures, metrics.ignored) == (0, 20)


def test_a_refused_outbound_call_that_nobody_catches_is_not_held_against_its_route(
    registry: Registry, place: Callable[[Starlette, Registry], Any]
) -> None:
    """Wrapped round the whole application a breaker sees the 500 before the error."""
    app = place(Starlette(routes=[Route("/", outbound(registry))]), registry)
    open_breaker(registry["upstream"])
    client = TestClient(app, raise_server_exceptions=False)

    assert [client.get("/").status_code for _ in range(20)] == [500] * 20

    assert is_blameless(registry, "GET /")


class ShopClosedError(Exception):
    """An error of the application, for which it has a handler."""


def instead_of_a_refusal(registry: Registry, how: str) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        try:
            with registry["upstream"]:
                return PlainTextResponse("never")
        except BreakerOpenError as refusal:
            if how == "from it":
                raise HTTPException(503) from refusal
            if how == "while it is handled":
                raise HTTPException(503)  # noqa: B904 - that is the point
            if how == "from none":
                raise HTTPException(503) from None
            raise ShopClosedError from refusal

    return endpoint


@pytest.mark.parametrize("guarded_by", ["middleware", "protect"])
@pytest.mark.parametrize("how", ["from it", "while it is handled", "from none", "another error"])
def test_an_error_raised_instead_of_a_refusal_is_not_held_against_its_route(
    registry: Registry, how: str, guarded_by: str
) -> None:
    async def answer_503(request: Request, error: Exception) -> Response:
        return PlainTextResponse("closed", 503)

    endpoint = instead_of_a_refusal(registry, how)
    if guarded_by == "protect":
        endpoint = protect(registry, "GET /")(endpoint)
    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={ShopClosedError: answer_503})
    if guarded_by == "middleware":
        app.add_middleware(BreakerMiddleware, registry=registry)
    open_breaker(registry["upstream"])
    client = TestClient(app)

    assert [client.get("/").status_code for _ in range(20)] == [503] * 20

    assert is_blameless(registry, "GET /")


def copying(inner: Any) -> Any:
    """An app that hands a copy of its scope to another."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(dict(scope), receive, send)

    return app


def nested(app: Any, registry: Registry) -> Any:
    """Two breakers around an app, each of which hands it a copy of its scope."""
    for key in ("near", "far"):
        app = under(key, copying(app), registry)
    return app


def under(key: str, app: Any, registry: Registry) -> Any:
    return BreakerMiddleware(app, registry, key=lambda scope: key)


def is_blameless(registry: Registry, *keys: str) -> bool:
    """Whether all that these breakers saw were refusals by others."""
    return all(
        (figures.ignored > 0 and figures.calls == figures.ignored)
        for figures in (registry[key].metrics() for key in keys)
    )


def test_no_copy_of_a_scope_hides_a_refused_outbound_call(registry: Registry) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    open_breaker(registry["upstream"])

    assert TestClient(nested(app, registry)).get("/").status_code == 503

    assert is_blameless(registry, "near", "far")


async def answer_503(request: Request, error: Exception) -> Response:
    """A handler of the user's, which knows nothing of breakers."""
    return PlainTextResponse("later", 503)


@pytest.mark.parametrize("whose", [None, 503, HTTPException, BreakerOpenError])
@pytest.mark.parametrize("where", ["function", "sync", "method", "sync method"])
def test_what_protect_refuses_is_held_against_no_breaker_around_it(
    registry: Registry, where: str, whose: Any
) -> None:
    guard = protect(registry, "payments")

    def sync(request: Request) -> Response:
        return PlainTextResponse("never")

    class Methods(HTTPEndpoint):
        @guard
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("never")

    class SyncMethods(HTTPEndpoint):
        @guard
        def get(self, request: Request) -> Response:
            return PlainTextResponse("never")

    endpoint: Any = {
        "function": guard(page),
        "sync": guard(sync),
        "method": Methods,
        "sync method": SyncMethods,
    }[where]
    app = Starlette(
        routes=[Route("/", endpoint)],
        exception_handlers={} if whose is None else {whose: answer_503},
    )
    open_breaker(registry["payments"])

    assert TestClient(nested(app, registry)).get("/").status_code == 503

    assert is_blameless(registry, "near", "far")


def test_an_outbound_refusal_that_leaves_a_protected_endpoint_is_held_against_no_breaker(
    registry: Registry,
) -> None:
    endpoint = protect(registry, "payments")(outbound(registry))
    app = Starlette(routes=[Route("/", endpoint)])
    open_breaker(registry["upstream"])
    client = TestClient(nested(app, registry), raise_server_exceptions=False)

    assert client.get("/").status_code == 500

    assert is_blameless(registry, "near", "far", "payments")


def test_what_protect_refuses_to_a_websocket_is_held_against_no_breaker(
    registry: Registry,
) -> None:
    app = Starlette(routes=[WebSocketRoute("/", protect(registry, "payments")(chat))])
    open_breaker(registry["payments"])

    sent = converse(nested(app, registry))

    # Older versions answer no HTTP error of a WebSocket, and leave it to the server.
    assert "websocket.accept" not in [message["type"] for message in sent]

    assert is_blameless(registry, "near", "far")


def test_a_refused_outbound_call_in_a_websocket_closes_it_to_try_again_later(
    registry: Registry,
) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        registry["upstream"].acquire()

    open_breaker(registry["upstream"])
    app = Starlette(
        routes=[WebSocketRoute("/", endpoint)], exception_handlers={BreakerOpenError: refuse}
    )

    with TestClient(app).websocket_connect("/") as websocket:
        message = websocket.receive()

    assert (message["type"], message["code"]) == ("websocket.close", 1013)


def test_a_breaker_opened_for_years_names_a_day(registry: Registry) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    registry["upstream"].open("for years", for_=1e9)

    assert 1 <= int(TestClient(app).get("/").headers["retry-after"]) <= 86_400
