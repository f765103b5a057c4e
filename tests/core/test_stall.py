"""A process of ours that stands still, and what it is taken for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from recloser import Registry, State
from recloser._pulse import keep_pulse
from recloser._stall import StallWatch
from recloser.testing import ManualClock, no_jitter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def watch() -> StallWatch:
    return StallWatch()


def test_without_beats_nothing_is_excused(watch: StallWatch) -> None:
    assert not watch.excuses(started=0.0, now=100.0)


def test_a_late_beat_excuses_the_calls_that_span_it(watch: StallWatch) -> None:
    for now in (1.0, 1.1, 1.2, 9.0):
        watch.beat(now)

    assert watch.excuses(started=1.15, now=9.1)
    assert not watch.excuses(started=9.0, now=9.9)


def test_beats_in_time_excuse_nothing(watch: StallWatch) -> None:
    for tenth in range(100):
        watch.beat(tenth / 10)

    assert not watch.excuses(started=0.5, now=9.9)


def test_a_watch_that_was_stopped_takes_silence_for_no_stall(watch: StallWatch) -> None:
    watch.beat(1.0)
    watch.stop()
    watch.beat(50.0)

    assert not watch.excuses(started=0.9, now=50.1)


def learned(registry: Registry, clock: ManualClock) -> None:
    for _ in range(100):
        permit = registry["key"].acquire()
        clock.advance(0.1)
        permit.success()


def test_a_stall_opens_nothing(clock: ManualClock) -> None:
    registry = Registry(clock=clock, random=no_jitter)
    learned(registry, clock)
    registry.stalls.beat(clock())
    permits = [registry["key"].acquire() for _ in range(50)]
    clock.advance(30.0)  # SIGSTOP, and SIGCONT
    registry.stalls.beat(clock())

    for permit in permits:
        permit.success()
    registry["key"].acquire().success()

    assert registry["key"].state is State.CLOSED


def test_the_same_without_a_stall_does(clock: ManualClock) -> None:
    registry = Registry(clock=clock, random=no_jitter)
    learned(registry, clock)
    permits = [registry["key"].acquire() for _ in range(50)]
    clock.advance(30.0)

    for permit in permits:
        permit.success()

    assert registry["key"].state is State.OPEN


@pytest.fixture
def keep_up(
    watch: StallWatch, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], None]:
    monkeypatch.setattr(time, "perf_counter", clock)
    keep_pulse(watch, clock)
    assert watch.keep_up is not None
    return watch.keep_up


Run = Callable[[Awaitable[Any]], Any]


def test_calls_keep_the_pulse_up_and_a_blocked_loop_shows(
    keep_up: Callable[[float], None], watch: StallWatch, clock: ManualClock, run: Run
) -> None:
    async def serve() -> None:
        for number in range(30):
            keep_up(clock())
            if number == 20:
                clock.advance(5.0)  # a handler that blocks the loop
            await asyncio.sleep(0.05)

    clock.advance(1.0)
    run(serve())

    assert watch.excuses(started=1.9, now=clock())
    assert not watch.excuses(started=clock() - 0.2, now=clock())


def test_the_pulse_stops_when_calls_do(
    keep_up: Callable[[float], None], watch: StallWatch, clock: ManualClock, run: Run
) -> None:
    async def serve_one() -> None:
        keep_up(clock())
        await asyncio.sleep(10.0)
        watch.beat(clock())

    run(serve_one())

    assert not watch.excuses(started=0.0, now=clock())


def test_no_pulse_keeps_another_one_up(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(time, "perf_counter", clock)
    watches = [StallWatch(), StallWatch()]

    async def serve_one() -> None:
        for watch in watches:
            keep_pulse(watch, clock)
            assert watch.keep_up is not None
            watch.keep_up(clock())
        await asyncio.sleep(10.0)
        for watch in watches:
            clock.advance(10.0)
            watch.beat(clock())

    run(serve_one())

    assert not any(watch.excuses(started=0.0, now=clock()) for watch in watches)


def test_a_breaker_keeps_the_pulse_of_its_registry_up(clock: ManualClock) -> None:
    registry = Registry(clock=clock)
    asked: list[float] = []
    registry.stalls.keep_up = asked.append

    for _ in range(100):
        clock.advance(0.01)
        registry["key"].acquire().success()

    assert 20 <= len(asked) <= 100


def test_manual_time_has_no_pulse(watch: StallWatch) -> None:
    keep_pulse(watch, ManualClock())

    assert watch.keep_up is None


def test_where_no_asyncio_loop_runs_there_is_none(
    keep_up: Callable[[float], None], watch: StallWatch, clock: ManualClock
) -> None:
    keep_up(clock())
    clock.advance(10.0)
    watch.beat(clock())

    assert not watch.excuses(started=0.0, now=clock())
