"""Slowness: which store is too slow, and when it is quick enough again."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.fleets import KEY, World, bad

from recloser import State
from recloser._fleet.slowness import Slowness
from recloser.fleet import StoreError


def is_slow(slowness: Slowness, seconds: float, now: float, asked: float = 1.0) -> bool:
    try:
        slowness.judge(seconds, 10, asked, now)
    except StoreError:
        return True
    return False


def test_a_store_is_too_slow_if_a_round_is_longer_than_what_it_tells_counts() -> None:
    assert not is_slow(Slowness(), 1.5, 7.0)
    assert is_slow(Slowness(), 1.51, 7.0)


def test_who_makes_many_calls_meanwhile_waits_for_less() -> None:
    assert not is_slow(Slowness(), 1.0, 7.0, asked=3.0)
    assert is_slow(Slowness(), 1.0, 7.0, asked=3.1)
    assert not is_slow(Slowness(), 0.6, 7.0, asked=1000.0)


def test_it_is_quick_again_when_a_round_is_half_as_long_and_five_seconds_are_over() -> None:
    slowness = Slowness()
    assert is_slow(slowness, 2.0, 7.0)

    assert is_slow(slowness, 0.1, 11.9)
    assert is_slow(slowness, 0.8, 12.0)
    assert not is_slow(slowness, 0.7, 12.1)
    assert slowness.since == inf


def test_it_does_not_flap() -> None:
    """Each time it waits for twice as long, up to a minute, until it was quick for two minutes."""
    slowness, now, pauses = Slowness(), 7.0, list[float]()
    for _ in range(6):
        began = now
        assert is_slow(slowness, 2.0, now)
        while is_slow(slowness, 0.1, now):
            now += 1.0
        pauses.append(now - began)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]

    assert is_slow(slowness, 2.0, now + 121.0)
    assert not is_slow(slowness, 0.1, now + 127.0)


def test_it_says_why() -> None:
    with pytest.raises(StoreError, match=r"slow: with 10 keys it would be asked for 2\.3 s"):
        Slowness().judge(2.34, 10, 1.0, 7.0)


def slow_down(world: World, seconds: float) -> None:
    """Let each operation in the store take `seconds`, also by the clock that a turn reads."""
    for worker in world.workers:
        operations = [0]
        count = worker.store._count

        def slow(operation: str, count=count, operations=operations):  # type: ignore[no-untyped-def]
            operations[0] += 1
            return count(operation)

        def clock(operations: list[int] = operations) -> float:
            return world.clock.now + seconds * operations[0]

        worker.store._count = slow  # type: ignore[method-assign]
        worker.member._clock = worker.member._reporting._clock = clock


def test_while_the_store_is_too_slow_each_worker_decides_alone() -> None:
    world = World(3)
    slow_down(world, 2.0)
    world.run(10.0, bad)

    assert world.states == [State.OPEN] * 3
    assert [worker.fleet.is_connected for worker in world.workers] == [False] * 3
    assert "slow" in world.workers[0].fleet.last_failure
    assert all(worker.breaker.following.orders is None for worker in world.workers)


def test_they_join_again_when_it_is_quick_and_stay_closed() -> None:
    world = World(3)
    slow_down(world, 2.0)
    world.run(10.0, bad)
    world.run(40.0, lambda _: (0.1, True))
    assert world.states == [State.CLOSED] * 3
    changes = [len(worker.rules) for worker in world.workers]

    slow_down(world, -2.0)  # both together take no time
    for worker in world.workers:
        worker.member._clock = worker.member._reporting._clock = world.clock
    world.run(5.0, lambda _: (0.1, True))

    assert [worker.fleet.is_connected for worker in world.workers] == [True] * 3
    assert world.states == [State.CLOSED] * 3
    assert [len(worker.rules) for worker in world.workers] == changes
    assert not any(worker.member._shared.known(KEY).is_decided for worker in world.workers)
