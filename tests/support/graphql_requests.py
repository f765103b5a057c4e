"""Requests to a GraphQL endpoint, with bodies of all sizes."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any
from urllib.parse import urlencode

from tests.support import asgi_client, wsgi_client
from tests.support.breaker_state import votes

from recloser import Registry

Answer = tuple[int | None, Any]
"""The status, and the document; None for a refusal."""


class Upload(asgi_client.Exchange):
    """A request with a body, in several pieces."""

    def __init__(
        self,
        body: bytes,
        *,
        pieces: int = 1,
        headers: Any = (),
        path: str = "/graphql",
        method: str = "POST",
    ) -> None:
        super().__init__(method, path, headers or ((b"content-type", b"application/json"),))
        size = max(-(-len(body) // pieces), 1)
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]

    async def _receive(self) -> Any:
        if not self._pieces:
            return await super()._receive()
        self._asked = True
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


def asgi(app: Any, **fields: Any) -> Answer:
    return asgi_body(app, json.dumps(fields).encode())


def asgi_body(app: Any, body: bytes, **how: Any) -> Answer:
    answer = asyncio.run(Upload(body, **how).run(app))
    assert answer.error is None, answer.error
    return answer.status, json.loads(answer.body) if answer.status != 503 else None


def asgi_get(app: Any, path: str = "/graphql", **fields: str) -> Answer:
    exchange = asgi_client.Exchange("GET", path)
    exchange.scope["query_string"] = urlencode(fields).encode()
    answer = asyncio.run(exchange.run(app))
    return answer.status, answer.body


def wsgi_body(app: Any, body: bytes, **environ: Any) -> Answer:
    exchange = wsgi_client.Exchange("POST", "/graphql")
    exchange.environ.update(
        {
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            **environ,
        }
    )
    answer = exchange.run(app)
    assert answer.error is None, answer.error
    return answer.status, json.loads(answer.body) if answer.status != 503 else None


def wsgi(app: Any, **fields: Any) -> Answer:
    return wsgi_body(app, json.dumps(fields).encode())


def counted(registry: Registry) -> dict[str, dict[str, int]]:
    return {breaker.key: votes(breaker.metrics()) for breaker in registry}
