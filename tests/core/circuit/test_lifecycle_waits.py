"""The lifecycle: what late calls, pauses and hardly slow answers lead to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.limits import hang, limit_of, slow_down
from tests.support.training import learned, teach

from recloser import Breaker, Permit, Policy, Registry, State, Transition
from recloser.testing import ManualClock, RecordingListener, no_jitter

OPEN, CLOSED = State.OPEN, State.CLOSED


def trip(breaker: Breaker) -> None:
    for _ in range(30):
        if breaker.state is CLOSED:
            breaker.acquire().failure("HTTP 500")
    assert breaker.state is OPEN


def strict(breaker: Breaker) -> Permit:
    permit = breaker.admit_strict(Permit)
    assert isinstance(permit, Permit)
    return permit


def test_answers_just_above_the_floor_limit_nobody(clock: ManualClock) -> None:
    breaker = Breaker("k", Policy(slow_floor=0.22), clock=clock, random=no_jitter)
    teach(breaker, clock, [0.1] * 100)

    slow_down(breaker, clock, latency=0.25)

    assert limit_of(breaker).size >= 10_000.0


def test_a_pause_names_the_calls_that_were_asked_to_wait(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    learned(breaker, clock)
    registry.subscribe(listener)

    while breaker.state is CLOSED:
        breaker.acquire().throttled(300.0)

    outcomes = [each.outcome for each in listener.transitions[-1].bad_calls]
    assert outcomes
    assert set(outcomes) == {"throttled"}


def test_a_late_call_that_is_asked_to_wait_does_not_lengthen_the_pause_of_a_busy_key(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    late = strict(breaker)
    while breaker.state is CLOSED:
        breaker.acquire().throttled(20.0)
    wait = breaker.retry_after

    late.throttled(200.0)

    assert breaker.retry_after == wait


def test_a_late_call_that_is_asked_to_wait_says_nothing_of_all_where_calls_failed(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    late = strict(breaker)
    trip(breaker)
    wait = breaker.retry_after

    late.throttled(200.0)

    assert breaker.retry_after == wait


# Waits that probes are asked for after failures


def probe(breaker: Breaker, clock: ManualClock) -> Permit:
    clock.advance(breaker.retry_after)
    permit = breaker.acquire()
    assert permit.is_probe
    return permit


def asks(permit: Permit, how: str) -> None:
    if how == "throttled":
        permit.throttled(300.0)
    else:
        permit.failure("HTTP 503", retry_after=300.0)


@pytest.mark.parametrize("how", ["failure", "throttled"])
def test_one_probe_that_asks_for_a_wait_is_no_sign_that_all_do(
    breaker: Breaker, clock: ManualClock, how: str
) -> None:
    learned(breaker, clock)
    trip(breaker)

    asks(probe(breaker, clock), how)

    assert breaker.state is OPEN
    assert 0.0 < breaker.retry_after < 1.0


@pytest.mark.parametrize("how", ["failure", "throttled"])
def test_a_callee_that_asks_each_probe_to_wait_is_left_alone(
    breaker: Breaker, clock: ManualClock, how: str
) -> None:
    learned(breaker, clock)
    trip(breaker)
    began, probes = clock.now, 0

    while clock.now + breaker.retry_after < began + 120.0:
        asks(probe(breaker, clock), how)
        probes += 1

    assert 8 <= probes <= 12


def test_what_asked_before_calls_were_served_under_a_limit_counts_no_more(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    hang(breaker, clock, until=State.LIMITED)
    recovery = breaker._circuit.recovery
    assert recovery is not None
    recovery.believe(300.0, clock.now)
    clock.advance(100.0)

    hang(breaker, clock, until=OPEN)

    assert breaker._circuit.recovery is recovery
    assert recovery.believe(300.0, clock.now) == 0.0


def test_a_late_call_that_is_asked_to_wait_says_nothing_once_it_is_closed(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    late = strict(breaker)
    trip(breaker)
    breaker.close()

    late.throttled(200.0)
    trip(breaker)

    assert breaker.retry_after < 100.0


def test_each_change_of_state_has_the_next_number(registry: Registry) -> None:
    breaker, listener = registry["k"], RecordingListener()
    registry.subscribe(listener)

    breaker.open()
    breaker.half_open()
    breaker.close()

    assert [each.generation for each in listener.transitions] == [1, 2, 3]


def test_an_outage_that_is_opened_by_hand_meanwhile_has_lasted_since_it_began(
    breaker: Breaker, clock: ManualClock
) -> None:
    trip(breaker)
    began = clock.now
    clock.advance(20.0)

    breaker.open()

    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert (recovery.slow_since, recovery.began) == (began, clock.now)


def test_after_a_closing_no_earlier_wait_counts() -> None:
    clock = ManualClock()
    breaker = Breaker("k", Policy(open_for=0.1), clock=clock, random=no_jitter)
    breaker.open()
    breaker.close()

    trip(breaker)

    assert breaker.retry_after < 0.5


def test_each_change_names_the_bad_calls_of_its_own_suspicion(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    registry.subscribe(listener)
    learned(breaker, clock)
    breaker.acquire().failure("HTTP 500")
    teach(breaker, clock, [0.1] * 50)

    hang(breaker, clock, until=OPEN)

    limited, opened = listener.transitions
    assert {each.outcome for each in limited.bad_calls} == {"overdue"}
    assert 2 <= len(limited.bad_calls) < 8
    assert len(opened.bad_calls) == 8


def test_calls_that_ended_without_a_decision_were_asked_for_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    asked = breaker._circuit.asked

    for _ in range(5):
        permit = strict(breaker)
        clock.advance(0.001)
        permit.success()
    running = strict(breaker)

    assert breaker._circuit.calls.recent
    assert breaker._circuit.asked == asked + 6
    running.success()


# A signal handler that raises within a change


def test_a_change_that_is_interrupted_is_made_whole(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Transition] = []

    def interrupted(*arguments: Any) -> Transition:
        made.append(Transition(*arguments))
        if len(made) == 1:
            raise KeyboardInterrupt
        return made[-1]

    monkeypatch.setattr("recloser._circuit.lifecycle.Transition", interrupted)

    with pytest.raises(KeyboardInterrupt):
        breaker.open()

    circuit = breaker._circuit
    assert (circuit.state, circuit.generation) == (OPEN, 1)
    assert circuit.recovery is not None
    (told,) = circuit.events
    assert (told.key, told.before, told.after) == ("k", CLOSED, OPEN)


def test_a_change_that_is_interrupted_by_another_one_leaves_that_as_it_is(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = breaker._circuit
    breaker.open()
    reason = circuit.reason
    assert reason is not None
    breaker.close()
    is_nested: list[bool] = []

    def interrupted(*arguments: Any) -> Transition:
        if not is_nested:
            is_nested.append(True)
            circuit.close_by_hand(clock.now, reason)
            raise KeyboardInterrupt
        return Transition(*arguments)

    monkeypatch.setattr("recloser._circuit.lifecycle.Transition", interrupted)

    with pytest.raises(KeyboardInterrupt):
        breaker.open()

    assert circuit.state is CLOSED
    assert circuit.recovery is None


def test_it_is_known_when_the_state_changed_last(breaker: Breaker, clock: ManualClock) -> None:
    breaker.open()
    clock.advance(5.0)
    breaker.half_open()

    assert breaker._circuit.changed_at == clock.now
