"""Bodies of `httpx` and `httpx2` responses that end their call, sync and async.

Each adapter completes these classes with its library's own `SyncByteStream` or `AsyncByteStream`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from types import CoroutineType
from typing import Any, ClassVar, Self

from recloser import LoosePermit
from recloser_adapters._outbound.body import AnyBodyWatch


class SyncBody(LoosePermit):
    """The body of a good answer, which ends its call: by its end, its close or its failure.

    It is the permit of the call as well: one object less for each. For `WatchingPermit` the same
    ends mean the same.

    Attributes:
        stream: The body that it passes on; given to it once the headers are there.
    """

    __slots__ = ("stream",)

    # The adapter has read the status of the answer. A body that breaks has none.
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
        """Close it: the call ends here, if it had not ended before."""
        self.success()
        self.stream.close()


class SyncWatchedBody:
    """A response body that tells a watch how it is read."""

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
        """Close it: the call ends here, if it had not ended before."""
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
        """Close it: the call ends here, if it had not ended before."""
        self.success()
        closing: CoroutineType[Any, Any, None] = self.stream.aclose()
        return closing


class _Chunks:
    """The pieces of an async body, which end its call when they end.

    No async generator: it is entered into a list of its event loop first, which costs 330 ns, and
    only bodies of many chunks would be the faster for it. Not the body itself: that is in a cycle
    with its response, and generators that the collector finds together close each other twice.
    """

    __slots__ = ("_body", "_chunks")

    def __init__(self, body: AsyncBody, chunks: AsyncIterator[bytes]) -> None:
        self._body = body
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            # One step of a loop: a fifth less than catching a StopAsyncIteration.
            async for chunk in self._chunks:
                return chunk
        except BaseException as error:
            self._body.end_by_error(error)
            raise
        self._body.success()
        raise StopAsyncIteration


class AsyncWatchedBody:
    """A response body that tells a watch how it is read."""

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
        """Close it: the call ends here, if it had not ended before."""
        self._watch.closed()
        await self._stream.aclose()


class SyncReadAhead:
    """A response body whose first chunk was read ahead."""

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
    """A response body whose first chunk was read ahead."""

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
            # Left to the garbage collector, it would be closed on another task, or never.
            await self._chunks.aclose()

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


async def _finish(chunks: AsyncIterator[bytes]) -> None:
    """Close a generator that was not exhausted.

    Left to the garbage collector, it would be closed on another task, or never.
    """
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
