"""A provider that hangs: when it is cut off, and how much time each attempt gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Run, fates, hang, limits, warm
from tests.support.training import teach

from recloser import Failover, Fate, Policy, Provider, Registry
from recloser.testing import ManualClock, open_breaker


def test_a_hanging_attempt_is_given_up_when_patience_with_what_is_hopeless_ends(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    hopeless = registry["a"].timeout
    fleet = Fleet(registry, "a", "b", patience=5.0)
    began = clock()

    async def send(attempt: Any) -> str:
        return "answer of b" if attempt.key == "b" else await hang()

    assert run(fleet.failover.acall(send, repeatable=True)) == "answer of b"
    assert clock() - began == pytest.approx(5 * hopeless, rel=0.02)
    assert fates(fleet.deliveries[-1]) == [("a", Fate.TIMED_OUT), ("b", Fate.SERVED)]
    assert registry["a"].metrics().in_flight == 0


@pytest.mark.parametrize("sickness", ["hangs", "fails"])
@pytest.mark.parametrize("repeatable", [True, False])
def test_of_2000_calls_to_a_sick_primary_few_are_lost_and_few_are_slow(
    registry: Registry,
    clock: ManualClock,
    run: Run,
    sickness: str,
    repeatable: bool,
) -> None:
    """No call is lost that may be repeated; of the others those that open the breaker, and a probe."""
    warm(registry, clock, "a", latency=0.02)
    warm(registry, clock, "b", latency=0.02)
    failover = Failover(registry, [Provider("a", ""), Provider("b", "")])
    sent: Counter[int] = Counter()
    took: dict[int, float] = {}

    async def one(number: int) -> None:
        async def send(attempt: Any) -> None:
            sent[number] += 1
            if attempt.key == "b":
                await asyncio.sleep(0.02)
            elif sickness == "hangs":
                await hang()
            else:
                raise OSError

        began = clock()
        try:
            # The time-out of the client: nothing else ends a call that may not be repeated.
            async with asyncio.timeout(5.0):
                await failover.acall(send, repeatable=repeatable)
        except OSError:  # TimeoutError is one
            return
        took[number] = clock() - began

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2000):
                group.create_task(one(number))
                await asyncio.sleep(0.025)

    run(arrivals())

    assert len(took) == 2000 if repeatable else len(took) >= 1990
    settled = sorted(seconds for number, seconds in took.items() if number >= 15)
    assert settled[len(settled) // 2] - 0.02 < 0.001
    # A provider that hangs is left as soon as that is known, but not within the first second.
    assert max(took.values()) < 1.1
    assert max(sent.values()) == (2 if repeatable else 1)


def test_a_call_that_may_not_be_repeated_is_not_cut_short(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b")

    async def send(attempt: Any) -> str:
        await asyncio.sleep(20.0)
        return "late but sent once"

    assert run(fleet.failover.acall(send)) == "late but sent once"


def test_the_time_budget_ends_a_call_that_may_not_be_repeated(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b", time_budget=3.0)
    began = clock()

    with pytest.raises(TimeoutError):
        run(fleet.failover.acall(lambda attempt: hang()))

    assert clock() - began == pytest.approx(3.0, rel=0.01)
    assert fates(fleet.deliveries[-1]) == [("a", Fate.TIMED_OUT)]
    assert registry["a"].metrics().failures == 1


def test_a_time_out_of_the_callers_own_is_a_cancellation(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b")

    async def impatient() -> None:
        async with asyncio.timeout(1.0):
            await fleet.failover.acall(lambda attempt: hang(), repeatable=True)

    with pytest.raises(TimeoutError):
        run(impatient())

    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]
    assert registry["a"].metrics().cancelled == 1


def test_before_anything_is_known_each_provider_gets_an_equal_part_of_the_budget(
    registry: Registry,
) -> None:
    fleet = Fleet(registry, "a", "b", "c", time_budget=30.0)

    assert limits(fleet.failover, repeatable=True) == [(10.0, 10.0), (15.0, 15.0), (30.0, 30.0)]


def test_only_who_may_still_be_tried_gets_a_part(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b", "c", time_budget=30.0, max_attempts=2)

    assert limits(fleet.failover, repeatable=True) == [(15.0, 15.0), (30.0, 30.0)]


def test_what_is_hopeless_limits_a_repeatable_attempt_and_any_connection(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a", latency=0.4)
    hopeless = registry["a"].timeout
    assert hopeless > 2.0
    fleet = Fleet(registry, "a", "b", time_budget=30.0, patience=3.0)

    repeatable = limits(fleet.failover, repeatable=True)
    single = limits(fleet.failover)

    assert repeatable == [pytest.approx((3 * hopeless, hopeless)), (30.0, 30.0)]
    assert single == [pytest.approx((30.0, hopeless)), (30.0, 30.0)]


def test_a_client_is_never_given_a_time_out_of_nothing(
    registry: Registry, clock: ManualClock
) -> None:
    """To some of them that means no limit at all."""

    def send(attempt: Any) -> tuple[float, float]:
        clock.advance(1000.0)
        return attempt.timeout, attempt.connect_timeout

    for repeatable in (True, False):
        assert min(Fleet(registry, "a").failover.call(send, repeatable=repeatable)) > 0.0


def test_the_last_who_can_serve_gets_all_the_time_there_is(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", time_budget=30.0)
    open_breaker(registry["b"])

    assert limits(fleet.failover, repeatable=True) == [(30.0, 30.0)]


def test_no_attempt_is_given_more_than_the_users_own_ceiling(
    clock: ManualClock,
) -> None:
    registry = Registry(Policy(slow_ceiling=4.0), clock=clock)
    fleet = Fleet(registry, "a", "b")

    assert limits(fleet.failover, repeatable=True)[0] == (4.0, 4.0)


def test_a_tight_budget_does_not_cut_a_normal_call(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a", latency=1.0)
    slow = registry["a"].slow_threshold
    fleet = Fleet(registry, "a", "b", "c", time_budget=slow * 1.5)

    assert limits(fleet.failover, repeatable=True)[0][0] == pytest.approx(slow)


def test_after_scraps_the_next_still_has_its_turn(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    for key in "abc":
        warm(registry, clock, key, latency=1.0)
    fleet = Fleet(registry, "a", "b", "c", time_budget=registry["a"].slow_threshold * 1.5)

    async def send(attempt: Any) -> str:
        return "answer of c" if attempt.key == "c" else await hang()

    assert run(fleet.failover.acall(send, repeatable=True)) == "answer of c"


def test_an_attempt_that_got_only_the_scraps_of_the_budget_does_not_vote(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a", latency=1.0)
    warm(registry, clock, "b", latency=1.0)
    fleet = Fleet(registry, "a", "b", time_budget=registry["a"].slow_threshold * 1.5)

    with pytest.raises(TimeoutError):
        run(fleet.failover.acall(lambda attempt: hang(), repeatable=True))

    assert registry["a"].metrics().failures == 1
    assert registry["b"].metrics().failures == 0
    assert registry["b"].metrics().cancelled == 1


# A provider of which hardly anything is known


@pytest.mark.parametrize("known", [0, 10])
@pytest.mark.parametrize("known_of_b", [0, 200])
def test_calls_that_all_hang_while_nothing_comes_back_are_noticed_within_a_minute(
    registry: Registry, clock: ManualClock, run: Run, known: int, known_of_b: int
) -> None:
    teach(registry["a"], clock, [0.05] * known)
    teach(registry["b"], clock, [0.05] * known_of_b)
    fleet = Fleet(registry, "a", "b")
    began = clock()

    async def send(attempt: Any) -> str:
        if attempt.key == "a":
            await hang()
        return "answer of b"

    async def many() -> list[Any]:
        return await asyncio.gather(
            *(fleet.failover.acall(send, repeatable=True) for _ in range(12))
        )

    assert run(many()) == ["answer of b"] * 12
    assert clock() - began < 100.0 if not known and known_of_b else clock() - began < 80.0


@pytest.mark.parametrize("known", [0, 10])
@pytest.mark.parametrize("known_of_b", [0, 200])
def test_long_first_answers_are_not_cut_off_nor_paid_twice(
    registry: Registry, clock: ManualClock, run: Run, known: int, known_of_b: int
) -> None:
    teach(registry["a"], clock, [0.5] * known)
    teach(registry["b"], clock, [0.5] * known_of_b)
    fleet = Fleet(registry, "a", "b")

    async def send(attempt: Any) -> str:
        fleet.sent[attempt.key] += 1
        await asyncio.sleep(40.0)
        return "answer"

    async def many() -> None:
        await asyncio.gather(*(fleet.failover.acall(send, repeatable=True) for _ in range(12)))

    run(many())

    assert fleet.sent == {"a": 12}
