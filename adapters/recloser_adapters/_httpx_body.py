"""Bodies of `httpx` and `httpx2` responses that end their call, sync and async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from recloser_adapters._outbound_body import BodyWatch, Ticket


class SyncBody:
    """A response body that ends its call: by its end, its close or its failure.

    Closed early it is a success, as `BodyWatch` has it: this is the same, at half the price.
    """

    def __init__(self, stream: Any, ticket: Ticket) -> None:
        self._stream = stream
        self._ticket = ticket

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            self._ticket.success()
            raise
        except BaseException as error:
            self._ticket.end_by_error(error)
            raise
        self._ticket.success()

    def close(self) -> None:
        """Close it: the call ends here, if it had not ended before."""
        self._ticket.success()
        self._stream.close()


class SyncWatchedBody:
    """A response body that tells its watch what becomes of it."""

    def __init__(self, stream: Any, watch: BodyWatch) -> None:
        self._stream = stream
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        watch = self._watch
        try:
            for chunk in self._stream:
                watch.chunk(chunk)
                yield chunk
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


class AsyncBody:
    """A response body that ends its call: by its end, its close or its failure."""

    def __init__(self, stream: Any, ticket: Ticket) -> None:
        self._stream = stream
        self._ticket = ticket

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._stream.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
        except GeneratorExit:
            self._ticket.success()
            await _finish(chunks)
            raise
        except BaseException as error:
            self._ticket.end_by_error(error)
            await _finish(chunks)
            raise
        self._ticket.success()

    async def aclose(self) -> None:
        """Close it: the call ends here, if it had not ended before."""
        self._ticket.success()
        await self._stream.aclose()


class AsyncWatchedBody:
    """A response body that tells its watch what becomes of it."""

    def __init__(self, stream: Any, watch: BodyWatch) -> None:
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


async def _finish(chunks: AsyncIterator[bytes]) -> None:
    """Close a generator that was not exhausted.

    Left to the garbage collector, it would be closed on another task, or never.
    """
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
