"""Breaker: modes, hands, figures, and a fault of its own that never refuses a call."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from math import inf, nan
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.support.training import teach

import recloser
from recloser import Breaker, BreakerOpenError, Mode, Policy, Registry, State, Transition
from recloser._circuit import machine
from recloser.testing import ManualClock, RecordingListener, no_jitter, open_breaker


def record(breaker: Breaker, calls: int, *, success: bool, latency: float = 0.1) -> None:
    for _ in range(calls):
        breaker.record(latency, success=success)


def is_closed(breaker: Breaker) -> bool:
    return breaker.state is State.CLOSED


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
    assert metrics.p50 == metrics.surprise == 0.0
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


# Recovery


def test_an_outage_that_turns_into_slowness_ends(breaker: Breaker, clock: ManualClock) -> None:
    """It began with failures, and the callee came back three times slower, for good."""
    teach(breaker, clock, [0.1] * 300)
    for _ in range(100):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
        clock.advance(0.1)
    assert not is_closed(breaker)

    for _ in range(20_000):
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(1.0)
            permit.success()
            if is_closed(breaker):
                break
        clock.advance(0.1)

    assert is_closed(breaker)


@pytest.mark.parametrize("begins", ["failures", "hand", "throttled"])
def test_a_healthy_callee_gets_its_traffic_back(
    breaker: Breaker, clock: ManualClock, begins: str
) -> None:
    if begins == "failures":
        record(breaker, 30, success=False)
    elif begins == "hand":
        breaker.open(for_=10.0)
    else:
        breaker.acquire().throttled(10.0)
    assert not is_closed(breaker)

    began = clock.now
    while not is_closed(breaker) and clock.now < began + 100.0:
        clock.advance(0.05)
        if (permit := breaker.try_acquire()) is not None:
            permit.success()

    assert is_closed(breaker)
    assert clock.now - began < 15.0


def test_the_first_call_after_a_month_of_silence_is_admitted(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 30, success=False)
    clock.advance(1.0)
    breaker.acquire().ignore()
    assert breaker.state is State.HALF_OPEN

    clock.advance(30 * 86_400.0)

    assert breaker.try_acquire() is not None


def test_looks_are_never_further_apart_than_max_open_for(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 30, success=False)

    for _ in range(200):
        assert breaker.retry_after <= Policy().max_open_for + 1e-6
        clock.advance(breaker.retry_after)
        permit = breaker.try_acquire()
        assert permit is not None
        permit.failure()


@pytest.mark.parametrize("chance", [nan, inf, -inf, -1e9, 1e9, 0.0, 1.0])
def test_a_strange_source_of_chance_leaves_waits_near_what_they_were(chance: float) -> None:
    breaker = Breaker("k", clock=ManualClock(), random=lambda: chance)

    record(breaker, 30, success=False)

    assert breaker.state is State.OPEN
    assert 0.9 * Policy().open_for <= breaker.retry_after <= 1.1 * Policy().open_for


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
    assert breaker.metrics().surprise == 0.0
    assert breaker.metrics().p99 <= known.p99


# Faults of our own


ROOMS = Path(recloser.__file__).parent
# `in_flight` is left out: its operations are single steps, which an exception cannot cut in two.
INTERNALS = {
    *(str(path) for path in (ROOMS / "_circuit").glob("*.py") if path.stem != "in_flight"),
    str(ROOMS / "_listeners.py"),
    str(ROOMS / "_stall.py"),
}
Line = tuple[str, int]


class Sabotage(Exception):  # noqa: N818  # what it is
    """A bug of ours."""


@contextmanager
def tracing(seen: set[Line], target: Line | None) -> Iterator[None]:
    """Note the lines of the internals that run, and raise at the first run of one of them."""
    armed = True

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal armed
        if frame.f_code.co_filename not in INTERNALS:
            return None
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            seen.add(line)
            if armed and line == target:
                armed = False
                raise Sabotage
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def live_through(breaker: Breaker, clock: ManualClock) -> None:
    """Health, slowness, calls that hang, an outage, probes of all kinds, and recovery."""

    def serve(calls: int, latency: float, way: str, waits: float = 0.05) -> None:
        for _ in range(calls):
            closed = breaker.state is State.CLOSED
            permit = breaker.try_acquire()
            clock.advance(latency)
            # An opening is a decision; nothing else may refuse.
            if permit is None:
                assert not closed or breaker.state is not State.CLOSED
            else:
                getattr(permit, way)()
            clock.advance(waits)

    serve(40, 0.1, "success")
    serve(3, 2.0, "success")
    serve(20, 0.1, "success")
    serve(1, 0.1, "ignore")
    serve(1, 3.0, "cancel")
    hanging = [breaker.try_acquire() for _ in range(3)]
    clock.advance(3.0)
    serve(1, 0.1, "success")
    for permit in hanging:
        if permit is not None:
            permit.success()
    serve(40, 0.1, "failure")
    serve(10, 0.1, "success", waits=1.0)
    serve(1, 0.1, "throttled")
    permit = breaker.try_acquire()
    if permit is not None:
        permit.throttled(5.0)
    serve(60, 0.1, "success", waits=1.0)


def test_no_line_of_ours_that_fails_refuses_a_call_or_keeps_a_permit() -> None:
    lines: set[Line] = set()
    with tracing(lines, None):
        clock = ManualClock(100.0)
        live_through(Breaker("k", Policy(min_history=20), clock=clock, random=no_jitter), clock)
    assert len(lines) > 200

    for line in sorted(lines):
        clock = ManualClock(100.0)
        registry = Registry(Policy(min_history=20), clock=clock, random=no_jitter)
        registry.subscribe(RecordingListener())
        breaker = registry["k"]
        with tracing(set(), line):
            live_through(breaker, clock)

        # It goes on as if nothing had been: nothing in flight, and calls are served.
        for _ in range(200):
            clock.advance(1.0)
            if (permit := breaker.try_acquire()) is not None:
                permit.success()
        assert breaker.metrics().in_flight == 0, line
        assert breaker.try_acquire() is not None, line


def test_an_admission_that_fails_is_an_admission(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(clock=clock)
    breaker = registry["k"]
    breaker.open(for_=1.0)
    clock.advance(1.0)

    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(type(breaker._circuit), "admit", bug)

    for _ in range(10):
        breaker.acquire().success()
    assert registry.faults == 10


# Refusals


def test_a_refusal_tells_who_why_and_how_long(clock: ManualClock) -> None:
    breaker = Breaker("k", Policy(open_for=0.5), clock=clock, random=no_jitter)
    record(breaker, 30, success=False)

    with pytest.raises(BreakerOpenError) as caught:
        breaker.acquire()

    error = caught.value
    assert error.key == "k"
    assert error.state is State.OPEN
    assert error.reason is not None
    assert error.reason.rule == "failures"
    assert error.retry_after == pytest.approx(breaker.retry_after)
    assert str(error).startswith("breaker 'k' is open, retry in 0.5 s: ")


def test_each_refusal_is_an_error_of_its_own(breaker: Breaker) -> None:
    """One raised again and again would keep the frames of every caller."""
    open_breaker(breaker)

    first, second = breaker.refusal(), breaker.refusal()

    assert first is not second


def test_a_refusal_is_never_that_of_a_closed_breaker(breaker: Breaker) -> None:
    """Another call may have closed it since."""
    assert breaker.refusal().state is State.HALF_OPEN
    assert breaker.refusal().retry_after == 0.0


def test_while_half_open_the_wait_is_that_of_a_look_not_of_a_lease(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)
    probe = breaker.acquire()

    assert breaker.try_acquire() is None
    assert probe.is_probe
    assert 0.0 <= breaker.refusal().retry_after <= Policy().open_for


def test_from_the_call_on_that_makes_latency_known_it_is_judged(
    breaker: Breaker, clock: ManualClock
) -> None:
    """However fast the calls before it came."""
    teach(breaker, clock, [0.001] * Policy().min_history)

    permit = breaker.acquire()
    clock.advance(0.3)
    permit.success()

    assert breaker.metrics().slow == 1
