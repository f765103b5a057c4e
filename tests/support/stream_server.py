"""A server with event streams on a virtual clock: requests are tasks, and time passes by `advance`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from recloser import Registry
from recloser.asgi import BreakerMiddleware
from recloser.testing import ManualClock

NEVER = inf
# So many steps of the event loop let every task run until it waits for time.
_STEPS = 6

Handler = Callable[[Any, Any, Any], Awaitable[None]]


class Request:
    """A request in flight or answered.

    Attributes:
        task: Runs it. To cancel it is to let the client leave.
        status: The status of the answer; None before its headers.
        takes: Seconds that the client needs to take a part of the answer.
        sleep: How it sleeps.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.takes = 0.0
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self.task: asyncio.Task[None]

    async def receive(self) -> Any:
        await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        if self.takes:
            await self.sleep(self.takes)


class StreamServer:
    """Handlers by method and path, guarded by one middleware.

    Args:
        one_key: Whether the whole app has one breaker.
    """

    def __init__(self, *, one_key: bool = False) -> None:
        self.clock = ManualClock(start=1.0)
        self.registry = Registry(clock=self.clock)
        self.handlers: dict[str, Handler] = {}
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        key = None if one_key else (lambda scope: f"{scope['method']} {scope['path']}")
        self._app = BreakerMiddleware(self._handle, self.registry, key=key)

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handlers[f"{scope['method']} {scope['path']}"](scope, receive, send)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.clock() + seconds, len(self._sleepers), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose time has come in their order."""
        end = self.clock() + seconds
        while True:
            for _ in range(_STEPS):
                await asyncio.sleep(0)
            due = min(self._sleepers, default=None, key=lambda sleeper: sleeper[:2])
            if due is None or due[0] > end:
                break
            self._sleepers.remove(due)
            self.clock.advance(max(0.0, due[0] - self.clock()))
            if not due[2].done():
                due[2].set_result(None)
        self.clock.advance(end - self.clock())

    async def ask(self, route: str, advance: float) -> Request:
        """Send a request, and let time pass."""
        method, path = route.split(" ")
        request = Request()
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        request.task = asyncio.create_task(self._app(scope, request.receive, request.send))
        await self.advance(advance)
        return request

    def stream(
        self,
        first: Callable[[], float],
        between: Callable[[], float] = lambda: 0.05,
        pieces: int = 3,
        piece: bytes = b"data: x\n\n",
        content_type: bytes = b"text/event-stream",
    ) -> Handler:
        """A handler that sends headers at once, its first piece later, and ends after some pieces."""

        async def handler(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"Content-Type", content_type)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self.sleep(first())
            for _ in range(pieces):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await self.sleep(between())
            await send({"type": "http.response.body", "body": b""})

        return handler

    def document(self, takes: Callable[[], float], status: int = 200) -> Handler:
        """A handler that sends its answer in one piece."""

        async def handler(scope: Any, receive: Any, send: Any) -> None:
            await self.sleep(takes())
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})

        return handler
