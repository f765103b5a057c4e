"""Which breaker a request meets: each request is really made, and the breakers are asked for it."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
from tests.support import asgi_client, wsgi_client

from recloser import Registry


def _ended(registry: Registry) -> dict[str, int]:
    """The calls of each key that have ended."""
    found: dict[str, int] = {}
    for breaker in registry:
        metrics = breaker.metrics()
        assert metrics.in_flight == 0
        found[breaker.key] = (
            metrics.successes + metrics.failures + metrics.ignored + metrics.cancelled
        )
    return found


class Met:
    """What a request got, and which breakers counted it.

    Attributes:
        status: The status of the answer; None for a WebSocket that was accepted.
        keys: The keys of the breakers that counted one call.
    """

    def __init__(self, status: int | None, keys: list[str]) -> None:
        self.status = status
        self.keys = keys

    @property
    def key(self) -> str | None:
        """The only key, None if no breaker counted the request."""
        assert len(self.keys) <= 1, self.keys
        return self.keys[0] if self.keys else None


def _since(registry: Registry, before: dict[str, int]) -> list[str]:
    return [key for key, ended in _ended(registry).items() if ended == before.get(key, 0) + 1]


async def meet(app: Any, registry: Registry, method: str, path: str, **scope: Any) -> Met:
    """Request a path of an ASGI app; the method `WS` opens a WebSocket.

    Args:
        app: The app.
        registry: Its breakers.
        method: The method.
        path: The path.
        scope: Further values of the scope.
    """
    before = _ended(registry)
    if method == "WS":
        status = await _open(app, path, scope)
    else:
        exchange = asgi_client.Exchange(method, path)
        exchange.scope.update(scope)
        answer = await exchange.run(app)
        assert answer.error is None, answer.error
        status = answer.status
    return Met(status, _since(registry, before))


def meet_wsgi(app: Any, registry: Registry, method: str, path: str) -> Met:
    """Request a path of a WSGI app."""
    before = _ended(registry)
    answer = wsgi_client.Exchange(method, path).run(app)
    assert answer.error is None, answer.error
    return Met(answer.status, _since(registry, before))


async def _open(app: Any, path: str, more: dict[str, Any]) -> int | None:
    """Open a WebSocket; None if it was accepted, 403 if it was not."""
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "subprotocols": [],
        "client": ("testclient", 50000),
        "server": ("testserver", 80),
        "state": {},
        **more,
    }
    sent: list[str] = []
    events = ["websocket.connect"]
    closed = anyio.Event()

    async def receive() -> Any:
        await anyio.lowlevel.checkpoint()
        if events:
            return {"type": events.pop(0)}
        if "websocket.close" not in sent and "websocket.accept" not in sent:
            await closed.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message["type"])
        closed.set()

    await app(scope, receive, send)
    return None if "websocket.accept" in sent else 403
