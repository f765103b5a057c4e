"""Breaker: how one is made, and its modes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from tests.support.training import record

from recloser import Breaker, Mode, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter, open_breaker

# Making one


@pytest.mark.parametrize(
    ("arguments", "settings", "error"),
    [
        ((5,), {}, TypeError),
        ((None,), {}, TypeError),
        (("k", 5), {}, TypeError),
        (("k",), {"mode": "on"}, ValueError),
        (("k",), {"mode": None}, ValueError),
        (("k",), {"polcy": Policy()}, TypeError),
    ],
)
def test_a_mistake_is_refused_at_once(
    arguments: tuple[Any, ...], settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Breaker(*arguments, **settings)


# Modes


def test_observe_decides_and_reports_but_refuses_nothing(clock: ManualClock) -> None:
    registry = Registry(clock=clock, random=no_jitter, mode="observe")
    listener = RecordingListener()
    registry.subscribe(listener)
    breaker = registry["k"]

    for _ in range(100):
        permit = breaker.acquire()
        clock.advance(0.001)
        permit.failure()

    assert breaker.state is State.OPEN
    assert [each.reason.rule for each in listener.transitions][:1] == ["failures"]
    assert breaker.metrics().refused > 50
    assert breaker.retry_after == breaker.metrics().retry_after == 0.0
    assert breaker.explain().startswith("observe, nothing is refused; open for ")


def test_observe_recovers_like_enforce(clock: ManualClock) -> None:
    breaker = Breaker("k", clock=clock, random=no_jitter, mode=Mode.OBSERVE)
    breaker.open(for_=5.0)
    clock.advance(6.0)

    for _ in range(100):
        breaker.acquire().success()

    assert breaker.state is State.CLOSED


def test_disabled_admits_everything_and_learns_nothing(clock: ManualClock) -> None:
    breaker = Breaker("k", clock=clock, mode="disabled")
    open_breaker(breaker)
    before = breaker.metrics()

    for _ in range(100):
        breaker.acquire().failure()
    record(breaker, 100, success=False)

    assert breaker.metrics() == before
    assert breaker.retry_after == 0.0


def test_the_mode_takes_effect_with_the_next_call(breaker: Breaker) -> None:
    open_breaker(breaker)
    assert breaker.try_acquire() is None

    breaker.mode = "observe"
    observed = breaker.try_acquire()
    breaker.mode = Mode.ENFORCE

    assert observed is not None
    observed.failure()
    assert breaker.try_acquire() is None
    with pytest.raises(ValueError, match="enfroce"):
        breaker.mode = "enfroce"
    assert breaker.mode is Mode.ENFORCE


# Whole calls


def told(*args: object, **kwargs: object) -> tuple[object, ...]:
    return *args, kwargs


async def told_later(*args: object, **kwargs: object) -> tuple[object, ...]:
    return told(*args, **kwargs)


class Told:
    def __init__(self, *args: object, **kwargs: object) -> None:
        self.what = told(*args, **kwargs)


def test_a_function_is_called_with_what_it_was_given(breaker: Breaker) -> None:
    """Also what is made by a call: a coroutine, an instance, the result of a builtin."""
    expected, builtin = (1, 2, {"key": 3}), cast("Any", dict)

    assert breaker.call(told, 1, 2, key=3) == expected
    assert asyncio.run(breaker.call(told_later, 1, 2, key=3)) == expected
    assert breaker.call(Told, 1, 2, key=3).what == expected
    assert breaker.call(builtin, [(1, 2)], key=3) == {1: 2, "key": 3}
    assert breaker.metrics().successes == 4
