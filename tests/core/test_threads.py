"""Threads: nothing is counted twice or lost, and a threshold is crossed once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.limits import fill, limit, slow_down
from tests.support.threads import all_at_once
from tests.support.training import learned

from recloser import Breaker, Permit, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Switch between threads as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_counts_are_exact() -> None:
    # In real time calls would be slow whenever the machine was, and it would open.
    breaker = Breaker("k", clock=ManualClock())
    ways = ["success", "ignore", "cancel", "success"]

    def work(index: int) -> None:
        way = ways[index % 4]
        for _ in range(500):
            permit = breaker.acquire()
            getattr(permit, way)()
            permit.failure()

    all_at_once(16, work)

    metrics = breaker.metrics()
    assert metrics.calls == 8_000
    assert metrics.successes == 4_000
    assert metrics.ignored == metrics.cancelled == 2_000
    assert metrics.failures == metrics.in_flight == 0


def test_two_threads_that_end_one_permit_count_once() -> None:
    breaker = Breaker("k")
    permits = [breaker.acquire() for _ in range(2_000)]

    def work(index: int) -> None:
        for permit in permits:
            permit.success() if index % 2 else permit.ignore()

    all_at_once(4, work)

    metrics = breaker.metrics()
    assert metrics.successes + metrics.ignored == 2_000
    assert metrics.in_flight == 0


def test_threads_that_cross_the_threshold_together_open_it_once() -> None:
    clock = ManualClock()
    registry = Registry(clock=clock, random=no_jitter, max_keys=2_000)
    listener = RecordingListener()
    registry.subscribe(listener)
    races, callers = 150, 8
    permits = [
        [[registry[f"k{race}"].acquire() for _ in range(3)] for _ in range(callers)]
        for race in range(races)
    ]
    turns = [threading.Barrier(callers) for _ in range(races)]

    def work(index: int) -> None:
        for race in range(races):
            turns[race].wait()
            for permit in permits[race][index]:
                permit.failure()

    all_at_once(callers, work)

    openings = [each.key for each in listener.transitions]
    assert len(openings) == len(set(openings))
    states = {registry[f"k{race}"].state for race in range(races)}
    assert len(openings) == sum(registry[f"k{race}"].state is State.OPEN for race in range(races))
    assert State.HALF_OPEN not in states


def test_64_threads_at_half_open_get_one_probe_between_them(
    breaker: Breaker, clock: ManualClock
) -> None:
    rounds = 30
    admitted: list[list[Permit]] = [[] for _ in range(rounds)]

    def turn(number: int) -> Callable[[int], None]:
        def work(_: int) -> None:
            if (permit := breaker.try_acquire()) is not None:
                admitted[number].append(permit)

        return work

    for number in range(rounds):
        breaker.open(for_=1.0)
        clock.advance(1.0)
        all_at_once(64, turn(number))
        admitted[number][0].failure()

    assert [len(permits) for permits in admitted] == [1] * rounds


def serve_fast(breaker: Breaker, clock: ManualClock) -> None:
    permit = breaker.acquire()
    clock.advance(0.1)
    permit.success()


def test_of_64_threads_no_more_than_the_limit_are_let_through(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    size = len(fill(breaker))
    admitted: list[Permit] = []

    def work(_: int) -> None:
        if (permit := breaker.try_acquire()) is not None:
            admitted.append(permit)

    for _ in range(30):
        all_at_once(64, work)
        assert len(admitted) == size
        for permit in admitted:
            permit.cancel()
        admitted.clear()

    assert breaker.state is State.LIMITED
    assert breaker.metrics().in_flight == 0


def test_counts_are_exact_while_limits_come_and_go(clock: ManualClock) -> None:
    breaker = Breaker("k", clock=clock, random=no_jitter)
    learned(breaker, clock)
    admitted, refused = [0] * 8, [0] * 8

    def work(index: int) -> None:
        for _ in range(10):
            asked = [breaker.try_acquire() for _ in range(6)]  # more than the limit
            permits = [permit for permit in asked if permit is not None]
            admitted[index] += len(permits)
            refused[index] += len(asked) - len(permits)
            for number, permit in enumerate(permits):
                getattr(permit, ("cancel", "ignore")[number % 2])()

    for _ in range(6):
        slow_down(breaker, clock)
        all_at_once(8, work)
        assert breaker.state is State.LIMITED
        while breaker.state is State.LIMITED:
            serve_fast(breaker, clock)
        assert breaker.state is State.CLOSED

    metrics = breaker.metrics()
    assert metrics.generation == 12
    assert metrics.refused == sum(refused) > 0
    assert metrics.ignored + metrics.cancelled == sum(admitted)
    assert metrics.failures == metrics.in_flight == 0


def test_one_key_is_made_once() -> None:
    registry = Registry(max_keys=10_000)
    found: list[list[Breaker]] = [[] for _ in range(16)]

    all_at_once(16, lambda index: found[index].extend(registry[f"k{n}"] for n in range(200)))

    assert len(registry) == 200
    assert all(breakers == found[0] for breakers in found)


def test_keys_come_and_go_under_many_threads() -> None:
    registry = Registry(max_keys=20)

    def work(index: int) -> None:
        for number in range(300):
            with registry[f"{index}-{number % 40}"]:
                pass
            registry.breakers()

    all_at_once(8, work)

    assert len(registry) <= 21
    assert registry.faults == 0


def test_with_blocks_of_many_threads_end_their_own_permits(registry: Registry) -> None:
    def work(index: int) -> None:
        for _ in range(200):
            with registry["shared"], registry[f"own {index}"]:
                pass

    all_at_once(8, work)

    assert registry["shared"].metrics().successes == 1_600
    assert all(registry[f"own {index}"].metrics().successes == 200 for index in range(8))
    assert registry["shared"].metrics().in_flight == 0


def test_permits_dropped_by_many_threads_all_come_back() -> None:
    breaker = Breaker("k")

    all_at_once(8, lambda _: [breaker.acquire() for _ in range(300)].clear())

    metrics = breaker.metrics()
    assert metrics.cancelled == 2_400
    assert metrics.in_flight == 0


def test_no_call_has_a_vote_once_it_is_disabled(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = type(breaker._circuit).settle
    operator = threading.Thread(target=lambda: setattr(breaker, "mode", "disabled"))

    def interrupted(*arguments: Any) -> None:
        monkeypatch.undo()
        operator.start()
        operator.join(0.1)
        settle(*arguments)

    monkeypatch.setattr(type(breaker._circuit), "settle", interrupted)
    breaker.acquire().success()
    operator.join()

    assert breaker.acquire().ended
