"""Limited calls: how long refused ones wait, and that the limit forgets each one that ended."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

import pytest
from tests.support.limits import (
    fill,
    limit,
    limit_of,
    serve,
    slow_down,
)
from tests.support.training import teach

from recloser import Breaker, LoosePermit, Permit, Policy, Registry, State
from recloser.testing import ManualClock

LIMITED = State.LIMITED


# Waits


def test_whoever_a_limit_refuses_learns_how_long_calls_take(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    assert breaker.retry_after == 0.0
    running = fill(breaker)

    error = breaker.refusal()

    assert error.state is LIMITED
    # Before the first round of answers under the limit, the usual latency is the best guess.
    assert error.retry_after == breaker.retry_after == pytest.approx(0.1, rel=0.05)
    assert error.reason is not None
    assert error.reason.rule == "limited"
    for permit in running:
        permit.cancel()
    assert breaker.retry_after == 0.0

    # A round of answers tells better.
    serve(breaker, clock, 0.3, 10)
    fill_and_keep = fill(breaker)
    assert breaker.retry_after == pytest.approx(0.3)
    assert fill_and_keep


def test_while_one_call_is_sent_now_and_then_the_wait_is_that_until_the_next(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, 0.9)
    while not limit_of(breaker).is_pausing:
        serve(breaker, clock, 0.9, 1, gap=0.1)
    limit_of(breaker).pause(Policy().max_open_for)  # as where others may wait for the callee

    wait = breaker.retry_after
    assert 0.5 <= wait <= Policy().max_open_for
    clock.advance(0.99 * wait)
    assert breaker.try_acquire() is None
    clock.advance(0.02 * wait)
    assert breaker.try_acquire() is not None


@pytest.mark.parametrize("jump", [-1e6, -1.0, 1.0, 1e6, 1e12])
def test_no_wait_is_negative_or_without_end_whatever_the_clock_does(
    breaker: Breaker, clock: ManualClock, jump: float
) -> None:
    limit(breaker, clock)
    running = fill(breaker)
    now = clock.now
    clock.advance(jump)
    running.pop().success()
    waits = [breaker.retry_after]
    clock.now = now
    waits += [breaker.retry_after, breaker.refusal().retry_after]

    assert all(0.0 <= wait <= Policy().max_open_for for wait in waits)


# The list of the calls in flight


def drop(permits: list[Permit]) -> None:
    permits.clear()


WAYS: dict[str, Callable[[list[Permit]], object]] = {
    **{
        way: lambda permits, way=way: [getattr(permit, way)() for permit in permits]  # type: ignore[misc]
        for way in ("success", "failure", "throttled", "ignore", "cancel")
    },
    "drop": drop,
}


@pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 1.0], ids=lambda after: f"after {after} s")
@pytest.mark.parametrize("way", WAYS)
def test_the_limit_keeps_no_call_that_has_ended(
    breaker: Breaker, clock: ManualClock, way: str, after: float
) -> None:
    limit(breaker, clock)
    running = fill(breaker)
    kept = limit_of(breaker)
    assert len(kept._in_flight) == len(running)
    clock.advance(after)
    breaker.try_acquire()  # calls may be overdue now

    WAYS[way](running)
    breaker.metrics()

    assert kept._in_flight == {}
    assert breaker.metrics().in_flight == 0


def test_nor_one_that_waited_for_its_own_caller(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)
    permit = breaker.acquire()
    before = permit.token

    breaker.delay(permit, 0.0, clock.now)

    assert permit.token != before
    assert [*limit_of(breaker)._in_flight] == [permit.token]
    permit.success()
    assert limit_of(breaker)._in_flight == {}


def test_nor_one_that_later_calls_have_overtaken(breaker: Breaker, clock: ManualClock) -> None:
    """They would fill the limit: other calls that began later came back."""
    limit(breaker, clock)
    size = ceil(limit_of(breaker).size)
    stuck = [breaker.acquire() for _ in range(size - 1)]
    serve(breaker, clock, 0.3, 4)

    passed = fill(breaker)

    assert len(passed) == size
    assert {permit.token for permit in stuck} & {*limit_of(breaker)._in_flight} == set()
    assert breaker.metrics().in_flight == len(stuck) + len(passed)


def test_nor_those_of_the_parent_after_a_fork(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)
    running = fill(breaker)

    breaker.after_fork()

    assert limit_of(breaker)._in_flight == {}
    assert len(fill(breaker)) == len(running)


# Streams


def test_a_stream_that_has_begun_to_answer_fills_no_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    """However many streams go on, the next calls are admitted as soon as they have begun."""
    limit(breaker, clock)
    streams: list[Permit] = []

    for _ in range(10):
        streams += (begun := fill(breaker))
        clock.advance(0.1)
        for permit in begun:
            permit.mark()

    assert len(streams) >= 40
    assert breaker.state in (LIMITED, State.CLOSED)
    assert breaker.metrics().in_flight == len(streams)


@pytest.mark.parametrize("good", [True, False])
def test_the_answer_of_a_stream_counts_once(
    breaker: Breaker, clock: ManualClock, good: bool
) -> None:
    limit(breaker, clock)
    permit = breaker.acquire()
    clock.advance(0.1)
    permit.mark()
    breaker.acquire().cancel()
    answers = len(limit_of(breaker)._round._answers)
    assert answers >= 1

    clock.advance(1.0)
    (permit.success if good else permit.failure)()

    # That it broke off is new.
    assert len(limit_of(breaker)._round._answers) == answers + (not good)
    assert not limit_of(breaker).answering


def test_a_call_that_waits_for_its_own_caller_has_not_answered(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    permit.wait()

    serve(breaker, clock, 0.1, 1)

    assert breaker._calls.waiting == 1
    permit.go_on(0.0)
    assert permit.answered == inf
    permit.success()


def test_an_answer_that_was_late_because_the_process_stood_still_is_none_of_the_round(
    registry: Registry, clock: ManualClock
) -> None:
    breaker = registry["key"]
    limit(breaker, clock)
    answers = limit_of(breaker)._round._answers
    breaker.acquire().success()
    assert len(answers) == 1

    registry.stalls.beat(clock())
    permit = breaker.acquire()
    clock.advance(30.0)
    registry.stalls.beat(clock())
    permit.success()

    assert limit_of(breaker)._round._answers is answers
    assert len(answers) == 1
