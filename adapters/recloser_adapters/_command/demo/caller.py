"""A small HTTP/1.1 client that keeps its connections, for GET requests to one local server.

A client library searches all its connections for each request. The app without a breaker has
hundreds of hanging ones. The search would then take longer than an answer, and would distort the
latencies.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Caller:
    """Sends GET requests, on one connection per waiting caller.

    Args:
        url: `http://host:port` of the server.
        timeout: Seconds that a caller waits at most, > 0.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._timeout = timeout
        self._idle: list[_Connection] = []

    async def get(self, path: str) -> int:
        """Send a request, read the answer to its end, and return the status.

        Raises:
            OSError: The connection failed, or the time-out was reached (TimeoutError).
            asyncio.IncompleteReadError: The server closed the connection.
        """
        async with asyncio.timeout(self._timeout):
            async with await self._connection() as connection:
                status = await connection.get(path, self._host)
            # Only a connection whose answer is complete is kept. Otherwise the block has closed it.
            self._idle.append(connection)
        return status

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            # Servers close connections that are idle for long.
            if not connection.ended:
                return connection
        return _Connection(*await asyncio.open_connection(self._host, self._port))


class _Connection:
    """One connection. As a context manager it is closed if the block raises."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def ended(self) -> bool:
        return self._reader.at_eof()

    async def get(self, path: str, host: str) -> int:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii"))
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        # Both apps make whole JSON or text bodies, so there is always a Content-Length.
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._writer.close()
