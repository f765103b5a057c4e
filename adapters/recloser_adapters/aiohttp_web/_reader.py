"""The body of a request: the time for which its handler waits for the client is the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader

if TYPE_CHECKING:
    from recloser_adapters.aiohttp_web._exchange import Exchange


class WatchedReader:
    """Stands for the reader of a request, which handlers know as `request.content`.

    Args:
        reader: The reader.
        exchange: Told of each read.
    """

    __slots__ = ("_exchange", "_reader")

    def __init__(self, reader: StreamReader, exchange: Exchange) -> None:
        self._reader = reader
        self._exchange = exchange

    # To `isinstance` it is what it stands for.
    @property  # type: ignore[misc]  # that of its base class has a setter
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
        return type(self._reader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read, and count the time as the client's; so do all methods below."""
        return await self._exchange.read(self._reader.read, *args, **kwargs)  # type: ignore[no-any-return]

    async def readany(self) -> bytes:
        return await self._exchange.read(self._reader.readany)  # type: ignore[no-any-return]

    async def readuntil(self, *args: Any, **kwargs: Any) -> bytes:
        return await self._exchange.read(self._reader.readuntil, *args, **kwargs)  # type: ignore[no-any-return]

    async def readline(self, *args: Any, **kwargs: Any) -> bytes:
        return await self._exchange.read(self._reader.readline, *args, **kwargs)  # type: ignore[no-any-return]

    async def readexactly(self, n: int) -> bytes:
        return await self._exchange.read(self._reader.readexactly, n)  # type: ignore[no-any-return]

    async def readchunk(self) -> tuple[bytes, bool]:
        return await self._exchange.read(self._reader.readchunk)  # type: ignore[no-any-return]

    async def wait_eof(self) -> None:
        await self._exchange.read(self._reader.wait_eof)

    # These call the methods above: they take this object for a reader.
    __aiter__: Any = StreamReader.__aiter__
    iter_any: Any = StreamReader.iter_any
    iter_chunked: Any = StreamReader.iter_chunked
    iter_chunks: Any = StreamReader.iter_chunks
