"""The items of guarded generators: a stall is a failure, and idle subscriptions are none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from recloser import Breaker, State
from recloser._items import Items
from recloser.testing import ManualClock

Begin = Callable[..., Any]


def drain(
    breaker: Breaker,
    clock: ManualClock,
    *,
    waits: list[float],
    is_async: bool,
    pause: float = 0.0,
) -> Begin:
    """A function that gives the items of a guarded generator; each takes so long (s).

    The consumer takes `pause` seconds for each of them if the generator is async.
    """

    @breaker
    def plain(waits: list[float]) -> Iterator[int]:
        for number, wait in enumerate(waits):
            clock.advance(wait)
            yield number

    @breaker
    async def coroutine(waits: list[float]) -> AsyncIterator[int]:
        for number, wait in enumerate(waits):
            clock.advance(wait)
            yield number

    def begin(waits: list[float] = waits) -> Any:
        if not is_async:
            return plain(waits)

        async def consume() -> list[int]:
            taken: list[int] = []
            async for number in coroutine(waits):
                taken.append(number)
                clock.advance(pause)
            return taken

        return asyncio.run(consume())

    return begin


@pytest.fixture(params=[False, True], ids=["generator", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_stall_is_a_failure_once_such_generators_are_answers(
    breaker: Breaker, clock: ManualClock, is_async: bool
) -> None:
    begin = drain(breaker, clock, waits=[0.1, 0.01, 0.01], is_async=is_async)
    for _ in range(300):
        assert [*begin()] == [0, 1, 2]

    for _ in range(20):
        if breaker.state is not State.CLOSED:
            break
        assert [*begin([0.1, 30.0])] == [0, 1]

    assert breaker.state is State.OPEN


def test_the_time_of_the_consumer_does_not_count(
    breaker: Breaker, clock: ManualClock, is_async: bool
) -> None:
    begin = drain(breaker, clock, waits=[0.1, 0.01, 0.01], is_async=is_async, pause=30.0)
    for _ in range(60):
        for _ in begin():
            clock.advance(30.0)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0


def test_subscriptions_may_be_idle(breaker: Breaker, clock: ManualClock) -> None:
    begin = drain(breaker, clock, waits=[0.1] + [60.0] * 3, is_async=False)
    for _ in range(60):
        source = begin()
        assert [next(source), next(source)] == [0, 1]
        source.close()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures == 0


def test_the_end_of_a_context_is_no_piece(breaker: Breaker, clock: ManualClock) -> None:
    @contextmanager
    @breaker
    def session() -> Iterator[int]:
        clock.advance(0.1)
        yield 1
        clock.advance(30.0)

    for _ in range(60):
        with session():
            pass

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures == 0


def test_a_stream_that_is_closed_after_its_end_ended_by_itself(
    breaker: Breaker, clock: ManualClock
) -> None:
    items = Items(breaker.acquire(), "stream")
    items.began()
    items.arrived()
    items.ended(by_itself=True)
    items.ended(by_itself=False)

    learned = breaker._calls.streams
    assert learned is not None
    assert learned.subscriptions._kinds["stream"][:2] == (1.0, 1.0)


@pytest.mark.parametrize(
    ("file", "failures"), [("/lib/site-packages/database/__init__.py", 1), ("/app/database.py", 0)]
)
def test_what_the_library_of_the_item_raises_in_the_block_is_the_callees(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, file: str, failures: int
) -> None:
    module = ModuleType("database")
    module.__file__ = file
    monkeypatch.setitem(sys.modules, "database", module)

    class Session:
        __module__ = "database.orm"

    class LostError(Exception):
        __module__ = "database.exc"

    class OtherError(Exception):
        __module__ = "elsewhere"

    @contextmanager
    @breaker
    def session() -> Iterator[Session]:
        yield Session()

    for error in (LostError, OtherError, RuntimeError, ConnectionError):
        with pytest.raises(error), session():
            raise error

    assert breaker.metrics().failures == failures
    assert breaker.metrics().ignored == 4 - failures
