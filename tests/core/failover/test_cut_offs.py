"""When an attempt without an answer is given up, and what cut-offs teach."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Run, fates, hang, trip, warm
from tests.support.training import teach

from recloser import Failover, Fate, Mode, Permit, Policy, Provider, Registry
from recloser._failover.cut_offs import CutOffs
from recloser.testing import ManualClock

PATIENCE = 4.0


def permit_of(registry: Registry, key: str = "a") -> Permit:
    return registry[key].acquire()


def limit_of(cut_offs: CutOffs, registry: Registry, key: str = "a") -> float:
    """The limit of one more attempt, which the caller leaves."""
    permit = permit_of(registry, key)
    cut_offs.begun(key, permit.started)
    try:
        return cut_offs.hopeless_after(permit, PATIENCE)
    finally:
        cut_offs.left(permit)
        permit.cancel()


# The limits


def test_nothing_is_known_of_a_new_provider_so_nothing_is_cut_off(registry: Registry) -> None:
    assert limit_of(CutOffs(), registry) == inf


def test_by_a_few_answers_it_is_far_above_the_longest(
    registry: Registry, clock: ManualClock
) -> None:
    teach(registry["a"], clock, [0.05] * 10)

    assert limit_of(CutOffs(), registry) == registry["a"].timeout == 45.0


def test_a_provider_of_which_nothing_is_known_may_take_much_longer_than_another_one(
    registry: Registry, clock: ManualClock
) -> None:
    permit = permit_of(registry)
    times = [CutOffs().hopeless_after(permit, PATIENCE, usual) for usual in (0.5, 6.0, inf)]

    assert times[0] in (45.0, 90.0, 180.0)
    assert times[1] == pytest.approx(times[0] * 60.0 / 45.0)
    assert times[2] == inf


def test_alone_an_attempt_takes_patience_with_what_hardly_any_call_takes(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a", latency=1.0)

    assert limit_of(CutOffs(), registry) == pytest.approx(PATIENCE * registry["a"].timeout)


def test_and_never_less_than_two_seconds(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a", latency=0.01)

    assert limit_of(CutOffs(), registry) == 2.0


def test_a_ceiling_of_the_users_own_limits_it_and_the_default_does_not(clock: ManualClock) -> None:
    registry = Registry(Policy(slow_ceiling=1.5), clock=clock)

    assert limit_of(CutOffs(), registry) == 1.5


def test_where_nothing_is_enforced_nothing_is_cut_off(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    registry["a"].mode = Mode.OBSERVE
    permit = permit_of(registry)

    assert CutOffs().hopeless_after(permit, PATIENCE) == inf


def test_where_another_call_waits_in_vain_no_patience_is_left(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a", latency=1.0)
    cut_offs = CutOffs()
    waiting = permit_of(registry)
    cut_offs.begun("a", waiting.started)
    clock.advance(2.5 * registry["a"].slow_threshold)

    slow = registry["a"].slow_threshold
    assert limit_of(cut_offs, registry) == pytest.approx(min(registry["a"].timeout, 4 * slow))


def test_a_caller_who_left_is_no_sign_of_a_hang(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a", latency=1.0)
    cut_offs = CutOffs()
    left = permit_of(registry)
    cut_offs.begun("a", left.started)
    cut_offs.left(left)
    clock.advance(3600.0)

    assert limit_of(cut_offs, registry) == pytest.approx(PATIENCE * registry["a"].timeout)


def test_a_probe_of_an_open_provider_takes_a_few_slow_thresholds(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a", latency=1.0)
    trip(registry, "a")
    slow = registry["a"].slow_threshold
    clock.advance(registry["a"].retry_after)

    assert limit_of(CutOffs(), registry) / slow in (
        pytest.approx(2.0, rel=0.01),
        pytest.approx(4.0, rel=0.01),
        pytest.approx(8.0, rel=0.01),
    )


# What cut-offs teach


def test_a_provider_that_answers_others_would_have_answered(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a", latency=1.0)
    cut_offs = CutOffs()
    before = limit_of(cut_offs, registry)
    cut_offs.cut("a", before)
    cut_offs.answered(permit_of(registry), clock())

    assert limit_of(cut_offs, registry) == pytest.approx(2 * before)
    clock.advance(601.0)
    assert limit_of(cut_offs, registry) < 2 * before


def test_a_provider_that_was_open_did_hang(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a", latency=1.0)
    cut_offs = CutOffs()
    before = limit_of(cut_offs, registry)
    cut_offs.cut("a", before)
    trip(registry, "a")
    clock.advance(registry["a"].retry_after)
    cut_offs.answered(permit_of(registry), clock())
    registry["a"].reset()
    warm(registry, clock, "a", latency=1.0)

    assert limit_of(cut_offs, registry) == pytest.approx(before)


def test_what_is_known_of_many_breakers_does_not_fill_the_memory(registry: Registry) -> None:
    cut_offs = CutOffs()
    for number in range(5000):
        cut_offs.begun(f"a model-{number}", 0.0)

    assert len(cut_offs._waiting_since) <= 1000


# As users see it


def long_calls(failover: Failover[str], run: Run, seconds: float, count: int) -> list[str]:
    """Send calls one after the other, each of which takes so long at any provider."""

    async def one() -> str:
        async def send(attempt: Any) -> str:
            await asyncio.sleep(seconds)
            return str(attempt.key)

        return await failover.acall(send, repeatable=True)

    return [run(one()) for _ in range(count)]


@pytest.mark.parametrize("latency", [0.02, 1.0])
def test_calls_that_take_far_longer_than_all_before_are_paid_twice_a_few_times_only(
    registry: Registry, clock: ManualClock, run: Run, latency: float
) -> None:
    for key in "ab":
        warm(registry, clock, key, latency=latency)
    fleet = Fleet(registry, "a", "b")
    seconds = 10 * registry["a"].timeout

    long_calls(fleet.failover, run, seconds, 40)

    assert sum(each.wasted_sends for each in fleet.deliveries) <= 2
    assert all(each.served_by is not None for each in fleet.deliveries)


def test_a_tenth_of_long_calls_is_paid_once(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b")

    for _ in range(20):
        long_calls(fleet.failover, run, 0.1, 9)
        long_calls(fleet.failover, run, 1.0, 1)

    assert {fates(each)[0] for each in fleet.deliveries} == {("a", Fate.SERVED)}


def test_a_first_answer_of_forty_seconds_is_paid_once(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b")

    assert long_calls(fleet.failover, run, 40.0, 1) == ["a"]


def test_nobody_is_cut_off_where_the_other_has_fallen_ill_meanwhile(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    warm(registry, clock, "b")
    fleet = Fleet(registry, "a", "b")

    async def send(attempt: Any) -> str:
        registry["b"].open("ill")
        await asyncio.sleep(100.0)
        return str(attempt.key)

    assert run(fleet.failover.acall(send, repeatable=True)) == "a"


def test_several_calls_that_hang_are_all_left_as_soon_as_that_is_known(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a", latency=0.5)
    warm(registry, clock, "b", latency=0.5)
    failover = Failover(registry, [Provider("a", ""), Provider("b", "")])
    hopeless = registry["a"].timeout
    took: list[float] = []

    async def one() -> None:
        began = clock()

        async def send(attempt: Any) -> None:
            if attempt.key == "a":
                await hang()

        await failover.acall(send, repeatable=True)
        took.append(clock() - began)

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(one())
                await asyncio.sleep(0.2)

    run(arrivals())

    assert max(took) < 1.3 * hopeless


def test_a_slow_provider_gets_few_calls_and_each_is_paid_once(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    for key in "ab":
        warm(registry, clock, key, latency=0.05)
    fleet = Fleet(registry, "a", "b")

    async def one() -> None:
        async def send(attempt: Any) -> None:
            await asyncio.sleep(0.5 if attempt.key == "a" else 0.05)

        await fleet.failover.acall(send, repeatable=True)

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(240):
                group.create_task(one())
                await asyncio.sleep(0.125)

    run(arrivals())

    assert not any(each.wasted_sends for each in fleet.deliveries)
    asked = sum(each.served_by == "a" for each in fleet.deliveries)
    assert asked < 60


def test_a_provider_that_hangs_gets_few_calls(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    for key in "ab":
        warm(registry, clock, key, latency=0.05)
    fleet = Fleet(registry, "a", "b")

    async def one() -> None:
        async def send(attempt: Any) -> None:
            fleet.sent[attempt.key] += 1
            if attempt.key == "a":
                await hang()
            await asyncio.sleep(0.05)

        await fleet.failover.acall(send, repeatable=True)

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(120):
                group.create_task(one())
                await asyncio.sleep(0.125)

    run(arrivals())

    assert fleet.sent["a"] < 20
    assert max(each.duration for each in fleet.deliveries) < 1.2
