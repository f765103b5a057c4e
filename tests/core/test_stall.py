"""A process of ours that stands still, and what it is taken for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.support.breaker_state import is_closed
from tests.support.training import teach

from recloser import Breaker, BreakerOpenError, Registry, State, _stall
from recloser._stall import StallWatch, watch_of
from recloser.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    # The times below count from here.
    return ManualClock()


@pytest.fixture
def watch() -> StallWatch:
    return StallWatch()


def test_without_beats_nothing_was_lost(watch: StallWatch) -> None:
    assert watch.lost(started=0.0, now=100.0) == 0.0


def test_what_a_beat_was_late_by_was_lost(watch: StallWatch) -> None:
    for now in (1.0, 1.1, 1.2, 9.0, 9.1, 9.7):
        watch.beat(now, every=0.1)

    assert watch.lost(started=1.15, now=9.75) == pytest.approx(7.7 + 0.5)
    assert watch.lost(started=9.0, now=9.75) == pytest.approx(0.5)
    assert watch.lost(started=9.7, now=9.75) == 0.0


def test_of_a_stall_that_goes_on_at_its_start_a_call_lost_the_rest(watch: StallWatch) -> None:
    watch.beat(1.0, every=0.1)
    watch.beat(5.0, every=0.1)

    assert watch.lost(started=4.5, now=5.05) == pytest.approx(0.5)


def test_a_beat_that_is_missing_now_is_lost_time_already(watch: StallWatch) -> None:
    """A task may be resumed before the timer that was due before it."""
    watch.beat(1.0, every=0.1)

    assert watch.lost(started=1.0, now=1.4) == pytest.approx(0.3)


def test_a_beat_that_is_missing_for_long_will_not_come(watch: StallWatch) -> None:
    watch.beat(1.0, every=0.1)

    assert watch.lost(started=1.0, now=5.0) == 0.0


def test_with_beats_in_time_nothing_was_lost(watch: StallWatch) -> None:
    for tenth in range(100):
        watch.beat(tenth / 10 + 0.004 * (tenth % 2), every=0.1)

    assert watch.lost(started=0.5, now=9.9) == 0.0


def test_a_watch_that_was_stopped_takes_silence_for_no_stall(watch: StallWatch) -> None:
    watch.beat(1.0)
    watch.stop()
    watch.beat(50.0)

    assert watch.lost(started=0.9, now=50.01) == 0.0


def test_a_stall_limits_and_opens_nothing(registry: Registry, clock: ManualClock) -> None:
    teach(registry["key"], clock, [0.1] * 100)
    registry.stalls.beat(clock())
    permits = [registry["key"].acquire() for _ in range(50)]
    clock.advance(30.0)  # SIGSTOP, and SIGCONT
    registry.stalls.beat(clock())

    for permit in permits:
        permit.success()
    registry["key"].acquire().success()

    assert registry["key"].state is State.CLOSED


def test_the_same_without_a_stall_limits(registry: Registry, clock: ManualClock) -> None:
    teach(registry["key"], clock, [0.1] * 100)
    permits = [registry["key"].acquire() for _ in range(50)]
    clock.advance(30.0)

    for permit in permits:
        permit.success()

    assert registry["key"].state is State.LIMITED


@pytest.fixture
def watch_of_system(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> StallWatch:
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(_stall, "_watches", {})
    return watch_of(clock)


@pytest.fixture
def keep_up(watch_of_system: StallWatch) -> Callable[[float], None]:
    assert watch_of_system.keep_up is not None
    return watch_of_system.keep_up


Run = Callable[[Awaitable[Any]], Any]


def test_calls_keep_the_pulse_up_and_a_blocked_loop_shows(
    keep_up: Callable[[float], None], watch_of_system: StallWatch, clock: ManualClock, run: Run
) -> None:
    async def serve() -> None:
        for number in range(30):
            keep_up(clock())
            if number == 20:
                clock.advance(5.0)  # a handler that blocks the loop
            await asyncio.sleep(0.05)

    clock.advance(1.0)
    run(serve())

    assert watch_of_system.lost(started=1.9, now=clock()) == pytest.approx(5.0, abs=0.1)
    assert watch_of_system.lost(started=clock() - 0.2, now=clock()) == 0.0


def test_the_pulse_stops_when_calls_do(
    keep_up: Callable[[float], None], watch_of_system: StallWatch, clock: ManualClock, run: Run
) -> None:
    async def serve_one() -> None:
        keep_up(clock())
        await asyncio.sleep(10.0)
        watch_of_system.beat(clock())

    run(serve_one())

    assert watch_of_system.lost(started=0.0, now=clock()) == 0.0


def test_all_who_use_the_systems_clock_share_a_watch() -> None:
    assert Registry().stalls is Registry().stalls
    assert Registry().stalls is not Registry(clock=time.monotonic).stalls
    assert Registry(clock=ManualClock()).stalls is not Registry(clock=ManualClock()).stalls


def test_a_breaker_keeps_the_pulse_of_its_registry_up(
    registry: Registry, clock: ManualClock
) -> None:
    asked: list[float] = []
    registry.stalls.keep_up = asked.append

    for _ in range(100):
        clock.advance(0.01)
        registry["key"].acquire().success()

    assert 8 <= len(asked) <= 100


def test_manual_time_has_no_pulse() -> None:
    assert watch_of(ManualClock()).keep_up is None


def test_where_no_asyncio_loop_runs_there_is_none(
    keep_up: Callable[[float], None], watch_of_system: StallWatch, clock: ManualClock
) -> None:
    keep_up(clock())
    clock.advance(10.0)
    watch_of_system.beat(clock())

    assert watch_of_system.lost(started=0.0, now=clock()) == 0.0


@pytest.mark.parametrize("beats", [True, False])
def test_a_handler_that_blocks_the_loop_opens_nothing(
    watch_of_system: StallWatch, clock: ManualClock, run: Run, beats: bool
) -> None:
    if not beats:
        watch_of_system.keep_up = None
    breaker = Breaker("fast", clock=clock)

    async def client(number: int) -> None:
        for _ in range(80):
            await asyncio.sleep(0.001 * (number % 7))
            with suppress(BreakerOpenError), breaker:
                await asyncio.sleep(0.005)

    async def blocker() -> None:
        for _ in range(3):
            await asyncio.sleep(0.1)
            clock.advance(0.1)

    async def serve() -> None:
        await asyncio.gather(*(client(number) for number in range(40)), blocker())

    run(serve())

    assert (breaker.metrics().generation == 0) is beats


def test_a_stall_of_our_own_process_is_not_the_callees_fault(clock: ManualClock) -> None:
    registry = Registry(clock=clock)
    breaker = registry["k"]
    for _ in range(100):
        registry.stalls.beat(clock.now)
        permit = breaker.acquire()
        clock.advance(0.1)
        permit.success()
    known = breaker.metrics()

    for _ in range(20):
        spanning = [breaker.acquire() for _ in range(10)]
        clock.advance(30.0)
        registry.stalls.beat(clock.now)
        breaker.acquire().success()
        for permit in spanning:
            permit.success()

    assert is_closed(breaker)
    assert breaker.metrics().evidence == 0.0
    assert breaker.metrics().p99 <= known.p99
