"""Streams with failover: once the first chunk has arrived, no other provider is tried.

Each further chunk is a piece of the answer, so a stream that stalls is a failure of its provider, once
streams are known to be answers (see `recloser._items`). It is not cut off. The time that the caller takes
between two chunks does not count.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

from recloser._failover.attempt import Attempt
from recloser._items import Items

_KIND = "stream"  # see `Items`

C = TypeVar("C")


class Chunks(Iterator[C], Generic[C]):
    """An open stream: an iterator over its chunks, and a context manager that closes it.

    `Failover.stream` returns it. No other provider is tried any more: the iteration raises any
    failure.
    """

    __slots__ = ("_attempt", "_first", "_items", "_source")

    def __init__(self, attempt: Attempt[Any], source: Iterator[C], first: list[C]) -> None:
        self._attempt = attempt
        self._source = source
        # The chunk that was read ahead; none if the stream is empty.
        self._first = first
        self._items = Items(attempt.permit, _KIND)
        self._items.began()

    def __next__(self) -> C:
        if self._first:
            return self._first.pop()
        self._items.asked()
        try:
            chunk = next(self._source)
        except StopIteration:
            self._items.ended(by_itself=True)
            self._attempt.end_by_error(None)
            raise
        except BaseException as error:
            self._attempt.end_by_error(error)
            raise
        self._items.arrived()
        return chunk

    def close(self) -> None:
        """Close the stream. If it is closed before its end, its permit is cancelled."""
        self._first = []
        self._items.ended(by_itself=False)
        try:
            _close(self._source)
        finally:
            self._attempt.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChunks(AsyncIterator[C], Generic[C]):
    """An open stream: an async iterator over its chunks, and a context manager that closes it.

    `Failover.astream` returns it. No other provider is tried any more: the iteration raises any
    failure.
    """

    __slots__ = ("_attempt", "_first", "_items", "_source")

    def __init__(self, attempt: Attempt[Any], source: AsyncIterator[C], first: list[C]) -> None:
        self._attempt = attempt
        self._source = source
        # The chunk that was read ahead; none if the stream is empty.
        self._first = first
        self._items = Items(attempt.permit, _KIND)
        self._items.began()

    async def __anext__(self) -> C:
        if self._first:
            return self._first.pop()
        self._items.asked()
        try:
            chunk = await anext(self._source)
        except StopAsyncIteration:
            self._items.ended(by_itself=True)
            self._attempt.end_by_error(None)
            raise
        except BaseException as error:
            self._attempt.end_by_error(error)
            raise
        self._items.arrived()
        return chunk

    async def aclose(self) -> None:
        """Close the stream. If it is closed before its end, its permit is cancelled."""
        self._first = []
        self._items.ended(by_itself=False)
        try:
            await _aclose(self._source)
        finally:
            self._attempt.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def open_chunks(attempt: Attempt[Any], source: Iterable[C]) -> Chunks[C]:
    """Wait for the first chunk of a stream. After it, no other provider is tried."""
    chunks = iter(source)
    try:
        first = [next(chunks)]
    except StopIteration:
        # An empty stream is an answer, too.
        first = []
    except BaseException:
        with suppress(Exception):
            _close(chunks)
        raise
    attempt.commit()
    return Chunks(attempt, chunks, first)


async def open_async_chunks(attempt: Attempt[Any], source: AsyncIterable[C]) -> AsyncChunks[C]:
    """Wait for the first chunk of a stream. After it, no other provider is tried."""
    chunks = aiter(source)
    try:
        first = [await anext(chunks)]
    except StopAsyncIteration:
        first = []
    except BaseException:
        with suppress(Exception):
            await _aclose(chunks)
        raise
    attempt.commit()
    return AsyncChunks(attempt, chunks, first)


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def _aclose(source: object) -> None:
    # Generators have `aclose`; the streams of the LLM SDKs have an async `close`.
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if close is not None:
        await close()
