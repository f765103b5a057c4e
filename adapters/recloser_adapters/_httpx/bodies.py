"""Response bodies for `httpx` and `httpx2`, sync and async, whose end also ends the call.

Each adapter combines these classes with its library's own `SyncByteStream` or `AsyncByteStream`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, ClassVar, Self

from recloser import Deadline, LoosePermit
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.cut_off import HOPELESS, runs_asyncio


class SyncBody(LoosePermit):
    """The body of a good answer. Its end, its close or its failure ends the call.

    It is also the permit of the call, which saves one object per call. Each end gives the same
    outcome as in `WatchingPermit`.

    Attributes:
        stream: The body of the library, whose chunks are passed on. It is set when the headers
            have arrived.
    """

    __slots__ = ("__weakref__", "stream")

    # The adapter has judged the status already. An error of the body has no status to read.
    reads_status: ClassVar[bool] = False
    stream: Any

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.stream
        except GeneratorExit:
            self.success()
            raise
        except BaseException as error:
            self.end_by_error(error)
            raise
        self.success()

    def close(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self.success()
        self.stream.close()


class SyncWatchedBody:
    """A response body that tells a watch which chunks are read and how reading ends."""

    def __init__(self, stream: Any, watch: AnyBodyWatch, read_timeout: type[Any]) -> None:
        self._stream = stream
        self.watch = watch
        self._read_timeout = read_timeout

    def __iter__(self) -> Iterator[bytes]:
        watch = self.watch
        try:
            if watch.cuts_off:
                yield from self._in_time(watch)
            else:
                yield from watch.watched(self._stream)
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error)
            raise
        watch.eof()

    def _in_time(self, watch: AnyBodyWatch) -> Iterator[bytes]:
        """The chunks until one more piece is hopeless. The time-out of each read is set before."""
        for chunk in watch.watched(self._stream):
            if not watch.patience:
                raise self._read_timeout(HOPELESS)
            yield chunk

    def close(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self.watch.closed()
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        # What a stream of another transport has besides.
        if name in ("stream", "_stream"):  # not set yet
            raise AttributeError(name)
        return getattr(self._stream, name)


class AsyncBody(LoosePermit):
    """`SyncBody` for async clients."""

    __slots__ = ("__weakref__", "stream")

    reads_status: ClassVar[bool] = False
    stream: Any

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Chunks(self, iterable(self.stream.__aiter__()))

    async def aclose(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self.success()
        await self.stream.aclose()


class _Chunks:
    """The iterator over the chunks of an async body. The end of the chunks ends the call.

    It is not an async generator: the event loop registers each of those, which costs 330 ns, and
    only bodies of many chunks would gain from one. It is not the body itself either: the body and
    its response refer to each other, and generators that the garbage collector finds together
    close each other twice.
    """

    __slots__ = ("_body", "_chunks")

    def __init__(self, body: AsyncBody, chunks: AsyncIterator[bytes]) -> None:
        self._body = body
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            # One step of a loop takes a fifth less time than catching a StopAsyncIteration.
            async for chunk in self._chunks:
                return chunk
        except BaseException as error:
            self._body.end_by_error(error)
            raise
        self._body.success()
        raise StopAsyncIteration


class AsyncWatchedBody:
    """A response body that tells a watch which chunks are read and how reading ends."""

    def __init__(self, stream: Any, watch: AnyBodyWatch, read_timeout: type[Any]) -> None:
        self._stream = stream
        self.watch = watch
        self._read_timeout = read_timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        watch = self.watch
        chunks = iterable(self._stream.__aiter__())
        try:
            while True:
                watch.asked()
                # One step of a loop takes less time than catching a StopAsyncIteration.
                chunk = await self._next_in_time(chunks) if watch.cuts_off else await _next(chunks)
                if chunk is None:
                    break
                watch.chunk(chunk)
                yield chunk
        except GeneratorExit:
            watch.closed()
            await _finish(chunks)
            raise
        except BaseException as error:
            watch.failed(error)
            await _finish(chunks)
            raise
        watch.eof()

    async def _next_in_time(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, unless one more piece is hopeless."""
        patience = self.watch.patience
        if not runs_asyncio():
            # The time-out of each read is set before, and this is for what is no piece.
            if not patience:
                raise self._read_timeout(HOPELESS)
            return await _next(chunks)
        with Deadline(patience):
            return await _next(chunks)
        raise self._read_timeout(HOPELESS)

    async def aclose(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self.watch.closed()
        await self._stream.aclose()

    def __getattr__(self, name: str) -> Any:
        # What a stream of another transport has besides.
        if name in ("stream", "_stream"):  # not set yet
            raise AttributeError(name)
        return getattr(self._stream, name)


class SyncReadAhead:
    """A response body whose beginning has been read already."""

    def __init__(self, head: list[bytes], chunks: Any, stream: Any) -> None:
        self._head = head
        self._chunks = chunks
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._head
        yield from self._chunks

    def close(self) -> None:
        """Close the body."""
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        # What a stream of another transport has besides.
        if name in ("stream", "_stream"):  # not set yet
            raise AttributeError(name)
        return getattr(self._stream, name)


class AsyncReadAhead:
    """A response body whose beginning has been read already."""

    def __init__(self, head: list[bytes], chunks: Any, stream: Any) -> None:
        self._head = head
        self._chunks = chunks
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for chunk in self._head:
                yield chunk
            async for chunk in self._chunks:
                yield chunk
        finally:
            # The garbage collector would close it on another task, or never.
            await self._chunks.aclose()

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()

    def __getattr__(self, name: str) -> Any:
        # What a stream of another transport has besides.
        if name in ("stream", "_stream"):  # not set yet
            raise AttributeError(name)
        return getattr(self._stream, name)


def iterable(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Make an iterator iterable: `async for` needs only its `__anext__` where it made it itself."""
    return chunks if hasattr(chunks, "__aiter__") else _Iterable(chunks)


class _Iterable(AsyncIterator[bytes]):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __anext__(self) -> bytes:
        return await self._chunks.__anext__()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The next chunk; None after the last one."""
    async for chunk in chunks:
        return chunk
    return None


async def _finish(chunks: AsyncIterator[bytes]) -> None:
    """Close an async generator that was not read to its end.

    The garbage collector would close it on another task, or never.
    """
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
