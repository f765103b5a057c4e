"""A circuit with a lock: what holds when decisions meet, and how a call is ended whatever fails."""

from __future__ import annotations

import copy
from math import inf, nan
from typing import Any

import pytest
from tests.support.breaker_state import counts
from tests.support.training import learned

from recloser import (
    UNGUARDED,
    Breaker,
    Mode,
    Outcome,
    Permit,
    Policy,
    Registry,
    State,
)
from recloser._circuit.in_flight import WAITING
from recloser._circuit.machine import Circuit
from recloser.testing import ManualClock

ASKED = 4
"""So many calls in a row that are asked to wait open a breaker that was never asked before."""

# The end of a call


def strict(breaker: Breaker) -> Permit:
    admission = breaker.admit_strict(Permit)
    assert isinstance(admission, Permit)
    return admission


@pytest.mark.parametrize("outcome", Outcome)
def test_a_call_ends_once_whatever_it_ends_with(breaker: Breaker, outcome: Outcome) -> None:
    permit = strict(breaker)

    for each in (outcome, *Outcome):
        breaker.end(permit, each)

    assert permit.ended
    assert sum(counts(breaker).values()) == 1
    name = {Outcome.IGNORED: "ignore", Outcome.CANCELLED: "cancel"}.get(outcome, outcome.value)
    assert counts(breaker)[name] == 1
    assert breaker.metrics().in_flight == 0


@pytest.mark.parametrize(
    ("answered", "latency"),
    [(inf, 3.0), (1002.0, 2.0), (1004.0, 3.0), (WAITING, 3.0)],
    ids=["not before its end", "before", "later than now", "waits for its caller"],
)
def test_the_latency_of_a_call_is_until_it_answered(
    breaker: Breaker, clock: ManualClock, answered: float, latency: float
) -> None:
    permit = strict(breaker)
    permit.answered = answered
    clock.advance(3.0)

    breaker.end(permit, Outcome.FAILURE)

    assert breaker.metrics().mean == latency


@pytest.mark.parametrize("jump", [-1.0, 1e9, inf, nan])
@pytest.mark.parametrize(
    ("outcome", "counted"),
    [(Outcome.SUCCESS, "ignore"), (Outcome.FAILURE, "failure"), (Outcome.CANCELLED, "cancel")],
)
def test_a_latency_that_cannot_be_is_none_and_a_success_says_nothing(
    registry: Registry, clock: ManualClock, jump: float, outcome: Outcome, counted: str
) -> None:
    breaker = registry["k"]
    permit = strict(breaker)
    now = clock.now
    clock.advance(jump)

    breaker.end(permit, outcome)
    clock.now = now

    assert counts(breaker)[counted] == 1
    assert breaker.metrics().mean == 0.0
    assert registry.strange_latencies == 1
    assert registry.faults == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_a_fault_at_the_end_of_a_call_reaches_no_caller_and_ends_it_without_a_vote(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    breaker = registry["k"]
    permit = strict(breaker)

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Circuit, "end", bug)
        breaker.end(permit, outcome)

    assert registry.faults == 1
    assert counts(breaker)["cancel"] == 1
    assert breaker.metrics().in_flight == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_a_call_that_ends_within_a_decision_has_no_vote_and_is_no_fault(
    clock: ManualClock, outcome: Outcome
) -> None:
    """By a finalizer that interrupts a decision on its own thread."""
    calls: list[tuple[Breaker, Permit]] = []

    def chance() -> float:  # the circuit asks for it while it opens
        for breaker, permit in calls:
            breaker.end(permit, outcome)
        return 0.5

    registry = Registry(clock=clock, random=chance)
    breaker = registry["k"]
    calls.append((breaker, strict(breaker)))
    for _ in range(5):
        breaker.record(0.1, success=False)

    assert breaker.state is State.OPEN
    assert registry.faults == 0
    assert counts(breaker) == {**dict.fromkeys(counts(breaker), 0), "cancel": 1, "failure": 5}
    assert breaker.metrics().in_flight == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_what_a_signal_handler_raises_is_passed_on_after_the_call_was_ended(
    registry: Registry, error: BaseException
) -> None:
    breaker = registry["k"]
    permit = strict(breaker)
    token, permit.token = permit.token, 0

    with pytest.raises(type(error)) as caught:
        breaker.lose(token, error)

    assert caught.value is error
    assert registry.faults == 0
    assert counts(breaker)["cancel"] == 1


def test_a_dropped_call_is_in_flight_no_longer(breaker: Breaker) -> None:
    permit = strict(breaker)

    breaker.drop(permit.token)

    assert breaker.metrics().in_flight == 0
    assert counts(breaker)["cancel"] == 1


@pytest.mark.parametrize(
    ("retry_after", "wait", "faults"),
    [
        (5.0, 5.0, 0),
        ("5", 5.0, 0),
        (1e9, Policy().max_retry_after, 0),
        (inf, Policy().max_retry_after, 0),
        (0.0, 0.0, 0),
        (-5.0, 0.0, 0),
        (nan, 0.0, 0),
        (None, 0.0, 0),
        ("soon", 0.0, 1),
        ([], 0.0, 1),
        (10**400, 0.0, 1),
    ],
)
def test_a_wait_that_a_callee_asks_for_is_capped_and_one_that_is_none_is_no_wait(
    registry: Registry, retry_after: Any, wait: float, faults: int
) -> None:
    breaker = registry["k"]

    for _ in range(ASKED):
        breaker.end(strict(breaker), Outcome.THROTTLED, None, retry_after)

    assert breaker.state is State.OPEN
    # A pause for which no time is named lasts a second at first.
    assert breaker.retry_after == pytest.approx(wait or 1.0)
    assert counts(breaker)["throttled"] == ASKED
    assert registry.faults == faults * ASKED


def test_a_used_up_quota_without_a_wait_is_a_long_one(breaker: Breaker) -> None:
    for _ in range(ASKED):
        breaker.end(strict(breaker), Outcome.THROTTLED, quota=True)

    assert breaker.retry_after == Policy().quota_open_for


@pytest.mark.parametrize("jump", [1e9, inf])
def test_a_clock_that_jumped_while_a_call_ran_does_not_make_it_wait_for_ever(
    breaker: Breaker, clock: ManualClock, jump: float
) -> None:
    permits = [strict(breaker) for _ in range(ASKED)]
    now = clock.now
    clock.advance(jump)

    for permit in permits:
        breaker.end(permit, Outcome.THROTTLED, None, 5.0)
    clock.now = now

    assert breaker.retry_after == pytest.approx(5.0)


# Calls that wait for their own caller


def test_a_call_may_be_taken_to_have_begun_later(breaker: Breaker, clock: ManualClock) -> None:
    permit = strict(breaker)
    clock.advance(3.0)

    breaker.delay(permit, 2.0, clock.now)
    permit.success()

    assert breaker.metrics().mean == 1.0
    assert breaker.metrics().in_flight == 0


def test_calls_stay_in_the_order_in_which_they_began(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    first, second = strict(breaker), strict(breaker)

    breaker.delay(first, 0.1, clock.now)

    assert first.token > second.token
    assert [*breaker._circuit.calls.voting.values()] == [second, first]


def test_a_call_without_a_vote_gets_none_by_waiting(breaker: Breaker, clock: ManualClock) -> None:
    permit = strict(breaker)
    breaker.open(for_=1.0)
    token = permit.token

    breaker.delay(permit, 0.5, clock.now)

    assert permit.token == token

    clock.advance(1.0)
    assert not permit.is_probe
    permit.success()
    assert breaker.metrics().in_flight == 0


# What it does now


def test_calls_were_asked_for_from_their_beginning_on(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    assert breaker.asked == 100

    permit = breaker.acquire()
    assert breaker.asked == 101
    permit.success()
    assert breaker.asked == 101
    breaker.open()
    breaker.try_acquire()

    assert breaker.asked == 102


def test_a_refusal_asked_for_while_closed_is_that_of_probes_in_flight(breaker: Breaker) -> None:
    """Another call may have closed it since."""
    error = breaker.refusal()

    assert (error.state, error.retry_after, error.reason) == (State.HALF_OPEN, 0.0, None)


def test_its_mode_changes_with_the_calls_after(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    before = strict(breaker)

    breaker.mode = Mode.DISABLED

    assert breaker.admit_strict(Permit) is UNGUARDED
    before.success()
    assert breaker.metrics().in_flight == 0


def test_what_is_asked_of_it_while_disabled_turns_nothing_on(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.mode = Mode.DISABLED

    breaker.metrics()

    assert breaker.admit_strict(Permit) is UNGUARDED


def test_a_copy_is_the_same_breaker(breaker: Breaker) -> None:
    assert copy.copy(breaker) is breaker
    assert copy.deepcopy({"k": breaker})["k"] is breaker


def test_after_a_fork_calls_of_the_parent_are_cancelled_and_what_was_learned_stays(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    threshold = breaker.slow_threshold
    permits = [strict(breaker) for _ in range(3)]
    lock = breaker._lock
    lock.acquire()

    breaker.after_fork()

    assert breaker._lock is not lock
    assert breaker.slow_threshold == threshold
    assert counts(breaker)["cancel"] == 3
    for permit in permits:
        permit.success()
    assert counts(breaker)["success"] == 100
    lock.release()


@pytest.mark.parametrize("name", ["clock", "random"])
def test_a_clock_that_is_no_function_is_named_where_the_breaker_is_made(name: str) -> None:
    settings: Any = {name: 5.0}

    with pytest.raises(TypeError, match=f"^{name} must be a function, not 5.0"):
        Breaker("k", **settings)
