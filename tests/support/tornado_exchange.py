"""Server and client in one for Tornado apps: only the connection is in memory.

The handler runs in the task of the caller, so that a test can cancel it, and gets whatever it raises.
Tornado's server would run it in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.scripted_handler import Answer, Script
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler


class Wire(HTTPConnection):
    """A connection in memory.

    Attributes:
        pieces: What the client got of the body.
        status: The status of the response; None if it has not begun.
        headers: Its headers.
        leaves_after: The client leaves after so many writes; None if it stays.
        on_close: What Tornado wants to be called when the client leaves.
    """

    def __init__(self, leaves_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.leaves_after = leaves_after
        self.on_close: Callable[[], object] | None = None

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        self.status = start_line.code
        self.headers = {name.lower(): value for name, value in headers.get_all()}
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.leaves_after is not None and len(self.pieces) >= self.leaves_after:
            future.set_exception(StreamClosedError())
            future.exception()
        else:
            self.pieces.append(chunk)
            future.set_result(None)
        return future

    def finish(self) -> None:
        pass

    def set_close_callback(self, callback: Callable[[], object] | None) -> None:
        self.on_close = callback


class Exchange:
    """One request to an app.

    Args:
        method: The method of the request.
        path: The path of the request.
        leaves_after: The client leaves after so many writes; None if it stays.
    """

    def __init__(
        self, method: str = "GET", path: str = "/items/1", *, leaves_after: int | None = None
    ) -> None:
        self.wire = Wire(leaves_after)
        request: Any = HTTPServerRequest(
            start_line=RequestStartLine(method, path, "HTTP/1.1"),
            headers=HTTPHeaders({"Host": "testserver"}),
            connection=self.wire,
        )
        request.caught = None
        self.request = request

    async def run(self, app: Application) -> Answer:
        """Run the request; return what the client got and what the server caught."""
        error: BaseException | None = None
        delegate: Any = app.find_handler(self.request)
        handler = delegate.handler_class(app, self.request, **delegate.handler_kwargs)
        try:
            await handler._execute([], *delegate.path_args, **delegate.path_kwargs)
        except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit) as raised:
            error = raised
        wire = self.wire
        body = b"".join(wire.pieces)
        return Answer(wire.status, wire.headers, body, error or self.request.caught)


def application(script: Script) -> Application:
    """An app whose handler follows a script."""
    settings: dict[str, Any] = {"log_function": lambda handler: None}
    return Application([(r"/items/(\d+)", Scripted, {"script": script})], **settings)


class Scripted(RequestHandler):
    """Follows a script. What it raises can be read on its request."""

    def initialize(self, script: Script) -> None:
        self.script = script

    async def get(self, number: str) -> None:
        script = self.script
        await script.abegin()
        self.set_status(script.status)
        if script.streams:
            for chunk in script.body():
                self.write(chunk)
                await self.flush()
        else:
            self.write(script.chunks[0])
        if script.works_afterwards:
            self.finish()
            await script.aafter()

    head = get

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        request: Any = self.request
        request.caught = value
