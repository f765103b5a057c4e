"""Deadline: a block of asyncio code ends in time, and nothing else is cut off by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

from recloser import Deadline
from recloser.testing import ManualClock

Run = Callable[[Awaitable[Any]], Any]


async def limited(limit: float, takes: float) -> tuple[bool, float]:
    """Whether a block of some seconds expired, and after how many."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with Deadline(limit) as deadline:
        await asyncio.sleep(takes)
    return deadline.expired, loop.time() - began


@pytest.mark.parametrize(
    ("limit", "takes", "expired"), [(2.0, 5.0, True), (2.0, 1.0, False), (inf, 5.0, False)]
)
def test_a_block_ends_at_its_limit(run: Run, limit: float, takes: float, expired: bool) -> None:
    assert run(limited(limit, takes)) == (expired, pytest.approx(min(limit, takes)))


def test_afterwards_the_task_goes_on_as_if_it_was_never_cancelled(run: Run) -> None:
    async def twice() -> int:
        await limited(1.0, 5.0)
        await limited(1.0, 5.0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(twice()) == 0


def test_what_the_block_raises_passes(run: Run) -> None:
    async def failing(takes: float) -> None:
        with Deadline(1.0):
            try:
                await asyncio.sleep(takes)
            finally:
                raise LookupError

    for takes in (0.5, 5.0):
        with pytest.raises(LookupError):
            run(failing(takes))


def test_a_cancellation_from_outside_passes(run: Run) -> None:
    async def cancelled_after(seconds: float, again: bool = False) -> bool:
        async def block() -> None:
            with Deadline(1.0):
                try:
                    await asyncio.sleep(5.0)
                finally:
                    if again:
                        await asyncio.sleep(5.0)

        task = asyncio.ensure_future(block())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(cancelled_after(0.5))
    assert run(cancelled_after(2.0, again=True))


def test_the_inner_of_two_deadlines_ends_only_its_own_block(run: Run) -> None:
    async def nested() -> tuple[bool, bool]:
        with Deadline(3.0) as outer:
            with Deadline(1.0) as inner:
                await asyncio.sleep(5.0)
            await asyncio.sleep(1.0)
        return outer.expired, inner.expired

    assert run(nested()) == (False, True)


def test_a_blocked_event_loop_is_not_held_against_the_block(run: Run, clock: ManualClock) -> None:
    """What the block waits for may have happened while the loop stood still."""

    async def blocked(answers_after: float) -> bool:
        answer = asyncio.get_running_loop().create_future()

        async def rest() -> None:
            await asyncio.sleep(0.5)
            clock.advance(10.0)  # somebody blocks the loop
            await asyncio.sleep(answers_after)
            if not answer.done():
                answer.set_result(None)

        resting = asyncio.ensure_future(rest())
        with Deadline(1.0) as deadline:
            await answer
        await resting
        return deadline.expired

    assert not run(blocked(1.0))
    assert run(blocked(30.0))


def test_without_a_task_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"), Deadline(1.0):
        raise AssertionError

    loop = asyncio.new_event_loop()
    caught: list[BaseException] = []

    def no_task() -> None:
        try:
            with Deadline(1.0):
                raise AssertionError
        except RuntimeError as error:
            caught.append(error)

    loop.call_soon(no_task)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert str(caught[0]) == "a deadline needs an asyncio task"
