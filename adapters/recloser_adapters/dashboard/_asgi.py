"""The dashboard as an ASGI app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from recloser_adapters.dashboard._exchange import MAX_BODY, Answer, Headers, Request

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def serve(
    respond: Callable[[Request], Answer], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one ASGI connection."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = await _body(receive) if scope["method"] == "POST" else b""
    if body is None:
        return
    answer = respond(_request(scope, body))
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _live(receive: Receive, send: Send) -> None:
    """Where the dashboard is the whole app, the server also tells it of its begin and end."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    """The body, up to one byte more than is allowed; None if the client has left."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body[: MAX_BODY + 1])


def _request(scope: Scope, body: bytes) -> Request:
    prefix, path = scope.get("root_path", ""), scope["path"]
    # Whether `path` begins with the prefix depends on the version of the server and the framework.
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :]
    client = scope.get("client")
    return Request(
        method=scope["method"],
        prefix=prefix,
        path=path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=Headers(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ),
        client=client[0] if client else None,
        body=body,
    )
