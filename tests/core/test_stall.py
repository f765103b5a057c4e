"""A process of ours that stands still, and what it is taken for."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import partial
from math import inf
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


# Whose stall excuses which call


class Loop:
    """An event loop as far as a watch sees it. A turn runs what is ready, and the timer."""

    def __init__(self) -> None:
        self.timer: Callable[[], None] | None = None
        self.ready: list[Callable[[], None]] = []
        self.running = True
        self.closed = False

    def call_later(self, delay: float, callback: Callable[[int], None], number: int) -> None:
        self.timer = partial(callback, number)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def turn(self) -> None:
        while self.ready:
            self.ready.pop()()
        assert self.timer is not None
        self.timer()

    def is_running(self) -> bool:
        return self.running

    def is_closed(self) -> bool:
        return self.closed


class Places:
    """Loops and threads of a process with a watch; calls are made in one of them at a time."""

    def __init__(self, clock: ManualClock, patch: pytest.MonkeyPatch) -> None:
        self.watch = StallWatch(clock)
        self.clock = clock
        self.here: Loop | None = None
        patch.setattr(_stall, "_running_loop", lambda: self.here)

    def call_in(self, place: Loop | None) -> None:
        self.here = place
        assert self.watch.keep_up is not None
        self.watch.keep_up(self.clock())

    def lost_in(
        self, place: Loop | None, started: float, until: float = inf, who: int = 0
    ) -> float:
        self.here = place
        return self.watch.lost(started, self.clock(), until, who)

    def pass_time(self, seconds: float, *loops: Loop) -> None:
        """All these loops run, and the others stand still."""
        for _ in range(round(seconds / _stall.BEAT_EVERY)):
            self.clock.advance(_stall.BEAT_EVERY)
            for loop in loops:
                loop.turn()


@pytest.fixture
def places(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(clock, monkeypatch)


def test_a_loop_that_stands_still_excuses_its_own_calls_only(
    places: Places, clock: ManualClock
) -> None:
    a, b = Loop(), Loop()
    for place in (a, b, None):
        places.call_in(place)
    places.pass_time(0.1, a, b)
    started = clock()

    places.pass_time(0.4, b)
    a.turn()

    assert places.lost_in(a, started) == pytest.approx(0.38)
    assert places.lost_in(b, started) == 0.0
    assert places.lost_in(None, started) == 0.0
    # Whose call it is that seems to be overdue is not known.
    assert places.watch.lost_anywhere(started, clock()) == pytest.approx(0.38)


@pytest.mark.parametrize("told", [True, False])
def test_where_nothing_ran_every_call_is_excused(
    places: Places, clock: ManualClock, told: bool
) -> None:
    a, b = Loop(), Loop()
    for place in (a, b, None):
        places.call_in(place)
    places.pass_time(0.1, a, b)
    started = clock()

    places.pass_time(0.4)
    if told:
        a.turn()
        b.turn()

    assert places.lost_in(None, started) == pytest.approx(0.38)
    assert places.watch.lost_anywhere(started, clock()) == pytest.approx(0.38)


@pytest.mark.parametrize("told", [True, False])
def test_a_thread_that_ran_meanwhile_did_not_stand_still(
    places: Places, clock: ManualClock, told: bool
) -> None:
    loop = Loop()
    places.call_in(loop)
    places.pass_time(0.1, loop)
    started = clock()

    places.pass_time(0.2)
    places.call_in(None)
    places.pass_time(0.2)
    if told:
        loop.turn()

    assert places.lost_in(None, started) == 0.0


def test_a_call_in_one_turn_of_its_loop_has_held_it_and_who_waited_is_excused(
    places: Places, clock: ManualClock
) -> None:
    loop, other = Loop(), Loop()
    places.call_in(loop)
    places.call_in(other)
    places.pass_time(0.1, loop, other)
    waiting = clock()
    places.call_in(loop)
    places.pass_time(0.02, loop, other)
    started = clock()
    places.call_in(loop)

    places.pass_time(0.5, other)

    assert places.lost_in(loop, waiting) == pytest.approx(0.48)
    assert places.lost_in(loop, started) == 0.0
    loop.turn()
    assert places.lost_in(loop, waiting) == pytest.approx(0.48)


def test_a_key_that_heads_stall_after_stall_is_to_blame(places: Places, clock: ManualClock) -> None:
    loop = Loop()
    places.call_in(loop)
    lost: list[float] = []

    def stall(*keys: int) -> None:
        places.pass_time(0.04, loop)
        clock.advance(0.001)
        started = clock()
        places.pass_time(0.5)
        lost[:] = [places.lost_in(loop, started, who=each) for each in keys]
        loop.turn()

    waited = pytest.approx(0.481, abs=0.002)
    for _ in range(2):
        stall(1, 2)
        assert lost == [waited, waited]
    stall(1, 2)
    assert lost == [0.0, waited]
    stall(2, 1)
    assert lost == [waited, waited]
    for keys in ((1,), (1,), (), (1,)):  # one that it did not head
        stall(*keys)
    assert lost == [waited]


def test_an_excuse_is_no_longer_than_the_call_waited(places: Places, clock: ManualClock) -> None:
    loop = Loop()
    places.call_in(loop)
    places.pass_time(0.1, loop)
    started = clock()
    places.pass_time(0.5)
    loop.turn()
    places.pass_time(0.1, loop)

    assert places.lost_in(loop, started + 0.3) == pytest.approx(0.2)
    assert places.lost_in(loop, started, until=started + 0.1) == pytest.approx(0.08)
    assert places.lost_in(loop, started, until=started) == 0.0
    assert places.lost_in(loop, started + 0.5) == pytest.approx(0.0, abs=1e-9)
    places.pass_time(0.9)
    assert places.watch.lost_anywhere(clock() - 0.1, clock()) == pytest.approx(0.1)


def test_a_loop_that_is_over_says_nothing_and_is_not_kept(
    places: Places, clock: ManualClock
) -> None:
    for _ in range(100):
        loop = Loop()
        places.call_in(loop)
        places.pass_time(0.04, loop)
        loop.running, loop.closed = False, True
    started = clock()

    clock.advance(0.5)

    assert len(places.watch._loops) <= 2
    assert places.watch.lost_anywhere(started, clock()) == 0.0
    assert places.lost_in(None, started) == 0.0
    assert places.lost_in(Loop(), started) == 0.0


def test_a_loop_is_not_kept_alive() -> None:
    breaker = Breaker("k")

    async def call() -> weakref.ref[Any]:
        for _ in range(3):
            async with breaker:
                await asyncio.sleep(0.0)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(call())
    gc.collect()

    assert loop() is None


def test_a_loop_that_hangs_does_not_excuse_the_rest_for_ever(
    places: Places, clock: ManualClock
) -> None:
    places.call_in(Loop())
    started = clock()
    clock.advance(100.0)

    assert places.watch.lost_anywhere(started, clock()) == 0.0


def test_a_child_process_does_not_wait_for_the_loops_of_its_parent(
    places: Places, clock: ManualClock
) -> None:
    loop = Loop()
    places.call_in(loop)
    started = clock()
    clock.advance(0.5)

    places.watch.forget_loops()

    assert places.watch.lost_anywhere(started, clock()) == 0.0


@pytest.mark.parametrize("yields", ["not at all", "before", "after"])
def test_a_call_that_blocks_its_loop_does_not_excuse_itself(
    watch_of_system: StallWatch, clock: ManualClock, run: Run, yields: str
) -> None:
    breaker = Breaker("blocking", clock=clock)

    async def serve() -> None:
        for number in range(120):
            async with breaker:
                if yields == "before":
                    await asyncio.sleep(0.001)
                clock.advance(0.002 if number < 100 else 0.5)
                if yields == "after":
                    await asyncio.sleep(0.0)
            if breaker.state is not State.CLOSED:
                return
            await asyncio.sleep(0.01)

    run(serve())

    assert breaker.state is State.LIMITED
    assert breaker.metrics().slow <= 12


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_call_that_blocks_its_loop_excuses_all_others(
    watch_of_system: StallWatch, clock: ManualClock, run: Run, is_guarded: bool
) -> None:
    breaker, blocking = Breaker("healthy", clock=clock), Breaker("blocking", clock=clock)

    async def call() -> None:
        async with breaker:
            await asyncio.sleep(0.005)

    async def block() -> None:
        async with blocking if is_guarded else nullcontext():
            clock.advance(0.5)

    async def serve() -> None:
        for _ in range(100):
            await call()
        for _ in range(8):
            calls = [asyncio.create_task(call()) for _ in range(10)]
            await asyncio.sleep(0.002)
            with suppress(BreakerOpenError):
                await block()
            await asyncio.gather(*calls)

    run(serve())

    assert breaker.metrics().slow == 80
    assert breaker.metrics().generation == 0


def calls_until_noticed(
    clock: ManualClock, run_all: Callable[[list[Awaitable[None]]], None]
) -> int:
    breaker, latency = Breaker("k", clock=clock), 0.002

    async def call() -> None:
        async with breaker:
            await asyncio.sleep(latency)

    run_all([call() for _ in range(150)])
    latency = 0.12
    for number in range(1, 60):
        run_all([call()])
        if breaker.state is not State.CLOSED:
            return number
    return 60


def test_with_a_loop_for_each_call_trouble_is_noticed_as_early_as_with_one(
    watch_of_system: StallWatch, clock: ManualClock, run: Run
) -> None:
    def in_loops_of_their_own(calls: list[Awaitable[None]]) -> None:
        for each in calls:
            run(each)

    def in_one_loop(calls: list[Awaitable[None]]) -> None:
        async def one_after_the_other() -> None:
            for each in calls:
                await each

        run(one_after_the_other())

    assert calls_until_noticed(clock, in_loops_of_their_own) <= calls_until_noticed(
        clock, in_one_loop
    )
