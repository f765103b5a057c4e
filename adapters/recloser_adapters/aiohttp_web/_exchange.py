"""One request of aiohttp.web as a conversation: what its handler reads and writes."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from aiohttp import AsyncIterablePayload, web

from recloser_adapters._routes.conversation import EXCHANGE, Conversation
from recloser_adapters.aiohttp_web._reader import WatchedReader

# Newer versions of aiohttp warn of a str as the key in a request.
KEY: Final[Any] = web.RequestKey(EXCHANGE, object) if hasattr(web, "RequestKey") else EXCHANGE
"""The key in a request for its exchange."""

_SWITCHING: Final = 101
_ALL_THERE: Final = "Content-Length", "0"


class Exchange(Conversation):
    """One request, from the first breaker around it to its end.

    Args:
        request: The request.

    Attributes:
        handler: What answers the request inside the middleware that runs at present.
        request: The request.
        response: What the middleware returns to aiohttp.
    """

    def __init__(self, request: web.Request) -> None:
        upgrade = request.headers.get("Upgrade", "")
        super().__init__(
            request.method,
            request.path,
            request.remote or "",
            is_websocket="websocket" in upgrade.lower(),
        )
        self.request = request
        self.handler: Any = None
        self.response: Any = None
        self._writer: Any = None
        self._reader: Any = None

    def attach(self) -> None:
        """Watch what the handler reads and writes, unless it is watched already."""
        if self._writer is not None:
            return
        request: Any = self.request
        # Each request has its own writer and reader. The writer is public, its replacement is not.
        writer: Any = request.writer
        self._writer = writer
        writer.write_headers = partial(self._write_headers, writer.write_headers)
        writer.write = partial(self._write, writer.write)
        writer.write_eof = partial(self._write_eof, writer.write_eof)
        if request.body_exists and not self._is_websocket:
            self._reader = request._payload
            request._payload = WatchedReader(self._reader, self)

    def close(self) -> None:
        """End the watch. What aiohttp does afterwards goes to the client directly."""
        writer, self._writer = self._writer, None
        own = getattr(writer, "__dict__", {})
        for name in ("write", "write_eof", "write_headers"):
            own.pop(name, None)
        if self._reader is not None:
            request: Any = self.request
            request._payload, self._reader = self._reader, None
        super().close()

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
        else:
            if not self.has_begun:
                # What is no response at all becomes a 500. aiohttp adds the length later; without
                # one this would be a stream that ends without a piece, whose latency is not judged.
                headers = [*getattr(response, "headers", {}).items(), _ALL_THERE]
                await self.tell_start(getattr(response, "status", 500), headers)
            await self.tell_body(b"", more=False)

    async def give(self, response: web.StreamResponse) -> None:
        """Give a response in place of the handler's."""
        self.response = response
        await self.tell_start(response.status, response.headers.items())
        await self.tell_body(b"", more=False)

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer in place of the handler."""
        self.response = web.Response(status=status, headers=headers, body=body)

    def has_more(self) -> bool:
        """Whether the client has not sent all of its request."""
        return self._reader is not None and not self._reader.at_eof()

    @property
    def is_left(self) -> bool:
        """Whether the client has closed the connection."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    async def _write_headers(self, write: Any, status_line: str, headers: Any) -> None:
        status = int(status_line.split(" ", 2)[1])
        await self.tell_start(status, headers.items(), partial(write, status_line, headers))
        if status == _SWITCHING and not self._is_websocket:
            # Another protocol, whose end is not seen here.
            await self.tell_body(b"", more=False)

    async def _write(self, write: Any, chunk: Any, **how: Any) -> None:
        await self.tell_body(_bytes(chunk), partial(write, chunk, **how), more=True)

    async def _write_eof(self, write_eof: Any, chunk: Any = b"") -> None:
        await self.tell_body(_bytes(chunk), partial(write_eof, chunk), more=False)


def _bytes(chunk: Any) -> bytes:
    return chunk if isinstance(chunk, bytes) else bytes(chunk)
