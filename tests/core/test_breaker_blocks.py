"""What `with breaker` leaves behind: no call and no block, however it is left."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from contextlib import suppress

import pytest
from tests.support.breaker_state import ended

from recloser import Breaker, Registry
from recloser._with import BlockPermit


def blocks_alive() -> int:
    return sum(type(each) is BlockPermit for each in gc.get_objects())


def test_blocks_that_have_ended_are_not_kept(breaker: Breaker) -> None:
    """The context keeps the last one, which must not keep those before it."""

    def run() -> None:
        before = blocks_alive()
        for _ in range(100):
            with breaker:
                pass
        assert blocks_alive() - before <= 1

    contextvars.Context().run(run)


def test_a_block_that_outlives_the_one_around_it_does_not_keep_it(registry: Registry) -> None:
    def run() -> None:
        before = blocks_alive()
        outer, inner = registry["outer"], registry["inner"]
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert outer.metrics().in_flight == 0
        assert inner.metrics().in_flight == 1
        inner.__exit__(None, None, None)
        assert inner.metrics().in_flight == 0
        assert blocks_alive() - before <= 1

    contextvars.Context().run(run)


def test_an_exit_without_a_block_does_nothing(breaker: Breaker) -> None:
    async def asynchronously() -> None:
        await breaker.__aexit__(None, None, None)

    contextvars.Context().run(breaker.__exit__, None, None, None)
    contextvars.Context().run(asyncio.run, asynchronously())

    assert ended(breaker) == (0, 0, 0, 0)


def test_an_async_block_has_its_permit(breaker: Breaker) -> None:
    async def main() -> None:
        async with breaker as permit:
            assert isinstance(permit, BlockPermit)
            assert not permit.ended

    asyncio.run(main())
    assert ended(breaker) == (1, 0, 0, 0)


def test_an_async_block_that_is_left_in_another_context_ends_all_the_same(
    breaker: Breaker,
) -> None:
    async def block() -> None:
        async with breaker:
            await asyncio.sleep(0)

    coroutine = block()
    contextvars.Context().run(coroutine.send, None)
    with suppress(StopIteration):
        contextvars.Context().run(coroutine.send, None)

    assert ended(breaker) == (1, 0, 0, 0)


class StrikingError(BaseException):
    """What a signal handler raises."""


def strike_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a signal handler raise once, when the next exit looks for its block."""

    def strike() -> None:
        monkeypatch.undo()
        raise StrikingError

    monkeypatch.setattr(sys.modules[Breaker.__module__], "_get_innermost", strike)


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("error", [None, ConnectionResetError])
def test_a_signal_handler_that_strikes_at_the_exit_keeps_no_call_and_no_block(
    breaker: Breaker,
    monkeypatch: pytest.MonkeyPatch,
    awaits: bool,
    error: type[BaseException] | None,
) -> None:
    def strike(*_: object) -> None:
        raise StrikingError

    async def asynchronously() -> None:
        async with breaker:
            monkeypatch.setattr(BlockPermit, "end_by_error" if error else "success", strike)
            if error is not None:
                raise error

    def synchronously() -> None:
        with breaker:
            monkeypatch.setattr(BlockPermit, "end_by_error" if error else "success", strike)
            if error is not None:
                raise error

    with pytest.raises(StrikingError):
        asyncio.run(asynchronously()) if awaits else synchronously()
    monkeypatch.undo()

    assert ended(breaker) == (0, 0, 0, 1)


@pytest.mark.parametrize("awaits", [False, True])
def test_a_signal_handler_that_strikes_before_the_exit_finds_its_block_keeps_no_call(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, awaits: bool
) -> None:
    async def asynchronously() -> None:
        async with breaker:
            strike_at_exit(monkeypatch)

    def synchronously() -> None:
        with breaker:
            strike_at_exit(monkeypatch)

    if awaits:
        with pytest.raises(StrikingError):
            asyncio.run(asynchronously())
    else:
        with pytest.raises(StrikingError):
            synchronously()

    assert breaker.metrics().in_flight == 0


@pytest.mark.parametrize("awaits", [False, True])
def test_a_signal_handler_that_strikes_at_the_entry_leaves_no_call_in_flight(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, awaits: bool
) -> None:
    module = sys.modules[Breaker.__module__]

    def strike(*_: object) -> None:
        raise StrikingError

    async def asynchronously() -> None:
        async with breaker:
            raise AssertionError("the block ran")

    monkeypatch.setattr(module, "_set_innermost", strike)
    if awaits:
        with pytest.raises(StrikingError):
            asyncio.run(asynchronously())
    else:
        with pytest.raises(StrikingError), breaker:
            raise AssertionError("the block ran")
    monkeypatch.undo()

    assert ended(breaker) == (0, 0, 0, 1)


class Thing:
    """A local variable of a function that has a block."""


@pytest.mark.parametrize("at", ["entry", "exit"])
def test_a_block_that_was_struck_does_not_keep_its_function_alive(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    module = sys.modules[Breaker.__module__]
    enter, kept = module.__dict__["_set_innermost"], list[weakref.ref[Thing]]()

    def strike(*arguments: object) -> None:
        monkeypatch.undo()
        if at == "entry":
            enter(*arguments)
        raise StrikingError

    def work() -> None:
        thing = Thing()
        kept.append(weakref.ref(thing))
        if at == "entry":
            monkeypatch.setattr(module, "_set_innermost", strike)
        with breaker:
            monkeypatch.setattr(module, "_get_innermost", strike)

    def run() -> None:
        with suppress(StrikingError):
            work()
        gc.collect()
        assert kept[0]() is None
        assert ended(breaker) == (0, 0, 0, 1)

    contextvars.Context().run(run)


def test_a_block_that_is_struck_at_its_exit_has_ended_when_its_function_goes_on(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with suppress(StrikingError), breaker as permit:
        strike_at_exit(monkeypatch)

    assert permit.ended
    assert ended(breaker) == (0, 0, 0, 1)


def test_a_block_that_is_struck_at_its_exit_does_not_end_the_one_around_it(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        with breaker:
            strike_at_exit(monkeypatch)

    with breaker as outer:
        with suppress(StrikingError):
            work()
        assert not outer.ended
        assert breaker.metrics().in_flight == 1

    assert ended(breaker) == (1, 0, 0, 1)


def test_a_signal_handler_that_strikes_at_an_exit_without_a_block_is_what_is_raised(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike_at_exit(monkeypatch)
    with pytest.raises(StrikingError):
        contextvars.Context().run(breaker.__exit__, None, None, None)

    assert ended(breaker) == (0, 0, 0, 0)
