"""The script of a handler that a front end calls, and the result of the call."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.lowlevel

from recloser import BreakerOpenError
from recloser.testing import ManualClock

WAIT = 10.0  # seconds after which a test that hangs fails


class OopsError(Exception):
    """The error that a handler raises in tests of failures."""


class Latch(Protocol):
    """A point at which a handler stops until the test releases it."""

    def reached(self) -> None: ...
    def release(self) -> None: ...


class ThreadLatch:
    """A latch for handlers that run in a thread."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released = threading.Event()

    def hold(self) -> None:
        self._reached.set()
        assert self._released.wait(WAIT)

    def wait_reached(self) -> None:
        assert self._reached.wait(WAIT)

    def release(self) -> None:
        self._released.set()


class TaskLatch:
    """A latch for handlers that run in a task."""

    def __init__(self) -> None:
        self._reached = anyio.Event()
        self._released = anyio.Event()

    async def hold(self) -> None:
        self._reached.set()
        await self._released.wait()

    async def wait_reached(self) -> None:
        with anyio.fail_after(WAIT):
            await self._reached.wait()

    def release(self) -> None:
        self._released.set()


class _Chunks:
    """An async iterator. trio would report a generator that a framework leaves open."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


@dataclass
class Script:
    """What a handler does. Tests change it between calls.

    Attributes:
        clock: The clock that `takes`, `between` and `afterwards` advance.
        status: The status of the response, if there is a response.
        chunks: The body. More than one chunk makes it a stream.
        takes: Seconds before the response starts.
        between: Seconds before every chunk except the first.
        afterwards: Seconds of work after the response.
        raises: Error that is raised instead of a response.
        raises_midway: Error that is raised after the first chunk.
        raises_afterwards: Error that is raised in the work after the response.
        latch: Holds the handler before the response starts.
        on_call: Called at the start of the handler.
        calls: Number of calls of the handler.
    """

    clock: ManualClock
    status: int = 200
    chunks: tuple[bytes, ...] = (b"ok",)
    takes: float = 0.0
    between: float = 0.0
    afterwards: float = 0.0
    raises: BaseException | None = None
    raises_midway: BaseException | None = None
    raises_afterwards: BaseException | None = None
    latch: ThreadLatch | TaskLatch | None = None
    on_call: Callable[[], object] | None = None
    calls: int = 0

    @property
    def streams(self) -> bool:
        return len(self.chunks) > 1 or self.raises_midway is not None

    @property
    def works_afterwards(self) -> bool:
        return bool(self.afterwards or self.raises_afterwards)

    def begin(self) -> None:
        """Do the part before the response, in a thread."""
        latch = self._count_call()
        if latch is not None:
            assert isinstance(latch, ThreadLatch)
            latch.hold()
        self._take()

    async def abegin(self) -> None:
        """Do the part before the response, in a task."""
        latch = self._count_call()
        if latch is not None:
            assert isinstance(latch, TaskLatch)
            await latch.hold()
        # A cancellation that `on_call` requested takes effect here.
        await anyio.lowlevel.checkpoint()
        self._take()

    def body(self) -> Iterator[bytes]:
        """Yield the body."""
        for index, chunk in enumerate(self.chunks):
            if index:
                self.clock.advance(self.between)
            yield chunk
            if self.raises_midway is not None:
                raise self.raises_midway

    def abody(self) -> AsyncIterator[bytes]:
        return _Chunks(self.body())

    def after(self) -> None:
        """Do the work after the response."""
        self.clock.advance(self.afterwards)
        if self.raises_afterwards is not None:
            raise self.raises_afterwards

    async def aafter(self) -> None:
        self.after()

    def _count_call(self) -> ThreadLatch | TaskLatch | None:
        self.calls += 1
        if self.on_call is not None:
            self.on_call()
        # Only one call is held. Calls that are made meanwhile are not.
        latch, self.latch = self.latch, None
        return latch

    def _take(self) -> None:
        self.clock.advance(self.takes)
        if self.raises is not None:
            raise self.raises


@dataclass
class Answer:
    """The result of one call.

    Attributes:
        status: The status of the response; None without a response.
        headers: The headers, with names in lower case.
        body: All chunks, joined.
        error: The error that the caller got. The caller is the server or the code around the block.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: BaseException | None = None

    @property
    def refused(self) -> bool:
        return isinstance(self.error, BreakerOpenError) or (
            self.status == 503 and "retry-after" in self.headers
        )

    @property
    def errors(self) -> list[BaseException]:
        """The error, and those that it was raised from or while they were handled."""
        found: list[BaseException] = []
        error = self.error
        while error is not None and error not in found:
            found.append(error)
            error = error.__cause__ or error.__context__
        return found

    @property
    def ok(self) -> bool:
        return self.error is None and self.status in (None, 200)
