"""One request of aiohttp.web, told as the conversation that the middleware of ASGI watches.

So all that `recloser.asgi` promises holds here as well. The two ends of the conversation are the
`receive` and `send` of this exchange. Each message from the handler carries what aiohttp has to do
for it, such as to write a piece, and that is done at the end of the way: if it fails because the
client has left, the middleware sees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from aiohttp import AsyncIterablePayload, web
from multidict import CIMultiDict

from recloser.asgi import permit_of
from recloser_adapters.aiohttp_web._reader import WatchedReader

EXCHANGE: Final = "recloser.exchange"
"""The key in a scope for its exchange."""
# Newer versions of aiohttp warn of a str as the key in a request.
KEY: Final[Any] = getattr(web, "RequestKey", lambda name, kind: name)(EXCHANGE, object)
"""The key in a request for its exchange."""

# The key in a message for what aiohttp has to do; None for nothing. A message without it is an answer
# that the middleware gives in place of the handler.
_ACT: Final = "recloser.act"
_SWITCHING: Final = 101


class Exchange:
    """One request, from the first breaker around it to its end.

    Args:
        request: The request.

    Attributes:
        handler: What answers the request inside the middleware that runs at present.
        receive: Through this the handler's reads go: the innermost watch, or the end of the way.
        request: The request.
        response: What the middleware returns to aiohttp.
        scope: The scope of the conversation.
        send: Through this the handler's messages go.
    """

    __slots__ = (
        "_begun",
        "_is_websocket",
        "_reader",
        "_reading",
        "_started",
        "_writer",
        "handler",
        "receive",
        "request",
        "response",
        "scope",
        "send",
    )

    def __init__(self, request: web.Request) -> None:
        headers = request.headers
        self._is_websocket = "websocket" in headers.get("Upgrade", "").lower()
        self.request = request
        self.scope: dict[str, Any] = {
            "type": "websocket" if self._is_websocket else "http",
            "method": request.method,
            "path": request.path,
            "client": (request.remote, 0),
            "extensions": {"websocket.http.response": {}},
            EXCHANGE: self,
        }
        self.handler: Any = None
        self.response: Any = None
        self.receive: Any = self._receive
        self.send: Any = self._send
        self._begun = False
        self._started: Any = None
        self._reading: Any = None
        self._reader: Any = None
        self._writer: Any = None

    def attach(self) -> None:
        """Watch what the handler reads and writes, unless it is watched already."""
        if self._writer is not None:
            return
        request: Any = self.request
        # There is no public place for these. Each request has its own writer and reader.
        writer: Any = request.writer
        self._writer = writer, writer.write_headers
        writer.write_headers = self._write_headers
        writer.write = partial(self._write, writer.write)
        writer.write_eof = partial(self._write_eof, writer.write_eof)
        if request.body_exists and not self._is_websocket:
            self._reader = request._payload
            request._payload = WatchedReader(self._reader, self)

    def close(self) -> None:
        """End the watch. What aiohttp does afterwards goes to the client directly."""
        if self._writer is not None:
            writer, _ = self._writer
            del writer.write, writer.write_eof, writer.write_headers
        if self._reader is not None:
            request: Any = self.request
            request._payload = self._reader
        # They refer to this object, which should not wait for the garbage collector.
        self.receive = self.send = self._writer = self._reader = None

    # What the handler does

    async def read(self, read: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Read from the body of the request; the time is the client's."""
        if self.receive is None:
            return await read(*args, **kwargs)
        done: list[Any] = []
        # No other task can run before the end of the way takes it.
        self._reading = partial(read, *args, **kwargs), done
        await self.receive()
        return done[0]

    async def answered(self, response: Any) -> None:
        """The handler has returned a response, or raised one."""
        if (
            isinstance(response, web.Response)
            and isinstance(response.body, AsyncIterablePayload)
            and not response.prepared
        ):
            # Its pieces are still to be made. aiohttp would do this next.
            await response.prepare(self.request)
            await response.write_eof()
        elif self._begun:
            await self._tell_body(b"", None, more=False)
        else:
            # What is no response at all becomes a 500.
            headers = getattr(response, "headers", {})
            await self._tell_start(getattr(response, "status", 500), headers, None)
            await self._tell_body(b"", None, more=False)

    @property
    def has_begun(self) -> bool:
        """Whether a response has begun."""
        return self._begun

    @property
    def is_left(self) -> bool:
        """Whether the client has closed the connection."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    async def _write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        _, write_headers = self._writer
        status = int(status_line.split(" ", 2)[1])
        await self._tell_start(status, headers, partial(write_headers, status_line, headers))

    async def _write(self, write: Any, chunk: Any, **how: Any) -> None:
        await self._tell_body(chunk, partial(write, chunk, **how), more=True)

    async def _write_eof(self, write_eof: Any, chunk: Any = b"") -> None:
        await self._tell_body(chunk, partial(write_eof, chunk), more=False)

    async def _tell_start(self, status: int, headers: Mapping[str, str], act: Any) -> None:
        self._begun = True
        if self._is_websocket and status == _SWITCHING:
            await self.send({"type": "websocket.accept", _ACT: act})
            return
        await self.send(
            {
                "type": self._kind("start"),
                "status": status,
                "headers": list(headers.items()),
                _ACT: act,
            }
        )
        if status == _SWITCHING:  # another protocol, which has no end that is seen here
            await self._tell_body(b"", None, more=False)

    async def _tell_body(self, chunk: Any, act: Any, *, more: bool) -> None:
        body = chunk if isinstance(chunk, bytes) else bytes(chunk)
        await self.send({"type": self._kind("body"), "body": body, "more_body": more, _ACT: act})

    def _kind(self, part: str) -> str:
        return f"websocket.http.response.{part}" if self._is_websocket else f"http.response.{part}"

    # The ends of the way

    async def _receive(self) -> dict[str, Any]:
        read, done = self._reading
        done.append(await read())
        reader = self._reader
        more = reader is not None and not reader.at_eof()
        return {"type": "http.request", "body": b"", "more_body": more}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if _ACT in message:
            act = message[_ACT]
            if act is not None:
                await act()
        elif message["type"].endswith(".start"):
            self._started = message["status"], message["headers"]
        else:
            status, headers = self._started
            self.response = web.Response(
                status=status,
                headers=[(str(name, "latin-1"), str(value, "latin-1")) for name, value in headers],
                body=message["body"],
            )

    async def give(self, response: web.StreamResponse, send: Any) -> None:
        """Give a response in place of the handler's."""
        self.response = response
        headers = list(response.headers.items())
        status = response.status
        await send(
            {"type": self._kind("start"), "status": status, "headers": headers, _ACT: None}
        )
        await send({"type": self._kind("body"), "body": b"", _ACT: None})

    def cancel(self) -> None:
        """End the call without a vote: its client has left."""
        permit_of(self.scope).cancel()
