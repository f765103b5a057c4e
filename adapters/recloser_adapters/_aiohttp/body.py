"""The body of an aiohttp response, watched while it is read.

aiohttp reports the end of a body to a callback (`StreamReader.on_eof`). It reports a cut, a
time-out and a close only to the code that reads, so the reader is wrapped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from recloser import Deadline
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.cut_off import HOPELESS

T = TypeVar("T")

# Errors on the wire. All other errors come from the caller's side: from another middleware, from
# code that makes the request body while it is sent, or from a line that is longer than the limit.
WIRE = (aiohttp.ClientError, OSError, TimeoutError)


def watch_body(response: aiohttp.ClientResponse, watch: AnyBodyWatch) -> None:
    """Connect a watch to the body of a response whose headers have just arrived."""
    content = response.content
    if content.total_bytes and watch.reads:
        # There is no public way to look at them without reading them.
        watch.arrived(b"".join(getattr(content, "_buffer", ())))
    if not watch.reads:
        content.on_eof(watch.eof)
        if content.is_eof():
            # A small body arrives with its headers, so it is complete already.
            return
    # The slots are set directly, because `__setattr__` sets the attributes of the wrapped reader.
    watched = _new(_WatchedReader)
    _set_content(watched, content)
    _set_watch(watched, watch)
    response.content = watched  # type: ignore[assignment]  # see __class__


class _WatchedReader:
    """A `StreamReader` that tells a watch what is read, and passes on everything else."""

    __slots__ = ("__weakref__", "_content", "_watch")

    _content: aiohttp.StreamReader
    _watch: AnyBodyWatch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._content, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._content, name)

    def __dir__(self) -> list[str]:
        return dir(self._content)

    def __repr__(self) -> str:
        return repr(self._content)

    @property
    def __class__(self) -> type[Any]:
        # isinstance() must accept the wrapper as a StreamReader.
        return type(self._content)

    @__class__.setter
    def __class__(self, kind: type[Any]) -> None:
        raise TypeError("the class of a watched body cannot be changed")

    async def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes, or all."""
        return await self._pull(self._content.read(n))

    async def readany(self) -> bytes:
        """Read what has arrived."""
        return await self._pull(self._content.readany())

    async def readexactly(self, n: int) -> bytes:
        """Read `n` bytes."""
        return await self._pull(self._content.readexactly(n))

    async def readline(self, **limits: Any) -> bytes:
        """Read a line."""
        return await self._pull(self._content.readline(**limits))

    async def readuntil(self, separator: bytes = b"\n", **limits: Any) -> bytes:
        """Read up to a separator."""
        return await self._pull(self._content.readuntil(separator, **limits))

    async def readchunk(self) -> tuple[bytes, bool]:
        """Read one chunk as it was sent, and whether it ends there."""
        watch, reading = self._watch, self._content.readchunk()
        watch.asked()
        try:
            piece = await (_in_time(reading, watch.patience) if watch.cuts_off else reading)
        except BaseException as error:
            self._failed(error)
            raise
        self._saw(piece[0])
        return piece

    def read_nowait(self, n: int = -1) -> bytes:
        """Read what is buffered."""
        data = self._content.read_nowait(n)
        self._saw(data)
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self.readline, lambda line: not line)

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Iterate over pieces of at most `n` bytes."""
        return _Pieces(lambda: self.read(n), lambda piece: not piece)

    def iter_any(self) -> AsyncIterator[bytes]:
        """Iterate over pieces as they arrive."""
        return _Pieces(self.readany, lambda piece: not piece)

    def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Iterate over chunks as they were sent."""
        return _Pieces(self.readchunk, lambda piece: piece == (b"", False))

    def exception(self) -> BaseException | None:
        """The error that broke the body, or None. Closing the response calls this."""
        error = self._content.exception()
        if error is not None:
            self._failed(error)
        return error

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Break the body. Closing the response calls this."""
        self._watch.closed()
        self._content.set_exception(exc, *cause)

    async def _pull(self, reading: Awaitable[bytes]) -> bytes:
        watch = self._watch
        watch.asked()
        try:
            data = await (_in_time(reading, watch.patience) if watch.cuts_off else reading)
        except BaseException as error:
            self._failed(error)
            raise
        self._saw(data)
        return data

    def _failed(self, error: BaseException) -> None:
        local = isinstance(error, Exception) and not isinstance(error, WIRE)
        self._watch.failed(error, local=local)

    def _saw(self, data: bytes) -> None:
        # Read each attribute once: in a class with `__getattr__` one look-up costs 50 ns.
        content, watch = self._content, self._watch
        if data:
            watch.chunk(data)
        if content.at_eof():
            watch.eof()


async def _in_time(reading: Awaitable[T], patience: float) -> T:
    """Wait for a part of a body, unless it is hopeless to wait for one."""
    with Deadline(patience):
        return await reading
    raise aiohttp.ServerTimeoutError(HOPELESS)


class _Pieces(AsyncIterator[T]):
    """Iterates by calling a reader, until the reader returns the end marker."""

    def __init__(self, read: Callable[[], Awaitable[T]], is_end: Callable[[T], bool]) -> None:
        self._read = read
        self._is_end = is_end

    async def __anext__(self) -> T:
        piece = await self._read()
        if self._is_end(piece):
            raise StopAsyncIteration
        return piece


_new = object.__new__
_slots = vars(_WatchedReader)
_set_content: Callable[[_WatchedReader, object], None] = _slots["_content"].__set__
_set_watch: Callable[[_WatchedReader, AnyBodyWatch], None] = _slots["_watch"].__set__
