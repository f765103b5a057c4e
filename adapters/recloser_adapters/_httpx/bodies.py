"""Response bodies for `httpx` and `httpx2`, sync and async, whose end also ends the call.

Each adapter combines these classes with its library's own `SyncByteStream` or `AsyncByteStream`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from types import CoroutineType
from typing import Any, ClassVar, Self

from recloser import LoosePermit
from recloser_adapters._outbound.body import AnyBodyWatch


class SyncBody(LoosePermit):
    """The body of a good answer. Its end, its close or its failure ends the call.

    It is also the permit of the call, which saves one object per call. Each end gives the same
    outcome as in `WatchingPermit`.

    Attributes:
        stream: The body of the library, whose chunks are passed on. It is set when the headers
            have arrived.
    """

    __slots__ = ("stream",)

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

    def __init__(self, stream: Any, watch: AnyBodyWatch) -> None:
        self._stream = stream
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        watch = self._watch
        try:
            yield from watch.watched(self._stream)
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error)
            raise
        watch.eof()

    def close(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self._watch.closed()
        self._stream.close()


class AsyncBody(LoosePermit):
    """`SyncBody` for async clients."""

    __slots__ = ("stream",)

    reads_status: ClassVar[bool] = False
    stream: Any

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Chunks(self, self.stream.__aiter__())

    def aclose(self) -> CoroutineType[Any, Any, None]:
        """Close the body. This ends the call if it has not ended yet."""
        self.success()
        closing: CoroutineType[Any, Any, None] = self.stream.aclose()
        return closing


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

    def __init__(self, stream: Any, watch: AnyBodyWatch) -> None:
        self._stream = stream
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        watch = self._watch
        chunks = self._stream.__aiter__()
        try:
            async for chunk in chunks:
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

    async def aclose(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self._watch.closed()
        await self._stream.aclose()


class SyncReadAhead:
    """A response body whose first chunk has been read already."""

    def __init__(self, first: bytes, chunks: Any, stream: Any) -> None:
        self._first = first
        self._chunks = chunks
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._chunks

    def close(self) -> None:
        """Close the body."""
        self._stream.close()


class AsyncReadAhead:
    """A response body whose first chunk has been read already."""

    def __init__(self, first: bytes, chunks: Any, stream: Any) -> None:
        self._first = first
        self._chunks = chunks
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield self._first
            async for chunk in self._chunks:
                yield chunk
        finally:
            # The garbage collector would close it on another task, or never.
            await self._chunks.aclose()

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


async def _finish(chunks: AsyncIterator[bytes]) -> None:
    """Close an async generator that was not read to its end.

    The garbage collector would close it on another task, or never.
    """
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
