"""Server and client in one for ASGI apps. It makes scope, receive and send by hand."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import anyio.lowlevel
from tests.support.scripted_handler import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[Any]]


class Leaving(enum.Enum):
    """How a server tells an app that its client has disconnected."""

    RECEIVE = "http.disconnect from receive"
    OSERROR = "OSError from send"
    CANCEL = "cancellation"
    SILENT = "not at all"


class Exchange:
    """One request to an app.

    Args:
        method: The method of the request.
        path: The path of the request.
        headers: The headers of the request.
        spec: The version of the ASGI HTTP and WebSocket specification that the server supports.
        leaving: How the client disconnects; None if it stays.
        leaves_after: Number of messages after which it disconnects; 0 is before the response.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/items/1",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        *,
        spec: str = "2.3",
        leaving: Leaving | None = None,
        leaves_after: int = 0,
    ) -> None:
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver"), *headers],
            "client": ("testclient", 50000),
            "server": ("testserver", 80),
            "state": {},
        }
        self.messages: list[Message] = []
        self.on_message: Callable[[], object] = lambda: None
        self._leaving = leaving
        self._leaves_after = leaves_after
        self._asked = False

    async def run(self, app: App) -> Answer:
        """Run the request; return what the client got and what the server caught."""
        self._over = anyio.Event()
        self._cancel = anyio.CancelScope()
        self._leave_if_time()
        error: BaseException | None = None
        try:
            with self._cancel:
                result: object = await app(self.scope, self._receive, self._send)
                assert result is None
        except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit) as raised:
            error = raised
        return self._answer(error)

    async def _receive(self) -> Message:
        if not self._asked and not self._over.is_set():
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self._over.is_set():
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone:
            if self._leaving is Leaving.OSERROR:
                raise ConnectionResetError("client has gone")
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # After the response a server tells of the leaving at the latest.
                self._over.set()
            await anyio.lowlevel.checkpoint()
            return
        self.messages.append(message)
        self.on_message()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._over.set()
        self._leave_if_time()
        await anyio.lowlevel.checkpoint()

    @property
    def _gone(self) -> bool:
        return self._leaving is not None and len(self.messages) >= self._leaves_after

    def _leave_if_time(self) -> None:
        if self._gone and self._leaving is Leaving.RECEIVE:
            self._over.set()
        elif self._gone and self._leaving is Leaving.CANCEL:
            self._cancel.cancel()

    def _answer(self, error: BaseException | None) -> Answer:
        answer = Answer(error=error)
        for message in self.messages:
            if message["type"] == "http.response.start":
                assert answer.status is None, "the response started twice"
                answer.status = message["status"]
                answer.headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in message["headers"]
                }
            else:
                answer.body += message.get("body", b"")
        return answer
