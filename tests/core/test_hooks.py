"""What listeners are told besides changes of state: refusals, and ends of calls."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.support.training import learned

from recloser import (
    BreakerOpenError,
    CallEnd,
    Mode,
    Outcome,
    Refusal,
    Registry,
    State,
    Transition,
)
from recloser.testing import ManualClock, open_breaker


class Everything:
    """A listener of everything but overrides."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.ends: list[CallEnd] = []

    def on_refuse(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def on_call_end(self, end: CallEnd) -> None:
        self.ends.append(end)


def test_each_refusal_is_told(registry: Registry, clock: ManualClock) -> None:
    listener = Everything()
    registry.subscribe(listener)
    breaker = registry["k"]
    breaker.open("maintenance", for_=5.0)

    for _ in range(2):
        with pytest.raises(BreakerOpenError):
            breaker.acquire()
    with pytest.raises(BreakerOpenError), breaker:
        pass

    assert len(listener.refusals) == 3
    refusal = listener.refusals[0]
    assert (refusal.key, refusal.state, refusal.mode) == ("k", State.OPEN, Mode.ENFORCE)
    assert (refusal.is_enforced, refusal.retry_after, refusal.at) == (True, 5.0, clock())
    assert refusal.reason is not None
    assert "maintenance" in refusal.reason.sentence
    assert listener.ends == []


def test_a_call_that_is_spared_is_told_as_such(registry: Registry, clock: ManualClock) -> None:
    listener = Everything()
    registry.subscribe(listener)
    breaker = registry["k"]
    open_breaker(breaker)
    breaker.override(enforce_share=0.0)

    permit = breaker.acquire()
    clock.advance(0.2)
    permit.success()

    assert [each.is_enforced for each in listener.refusals] == [False]
    (end,) = listener.ends
    assert (end.outcome, end.is_spared, end.key) == (Outcome.SUCCESS, True, "k")
    assert end.latency == pytest.approx(0.2)


def test_each_end_is_told_also_of_calls_that_would_end_without_a_decision(
    registry: Registry, clock: ManualClock
) -> None:
    breaker = registry["k"]
    learned(breaker, clock)
    listener = Everything()
    unsubscribe = registry.subscribe(listener)

    for _ in range(50):
        permit = breaker.acquire()
        clock.advance(0.05)
        permit.success()
    with pytest.raises(ZeroDivisionError), breaker:
        raise ZeroDivisionError
    breaker.acquire().cancel()

    outcomes = [each.outcome for each in listener.ends]
    assert outcomes == [Outcome.SUCCESS] * 50 + [Outcome.IGNORED, Outcome.CANCELLED]
    assert listener.ends[0].latency == pytest.approx(0.05)
    assert not any(each.is_spared for each in listener.ends)
    assert not CallEnd("k", Outcome.SUCCESS, 0.05, clock()).is_spared
    unsubscribe()
    clock.advance(1.0)
    for _ in range(5):
        breaker.acquire().success()
    assert len(listener.ends) == 52
    assert breaker.metrics().successes >= 55


def test_a_listener_that_raises_fails_no_call(registry: Registry) -> None:
    class Faulty:
        def on_refuse(self, refusal: Refusal) -> None:
            raise RuntimeError("on_refuse")

        def on_call_end(self, end: CallEnd) -> None:
            raise RuntimeError("on_call_end")

        def on_override(self, key: str, override: object, ended: bool) -> None:
            raise RuntimeError("on_override")

        def on_transition(self, transition: Transition) -> None:
            raise RuntimeError("on_transition")

    registry.subscribe(Faulty())
    breaker = registry["k"]

    breaker.acquire().success()
    breaker.override("observe")
    open_breaker(breaker)
    breaker.acquire().success()

    assert registry.faults == 5


def test_a_listener_may_use_the_breaker(registry: Registry) -> None:
    class Asks:
        def __init__(self) -> None:
            self.said: list[str] = []

        def on_refuse(self, refusal: Refusal) -> None:
            self.said.append(registry[refusal.key].explain())

        def on_call_end(self, end: CallEnd) -> None:
            self.said.append(registry[end.key].metrics().state.value)

    listener = Asks()
    registry.subscribe(listener)
    registry["k"].acquire().success()
    open_breaker(registry["k"])
    assert registry["k"].try_acquire() is None

    assert listener.said[0] == "closed"
    assert listener.said[1].startswith("open until told otherwise")


def test_a_listener_without_a_method_is_an_error(registry: Registry) -> None:
    with pytest.raises(TypeError, match=r"on_transition\(\), on_refuse\(\), on_call_end\(\)"):
        registry.subscribe(cast("Any", print))


def test_who_subscribed_twice_is_told_twice_and_unsubscribes_once_each(registry: Registry) -> None:
    listener = Everything()
    first, second = registry.subscribe(listener), registry.subscribe(listener)
    open_breaker(registry["k"])

    def told() -> int:
        listener.refusals.clear()
        assert registry["k"].try_acquire() is None
        return len(listener.refusals)

    assert told() == 2
    first()
    first()
    assert told() == 1
    second()
    assert told() == 0
