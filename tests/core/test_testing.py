"""recloser.testing: the tools that users test with do what they say."""

from __future__ import annotations

import pytest

from recloser import Breaker, BreakerOpenError, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter, open_breaker


def test_a_manual_clock_moves_only_when_told_to() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0

    clock.advance(2.5)
    clock.advance(-0.5)

    assert clock() == clock.now == 7.0


def test_a_manual_clock_begins_at_zero_and_that_is_a_time_like_any_other() -> None:
    clock = ManualClock()
    breaker = Breaker("k", clock=clock)

    with breaker:
        clock.advance(0.25)

    assert breaker.metrics().mean == 0.25


def test_without_jitter_waits_are_exact() -> None:
    clock = ManualClock()
    breaker = Breaker("k", clock=clock, random=no_jitter)

    for _ in range(30):
        breaker.record(0.1, success=False)

    assert breaker.retry_after == breaker.policy.open_for


def test_an_opened_breaker_stays_open() -> None:
    clock = ManualClock()
    breaker = Breaker("k", clock=clock)

    open_breaker(breaker)
    clock.advance(1e6)

    with pytest.raises(BreakerOpenError, match="opened by a test"):
        breaker.acquire()
    assert breaker.state is State.OPEN


def test_a_recording_listener_keeps_what_it_is_told() -> None:
    registry = Registry(clock=ManualClock(3.0))
    listener = RecordingListener()
    stop = registry.subscribe(listener)

    open_breaker(registry["a"])
    registry["a"].reset()
    stop()
    open_breaker(registry["a"])

    assert [str(each) for each in listener.transitions] == [
        "'a' closed -> open: by hand: 'opened by a test'",
        "'a' open -> closed: by hand",
    ]
    assert [each.at for each in listener.transitions] == [3.0, 3.0]
