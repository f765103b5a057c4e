"""Breaker: its modes, calls timed elsewhere, and orders by hand."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from tests.support.breaker_state import is_closed
from tests.support.training import record

from recloser import Breaker, Mode, Policy, Registry, State, Transition
from recloser._circuit import machine
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


# Recording


@pytest.mark.parametrize(
    "latency", [nan, inf, -inf, -0.1, -1e308, 1e308, None, "fast", 1j, Decimal("NaN"), 10**400]
)
def test_a_latency_that_is_none_is_ignored_and_counted(clock: ManualClock, latency: Any) -> None:
    registry = Registry(clock=clock)
    breaker = registry["k"]
    before = breaker.metrics()

    for success in (True, False):
        breaker.record(latency, success)

    assert breaker.metrics() == before
    assert registry.strange_latencies == 2


@pytest.mark.parametrize("latency", [0.0, -0.0, 1e-300, True, 1, Decimal("0.5"), 1e8])
def test_any_other_number_is_a_latency(breaker: Breaker, latency: Any) -> None:
    breaker.record(latency, success=True)

    metrics = breaker.metrics()
    assert metrics.successes == 1
    assert metrics.mean == float(latency)
    assert metrics.in_flight == 0


def test_a_record_has_no_say_while_open(breaker: Breaker) -> None:
    open_breaker(breaker)

    record(breaker, 100, success=True)

    assert breaker.state is State.OPEN
    assert breaker.metrics().successes == 100


def test_a_record_is_a_probe_while_half_open(breaker: Breaker) -> None:
    open_breaker(breaker)
    breaker.half_open()

    record(breaker, 20, success=True)

    assert breaker.state is State.CLOSED


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


# By hand


def test_opened_by_hand_it_stays_open_until_told_otherwise(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("maintenance")

    clock.advance(1e7)

    assert breaker.try_acquire() is None
    assert breaker.explain() == "open until told otherwise: by hand: 'maintenance'"
    # A number that a header, a sleep and JSON can take.
    assert breaker.retry_after == breaker.refusal().retry_after == Policy().max_open_for


def test_opened_by_hand_for_a_time_it_looks_again_by_itself(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=30.0)

    clock.advance(29.0)
    assert breaker.try_acquire() is None
    assert breaker.retry_after == pytest.approx(1.0)
    clock.advance(1.0)

    assert breaker.try_acquire() is not None
    assert breaker.state is State.HALF_OPEN


def test_a_bad_probe_after_a_hand_opens_for_a_while_and_not_for_ever(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("maintenance")
    breaker.half_open()
    for _ in range(10):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
    assert breaker.state is State.OPEN

    clock.advance(Policy().max_open_for)

    assert breaker.try_acquire() is not None


def test_late_answers_do_not_close_what_a_hand_opened(breaker: Breaker, clock: ManualClock) -> None:
    record(breaker, 100, success=True)
    slow = [breaker.acquire() for _ in range(50)]
    clock.advance(Policy().latency_patience + 10.0)
    breaker.open("maintenance")

    for permit in slow:
        permit.success()

    assert breaker.state is State.OPEN


def test_brief_openings_by_hand_teach_nothing(breaker: Breaker, clock: ManualClock) -> None:
    record(breaker, 1000, success=True)
    before = breaker.metrics().normal_bad_rate

    for _ in range(50):
        breaker.open(for_=0.1)
        breaker.half_open()
        record(breaker, 20, success=True)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().normal_bad_rate <= before


def test_a_reset_closes_and_forgets(breaker: Breaker) -> None:
    record(breaker, 100, success=True)
    record(breaker, 50, success=False)

    breaker.reset()

    metrics = breaker.metrics()
    assert metrics.state is State.CLOSED
    assert metrics.p50 == metrics.evidence == 0.0
    assert metrics.slow_threshold == Policy().slow_ceiling
    # What was counted stays counted: these are totals.
    assert metrics.successes == 100


@pytest.mark.parametrize("for_", [-1.0, nan, -inf])
def test_opening_for_no_time_is_refused(breaker: Breaker, for_: float) -> None:
    with pytest.raises(ValueError, match="for_"):
        breaker.open(for_=for_)

    assert breaker.state is State.CLOSED


def at_next_call_of(name: str, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Act once, as a signal handler would, right after the circuit calls a builtin."""
    builtin = getattr(builtins, name)

    def interrupted(*arguments: Any) -> Any:
        patch.delattr(machine, name)
        found = builtin(*arguments)
        act()
        return found

    patch.setattr(machine, name, interrupted, raising=False)


@pytest.mark.parametrize("order", ["open", "half_open"])
def test_an_order_given_while_a_decision_is_settled_holds(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """A signal handler may give it at any moment."""
    for _ in range(Policy().min_history):
        breaker.record(0.1, success=True)
    clock.advance(1.0)
    at_next_call_of("min", getattr(breaker, order), monkeypatch)
    breaker.acquire().success()
    assert not is_closed(breaker)

    if order == "open":
        assert breaker.try_acquire() is None
    else:
        for _ in range(Policy().half_open_requests):
            breaker.acquire().success()
        assert is_closed(breaker)


def test_no_event_is_lost_to_an_order_given_while_one_is_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler may give it at any moment."""
    registry = Registry(clock=ManualClock(), random=no_jitter)
    listener = RecordingListener()
    registry.subscribe(listener)
    breaker = registry["k"]

    def interrupted(*arguments: Any) -> Transition:
        monkeypatch.undo()
        made = Transition(*arguments)
        breaker.half_open()
        return made

    monkeypatch.setattr(machine, "Transition", interrupted)
    breaker.open()

    assert {event.after for event in listener.transitions} == {State.OPEN, State.HALF_OPEN}


def test_a_finalizer_may_record_a_call_within_a_decision(clock: ManualClock) -> None:
    tried: list[None] = []
    made: list[Breaker] = []

    def chance() -> float:  # the circuit asks for it while it opens
        made[0].record(0.1, success=False)
        tried.append(None)
        return 0.5

    breaker = Breaker("k", clock=clock, random=chance)
    made.append(breaker)
    record(breaker, 20, success=False)

    assert tried == [None]
    assert breaker.state is State.OPEN
