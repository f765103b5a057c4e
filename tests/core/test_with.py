"""`with breaker` and `async with breaker`: each block ends its own permit, however they nest."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, nullcontext, suppress

import pytest
from tests.support.breaker_state import ended

from recloser import Breaker, BreakerOpenError, Policy, Registry, State
from recloser._with import BlockPermit
from recloser.testing import ManualClock, open_breaker


@pytest.fixture
def policy() -> Policy:
    return Policy(ignore_errors=(LookupError,))


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["k"]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, (1, 0, 0, 0)),
        (ConnectionResetError, (0, 1, 0, 0)),
        (KeyError, (0, 0, 1, 0)),
        (GeneratorExit, (0, 0, 0, 1)),
        (SystemExit, (0, 0, 0, 1)),
    ],
)
def test_a_block_is_one_call(
    breaker: Breaker, error: type[BaseException] | None, end: tuple[int, ...]
) -> None:
    raises = nullcontext() if error is None else pytest.raises(error)
    with raises, breaker as permit:
        assert not permit.ended
        if error is not None:
            raise error

    assert permit.ended
    assert ended(breaker) == end


def test_an_open_breaker_does_not_run_the_block(breaker: Breaker) -> None:
    open_breaker(breaker)

    with pytest.raises(BreakerOpenError), breaker:
        raise AssertionError("the block ran")

    assert breaker.state is State.OPEN


def test_blocks_of_one_breaker_nest(breaker: Breaker, clock: ManualClock) -> None:
    with breaker:
        clock.advance(1.0)
        with suppress(ConnectionResetError), breaker:
            clock.advance(2.0)
            raise ConnectionResetError
        clock.advance(4.0)

    assert ended(breaker) == (1, 1, 0, 0)
    assert breaker.metrics().mean == pytest.approx((7.0 + 2.0) / 2)


def test_a_refusal_within_a_block_ends_nothing_of_the_outer_one(registry: Registry) -> None:
    inner, outer = registry["inner"], registry["outer"]
    open_breaker(inner)

    with outer:
        with pytest.raises(BreakerOpenError), inner:
            pass
        assert outer.metrics().in_flight == 1

    assert ended(outer) == (1, 0, 0, 0)


def holding(breaker: Breaker) -> Generator[None, None, None]:
    with breaker:
        yield


def test_blocks_in_interleaved_generators_end_their_own_permits(
    registry: Registry, clock: ManualClock
) -> None:
    """Generators share the context of their caller, and end in any order."""
    breakers = [registry[key] for key in "abc"]
    blocks = [holding(breaker) for breaker in breakers]
    for block in blocks:
        next(block)

    with pytest.raises(ConnectionResetError):
        blocks[0].throw(ConnectionResetError())
    assert [breaker.metrics().in_flight for breaker in breakers] == [0, 1, 1]
    next(blocks[2], None)
    next(blocks[1], None)

    assert [ended(breaker) for breaker in breakers] == [
        (0, 1, 0, 0),
        (1, 0, 0, 0),
        (1, 0, 0, 0),
    ]
    with registry["d"]:
        pass
    assert ended(registry["d"]) == (1, 0, 0, 0)


def test_a_block_that_is_left_in_another_context_ends_all_the_same(
    breaker: Breaker, clock: ManualClock
) -> None:
    """As a dependency is, whose steps a thread pool runs each in a copy of the context."""
    for error in (None, ConnectionResetError()):
        block = holding(breaker)
        contextvars.copy_context().run(next, block)
        clock.advance(0.5)
        if error is None:
            contextvars.copy_context().run(next, block, None)
        else:
            with pytest.raises(ConnectionResetError):
                contextvars.copy_context().run(block.throw, error)

    assert ended(breaker) == (1, 1, 0, 0)
    assert breaker.metrics().mean == pytest.approx(0.5)


def test_a_block_that_is_left_in_another_context_while_a_thread_enters_one(
    breaker: Breaker,
) -> None:
    """The thread was admitted just now: its permit is in flight, but has no frame yet."""
    entering = breaker.admit_strict(BlockPermit)
    assert isinstance(entering, BlockPermit)
    block = holding(breaker)
    contextvars.copy_context().run(next, block)
    contextvars.copy_context().run(next, block, None)

    assert breaker.metrics().in_flight == 1
    entering.cancel()
    assert ended(breaker) == (1, 0, 0, 1)


def test_blocks_left_in_other_contexts_and_in_their_own_add_up(breaker: Breaker) -> None:
    lost = [holding(breaker) for _ in range(5)]
    for block in lost:
        contextvars.copy_context().run(next, block)
    with breaker:
        for block in lost:
            contextvars.copy_context().run(next, block, None)

    assert ended(breaker) == (6, 0, 0, 0)


def test_each_task_has_its_own_blocks(registry: Registry) -> None:
    async def work(breaker: Breaker, fails: bool, rounds: int) -> None:
        for _ in range(rounds):
            try:
                async with breaker:
                    await asyncio.sleep(0)
                    async with registry["shared"]:
                        await asyncio.sleep(0)
                    if fails:
                        raise KeyError
            except KeyError:
                pass

    async def main() -> None:
        async with registry["main"]:
            await asyncio.gather(
                *(work(registry[f"task {n}"], fails=n % 2 == 1, rounds=n) for n in range(20))
            )

    asyncio.run(main())

    assert ended(registry["main"]) == (1, 0, 0, 0)
    assert ended(registry["shared"]) == (sum(range(20)), 0, 0, 0)
    for n in range(20):
        assert ended(registry[f"task {n}"]) == ((0, 0, n, 0) if n % 2 else (n, 0, 0, 0))


def test_an_async_block_ends_its_own_call_while_another_that_began_later_is_open(
    breaker: Breaker, registry: Registry
) -> None:
    """The other one is left open by the coroutine that entered it, and is the innermost now."""
    other = registry["other"]
    kept: list[object] = []

    async def enter() -> None:
        kept.append(await other.__aenter__())

    async def both() -> None:
        async with breaker:
            await enter()

    asyncio.run(both())

    assert breaker.metrics().in_flight == 0
    assert breaker.metrics().successes == 1


def test_a_cancelled_task_cancels_its_block(breaker: Breaker) -> None:
    async def hang() -> None:
        async with breaker:
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(hang())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert ended(breaker) == (0, 0, 0, 1)


def test_exit_stacks_may_be_closed_by_another_task(breaker: Breaker) -> None:
    async def main() -> None:
        stack = AsyncExitStack()
        await stack.enter_async_context(breaker)
        await asyncio.create_task(stack.aclose())

    asyncio.run(main())
    with ExitStack() as stack:
        stack.enter_context(breaker)
        stack.enter_context(breaker)

    assert ended(breaker) == (3, 0, 0, 0)


def test_a_permit_ended_within_the_block_is_left_alone(breaker: Breaker) -> None:
    with suppress(ConnectionResetError), breaker as permit:
        permit.throttled()
        raise ConnectionResetError

    assert ended(breaker) == (0, 0, 0, 0)
    assert breaker.metrics().throttled == 1


def test_the_callers_exception_is_not_kept_alive(breaker: Breaker) -> None:
    class NotedError(Exception):
        pass

    def fail() -> weakref.ref[NotedError]:
        error = NotedError()
        with suppress(NotedError), breaker:
            raise error
        error.__traceback__ = None
        return weakref.ref(error)

    assert fail()() is None


@pytest.mark.parametrize("ask", [Breaker.metrics, Breaker.explain])
def test_whoever_asks_about_calls_ends_none_that_goes_on(
    breaker: Breaker, ask: Callable[[Breaker], object]
) -> None:
    """The context of the step that entered the block is gone, and nothing else refers to its permit."""

    def steps() -> Iterator[str]:
        with breaker:
            yield "inside"
            yield "inside still"

    async def waits() -> None:
        async with breaker:
            await asyncio.sleep(0)

    generator, coroutine = steps(), waits()
    contextvars.copy_context().run(next, generator)
    contextvars.copy_context().run(coroutine.send, None)

    for _ in range(3):
        ask(breaker)
        assert breaker.metrics().in_flight == 2

    assert contextvars.copy_context().run(next, generator) == "inside still"
    contextvars.copy_context().run(next, generator, None)
    with pytest.raises(StopIteration):
        contextvars.copy_context().run(coroutine.send, None)
    metrics = breaker.metrics()
    assert (metrics.in_flight, metrics.successes, metrics.cancelled) == (0, 2, 0)
