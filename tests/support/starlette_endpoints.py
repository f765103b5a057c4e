"""Endpoints for Starlette, ways to put a breaker around an app, and a WebSocket client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from tests.support.asgi_scope import scope_of

from recloser import Registry
from recloser_adapters.starlette import BreakerMiddleware, protect


async def page(request: Request) -> Response:
    return PlainTextResponse("page")


async def broken(request: Request) -> Response:
    return PlainTextResponse("broken", 500)


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Item(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("item")


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


# Places for the middleware


def added(app: Starlette, registry: Registry) -> Any:
    app.add_middleware(BreakerMiddleware, registry=registry)
    return app


def added_outside_others(app: Starlette, registry: Registry) -> Any:
    app.add_middleware(GZipMiddleware)
    app.add_middleware(BreakerMiddleware, registry=registry)
    return app


def wrapped(app: Starlette, registry: Registry) -> Any:
    return BreakerMiddleware(app, registry)


def wrapped_far_outside(app: Starlette, registry: Registry) -> Any:
    return GZipMiddleware(BreakerMiddleware(GZipMiddleware(app), registry))


def declared(app: Starlette, registry: Registry) -> Any:
    return Starlette(
        routes=app.routes, middleware=[Middleware(BreakerMiddleware, registry=registry)]
    )


PLACES = [added, added_outside_others, wrapped, wrapped_far_outside, declared]


# WebSockets


def converse(app: Any, *said: str, path: str = "/") -> list[Any]:
    """Open a WebSocket, send texts and disconnect; return the messages to the client.

    It is written by hand, because the test clients of older versions wait for ever if an app sends
    no message.
    """
    received: list[Any] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in said),
        {"type": "websocket.disconnect", "code": 1000},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    extensions: dict[str, Any] = {"websocket.http.response": {}}
    scope = {**scope_of(path), "type": "websocket", "extensions": extensions, "subprotocols": []}
    with contextlib.suppress(Exception):
        asyncio.run(app(scope, receive, send))
    return sent


def conversing(registry: Registry, endpoint: Any) -> Any:
    return Starlette(routes=[WebSocketRoute("/", protect(registry, "chat")(endpoint))])
