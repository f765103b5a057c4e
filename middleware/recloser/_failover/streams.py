"""Streams with failover behind them: the first chunk decides, the rest is passed through."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from recloser._failover.attempt import Attempt

C = TypeVar("C")


class Chunks(Iterator[C], Generic[C]):
    """An open stream: an iterator of its chunks, and a context manager that closes it."""

    __slots__ = ("_attempt", "_first", "_source")

    def __init__(self, attempt: Attempt[Any], source: Iterable[C]) -> None:
        self._attempt = attempt
        self._source = iter(source)
        try:
            self._first = [next(self._source)]
        except StopIteration:
            # An empty stream is an answer too.
            self._first = []
        except BaseException:
            with suppress(Exception):
                _close(self._source)
            raise
        attempt.commit()

    def __next__(self) -> C:
        if self._first:
            return self._first.pop()
        try:
            return next(self._source)
        except StopIteration:
            self._attempt.end_by_error(None)
            raise
        except BaseException as error:
            self._attempt.end_by_error(error)
            raise

    def close(self) -> None:
        """Read no further. A stream that was not at its end says nothing of the provider."""
        self._first = []
        try:
            _close(self._source)
        finally:
            self._attempt.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChunks(AsyncIterator[C], Generic[C]):
    """The async twin of `Chunks`."""

    __slots__ = ("_attempt", "_first", "_source")

    def __init__(self, attempt: Attempt[Any], source: AsyncIterable[C]) -> None:
        self._attempt = attempt
        self._source = aiter(source)
        self._first: list[C] = []

    async def open(self) -> Self:
        """Wait for the first chunk; from then on no other provider is tried."""
        try:
            self._first = [await anext(self._source)]
        except StopAsyncIteration:
            self._first = []
        except BaseException:
            with suppress(Exception):
                await _aclose(self._source)
            raise
        self._attempt.commit()
        return self

    async def __anext__(self) -> C:
        if self._first:
            return self._first.pop()
        try:
            return await anext(self._source)
        except StopAsyncIteration:
            self._attempt.end_by_error(None)
            raise
        except BaseException as error:
            self._attempt.end_by_error(error)
            raise

    async def aclose(self) -> None:
        """Read no further. A stream that was not at its end says nothing of the provider."""
        self._first = []
        try:
            await _aclose(self._source)
        finally:
            self._attempt.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def _aclose(source: object) -> None:
    # Generators have `aclose`; the streams of the LLM SDKs have an async `close`.
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if close is not None:
        await close()
