"""Server and client in one for aiohttp.web apps: its own request, reader, writer and responses.

Only the transport is in memory. The handler runs in the task of the caller, so that a test can cancel
it, and gets whatever it raises. aiohttp's server would do the rest with each request in the same way.
"""

from __future__ import annotations

import asyncio
import http.client
import io
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11, RawRequestMessage, StreamWriter
from multidict import CIMultiDict, CIMultiDictProxy
from tests.support.scripted_handler import Answer
from yarl import URL


class Wire(asyncio.Transport):
    """A connection in memory.

    Attributes:
        sent: What the client got.
        leaves_after: The client leaves after so many writes; None if it stays.
    """

    def __init__(self, leaves_after: int | None = None) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.leaves_after = leaves_after

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.leaves_after is not None and len(self.sent) >= self.leaves_after

    def close(self) -> None:
        self.leaves_after = 0


class Exchange:
    """One request to an app.

    Args:
        method: The method of the request.
        path: The path of the request.
        headers: The headers of the request.
        leaves_after: The client leaves after so many writes; None if it stays.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/items/1",
        headers: dict[str, str] | None = None,
        *,
        leaves_after: int | None = None,
    ) -> None:
        self.method = method
        self.wire = Wire(leaves_after)
        self._url = URL(path)
        self._headers = CIMultiDict({"Host": "testserver", **(headers or {})})
        self._loop = asyncio.get_running_loop()
        self.request: web.Request
        self.body: StreamReader

    async def run(self, app: web.Application) -> Answer:
        """Run the request; return what the client got and what the server caught."""
        app.freeze()
        self._make_request(app)
        error: BaseException | None = None
        try:
            response: web.StreamResponse
            try:
                response = await app._handle(self.request)
            except web.HTTPException as raised:
                response = raised
            await response.prepare(self.request)
            await response.write_eof()
        except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit) as raised:
            error = raised
        return self._answer(error)

    def _make_request(self, app: web.Application) -> None:
        server = web.Server(app._handle, loop=self._loop)  # type: ignore[arg-type]
        protocol = web.RequestHandler(server, loop=self._loop)
        protocol.transport = self.wire
        has_body = self.method in ("POST", "PUT", "PATCH")
        self.body = StreamReader(protocol, 2**16, loop=self._loop)
        if not has_body:
            self.body.feed_eof()
        raw = tuple((name.encode(), value.encode()) for name, value in self._headers.items())
        message = RawRequestMessage(
            self.method,
            str(self._url),
            HttpVersion11,
            CIMultiDictProxy(self._headers),
            raw,
            False,
            None,
            False,
            False,
            self._url,
        )
        task: Any = asyncio.current_task()
        writer = StreamWriter(protocol, self._loop)
        self.request = app._make_request(message, self.body, protocol, writer, task)

    def _answer(self, error: BaseException | None) -> Answer:
        answer = Answer(error=error)
        sent = b"".join(self.wire.sent)
        if not sent:
            return answer
        socket: Any = _Sent(sent)
        response = http.client.HTTPResponse(socket, method=self.method)
        response.begin()
        answer.status = response.status
        answer.headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            answer.body = response.read()
        except http.client.IncompleteRead as cut:
            answer.body = cut.partial
        return answer


class _Sent:
    """What `http.client` reads from."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._sent)
