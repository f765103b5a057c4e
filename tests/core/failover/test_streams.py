"""Streams: another provider serves before the first chunk, and never after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, Run, fates, hang, warm

from recloser import Failover, Fate, Provider, Registry, State
from recloser.testing import ManualClock


def test_a_stream_changes_provider_before_the_first_chunk_and_never_after(
    registry: Registry,
) -> None:
    fleet = Fleet(registry, "a", "b")

    def opened(attempt: Any) -> Iterator[str]:
        fleet.sent[attempt.key] += 1
        if attempt.key == "a":
            raise OSError("cut before the first chunk")
        yield "one"
        raise OSError("cut after the first chunk")

    chunks = fleet.failover.stream(opened, repeatable=True)

    assert next(chunks) == "one"
    with pytest.raises(OSError, match="after"):
        next(chunks)
    assert fleet.sent == {"a": 1, "b": 1}
    assert registry["b"].metrics().failures == 1
    assert [delivery.served_by for delivery in fleet.deliveries] == ["b"]


def test_an_async_stream_is_timed_until_its_first_chunk_only(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", time_budget=10.0)

    async def opened(attempt: Any) -> AsyncIterator[int]:
        if attempt.key == "a":
            await hang()
        for number in range(3):
            yield number
            await asyncio.sleep(60.0)

    async def collected() -> list[int]:
        return [chunk async for chunk in await fleet.failover.astream(opened, repeatable=True)]

    assert run(collected()) == [0, 1, 2]
    assert fates(fleet.deliveries[0]) == [("a", Fate.TIMED_OUT), ("b", Fate.SERVED)]
    assert registry["b"].metrics().successes == 1


def test_the_latency_of_a_stream_is_its_first_chunk(registry: Registry, clock: ManualClock) -> None:
    def opened(attempt: Any) -> Iterator[int]:
        for number in range(3):
            clock.advance(0.25 if number == 0 else 50.0)
            yield number

    for _ in range(10):
        assert list(Fleet(registry, "a").failover.stream(opened)) == [0, 1, 2]

    assert registry["a"].metrics().mean == pytest.approx(0.25)
    assert registry["a"].state is State.CLOSED


def test_a_source_that_fails_is_closed_and_its_own_error_is_the_one(registry: Registry) -> None:
    class Source:
        closed = 0

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> str:
            raise OSError("cut")

        def close(self) -> None:
            self.closed += 1
            raise RuntimeError("and it does not even close")

    source = Source()

    with pytest.raises(OSError, match="cut"):
        Fleet(registry, "a").failover.stream(lambda attempt: source)
    assert source.closed == 1


def test_a_closed_stream_gives_no_more(registry: Registry, run: Run) -> None:
    fleet = Fleet(registry, "a")
    chunks = fleet.failover.stream(lambda attempt: (number for number in range(3)))
    chunks.close()
    assert list(chunks) == []

    async def numbers(attempt: Any) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def closed() -> list[int]:
        opened = await fleet.failover.astream(numbers)
        await opened.aclose()
        return [number async for number in opened]

    assert run(closed()) == []


def test_a_coroutine_may_open_an_async_stream(registry: Registry, run: Run) -> None:
    """As `await client.chat.completions.create(stream=True)` does."""

    class SdkStream:
        closed = False

        def __init__(self) -> None:
            self.chunks = iter(["a", "b"])

        def __aiter__(self) -> SdkStream:
            return self

        async def __anext__(self) -> str:
            for chunk in self.chunks:
                return chunk
            raise StopAsyncIteration

        async def close(self) -> None:
            self.closed = True

    source = SdkStream()

    async def create(attempt: Any) -> SdkStream:
        return source

    async def first() -> str:
        async with await Fleet(registry, "a").failover.astream(create) as chunks:
            return await anext(chunks)

    assert run(first()) == "a"
    assert source.closed
    assert registry["a"].metrics().in_flight == 0


def test_an_empty_stream_is_an_answer(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b")

    assert list(fleet.failover.stream(lambda attempt: iter(()), repeatable=True)) == []
    assert registry["a"].metrics().successes == 1
    assert fleet.deliveries[-1].served_by == "a"


def test_a_stream_that_is_closed_early_says_nothing_and_frees_the_source(
    registry: Registry,
) -> None:
    closed: list[str] = []

    def opened(attempt: Any) -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(attempt.key)

    with Fleet(registry, "a").failover.stream(opened) as chunks:
        next(chunks)

    assert closed == ["a"]
    assert registry["a"].metrics().in_flight == 0
    assert registry["a"].metrics().cancelled == 1
    assert list(chunks) == []


def test_a_stream_that_is_dropped_leaks_no_permit(registry: Registry) -> None:
    chunks = Fleet(registry, "a").failover.stream(lambda attempt: iter("xy"))
    assert registry["a"].metrics().in_flight == 1

    del chunks

    assert registry["a"].metrics().in_flight == 0


def test_a_stall_after_the_first_chunk_is_a_failure(registry: Registry, clock: ManualClock) -> None:
    failover = Failover(registry, [Provider("a", "")])

    def send(attempt: Any) -> Iterator[int]:
        for number in range(3):
            clock.advance(0.01 if number < 2 else stall)
            yield number

    stall = 0.01
    for _ in range(300):
        assert [*failover.stream(send)] == [0, 1, 2]
    stall = 30.0
    for _ in range(10):
        if registry["a"].state is State.OPEN:
            break
        assert [*failover.stream(send)] == [0, 1, 2]

    assert registry["a"].state is State.OPEN


def test_a_slow_reader_is_no_stall(registry: Registry, clock: ManualClock) -> None:
    failover = Failover(registry, [Provider("a", "")])
    for _ in range(60):
        for _ in failover.stream(lambda _: iter(range(3))):
            clock.advance(30.0)

    assert registry["a"].state is State.CLOSED
