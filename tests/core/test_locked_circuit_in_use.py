"""A circuit with a lock: what is left by a decision that raised, and what a lock that is held means."""

from __future__ import annotations

import weakref
from math import inf
from typing import Any

import pytest
from tests.support.breaker_state import counts
from tests.support.limits import limit, limit_of
from tests.support.training import learned

from recloser import UNGUARDED, Breaker, Mode, Outcome, Permit, Policy, Registry, State
from recloser._circuit.machine import Circuit
from recloser._delivery import _Delivery
from recloser._locked_circuit import NO_TOKEN, SPARED, _after_fork, loose_circuits
from recloser._locks import owns
from recloser.testing import ManualClock, RecordingListener, open_breaker


def strict(breaker: Breaker, kind: type[Permit] = Permit) -> Permit:
    admission = breaker.admit_strict(kind)
    assert isinstance(admission, kind)
    return admission


def end_interrupted(breaker: Breaker, permit: Permit, patch: pytest.MonkeyPatch) -> None:
    """End a call by a decision after which a signal handler raises."""
    end = Circuit.end

    def interrupted(*arguments: Any) -> None:
        end(*arguments)
        raise KeyboardInterrupt

    with patch.context() as context:
        context.setattr(Circuit, "end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            breaker.end(permit, Outcome.FAILURE)


# Settings


def test_a_breaker_of_no_registry_refuses_the_share_that_it_was_given() -> None:
    breaker = Breaker("k", enforce_share=0.0)
    open_breaker(breaker)

    assert breaker.try_acquire() is not None
    assert breaker.metrics().spared == 1


def test_a_breaker_of_no_registry_is_known_to_what_resets_breakers_after_a_fork() -> None:
    breaker = Breaker("k")

    assert breaker in loose_circuits


def test_a_thread_that_delivered_events_at_a_fork_delivers_none_in_the_child(
    registry: Registry,
) -> None:
    listener, elsewhere, breaker = RecordingListener(), _Delivery(), registry["k"]
    registry.subscribe(listener)
    breaker._delivering = weakref.ref(elsewhere)
    breaker.open()
    assert listener.transitions == []

    breaker.after_fork()
    breaker.half_open()

    assert [each.after for each in listener.transitions] == [State.OPEN, State.HALF_OPEN]


def test_after_a_fork_breakers_of_no_registry_have_new_locks() -> None:
    breaker = Breaker("k")
    lock = breaker._lock

    _after_fork()

    assert breaker._lock is not lock


# Calls that have ended, or have no vote


@pytest.mark.parametrize("token", [NO_TOKEN, SPARED])
def test_of_a_call_that_is_not_counted_nothing_is_dropped_and_nothing_noted(
    breaker: Breaker, token: int
) -> None:
    permit = strict(breaker)
    permit.success()
    permit.token = token

    breaker.drop(token)
    breaker.note(permit, "export", None)

    assert breaker._calls.dropped == []
    assert breaker._circuit.explained is None


@pytest.mark.parametrize(
    ("retry_after", "otherwise", "wait"),
    [(None, 9.0, 9.0), (0.5, 9.0, 0.5), (0.0, 9.0, 0.0), ("soon", 9.0, 0.0), (1e9, 9.0, 20.0)],
)
@pytest.mark.parametrize("policy", [Policy(max_retry_after=20.0)])
def test_a_wait_that_is_none_is_no_wait_whatever_the_default_is(
    breaker: Breaker, retry_after: Any, otherwise: float, wait: float
) -> None:
    assert breaker._capped(retry_after, otherwise) == wait


def test_a_clock_that_fails_at_the_end_of_a_call_without_a_vote_is_a_fault(
    registry: Registry,
) -> None:
    ends: list[Any] = []

    class Told:
        def on_call_end(self, end: Any) -> None:
            ends.append(end)

    def broken() -> float:
        raise OSError("no clock")

    registry.subscribe(Told())
    breaker = registry["k"]
    breaker.mode = Mode.OBSERVE
    open_breaker(breaker)
    spared = strict(breaker)
    assert spared.token == SPARED
    breaker.clock = broken

    breaker.end(spared, Outcome.FAILURE)

    assert spared.ended
    assert ends == []
    assert registry.faults == 1


# Who decides


def test_who_has_the_lock_without_deciding_may_decide(breaker: Breaker) -> None:
    """A finalizer or signal handler that interrupts its thread before or after a decision."""
    first, second = strict(breaker), strict(breaker)
    breaker.end(first, Outcome.SUCCESS)

    with breaker._lock:
        breaker.end(second, Outcome.SUCCESS)

    assert counts(breaker)["success"] == 2


def test_a_decision_of_another_thread_is_waited_for(breaker: Breaker) -> None:
    """Only one's own, which goes on when this one has ended, cannot be."""
    permit = strict(breaker)
    breaker._deciding = True

    breaker.end(permit, Outcome.SUCCESS)

    assert counts(breaker)["success"] == 1


# A decision that raised


def test_after_a_decision_that_raised_who_has_the_lock_may_decide(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = strict(breaker), strict(breaker)
    end_interrupted(breaker, first, monkeypatch)

    with breaker._lock:
        breaker.end(second, Outcome.SUCCESS)

    assert counts(breaker)["success"] == 1


def test_a_decision_that_raised_leaves_the_lock_to_who_had_it_before(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = strict(breaker)

    with breaker._lock:
        end_interrupted(breaker, permit, monkeypatch)
        assert owns(breaker._lock)

    assert not owns(breaker._lock)


def test_a_suspicion_of_a_decision_that_raised_is_not_forgotten(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The good calls after it are evidence, so each of them ends by a decision."""
    learned(breaker, clock)
    breaker.acquire().success()
    assert breaker._calls.quick_latency > 0.0

    end_interrupted(breaker, strict(breaker), monkeypatch)

    assert breaker._calls.quick_latency == -inf


def test_a_decision_that_raised_while_disabled_turns_nothing_on(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned(breaker, clock)
    permit = strict(breaker)
    breaker.mode = Mode.DISABLED

    end_interrupted(breaker, permit, monkeypatch)

    assert breaker.admit_strict(Permit) is UNGUARDED


def test_a_call_that_was_not_admitted_after_all_takes_no_place_under_a_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)
    permit = strict(breaker)
    assert permit.token in limit_of(breaker)._in_flight

    breaker._take_back(permit.token)

    assert permit.token not in limit_of(breaker)._in_flight
    assert breaker.metrics().in_flight == 0


# Streams that were announced


class Announced(Permit):
    """A call whose answer was announced by headers."""

    __slots__ = ()

    @property
    def announced(self) -> str:
        return "GET text/event-stream"


@pytest.mark.parametrize(
    ("took", "latency"), [(0.8, 0.8), (2.0, 0.5)], ids=["in time", "longer than the threshold"]
)
def test_headers_stand_for_a_first_piece_only_if_that_takes_long(
    breaker: Breaker, clock: ManualClock, took: float, latency: float
) -> None:
    """In slow thresholds: when the headers came is not known, and half of it is usual."""
    learned(breaker, clock)
    threshold, before = breaker.slow_threshold, breaker.metrics()
    permit = strict(breaker, Announced)
    clock.advance(took * threshold)

    breaker.end(permit, Outcome.SUCCESS)

    after = breaker.metrics()
    total = after.mean * after.successes - before.mean * before.successes
    assert total == pytest.approx(latency * threshold)


@pytest.mark.parametrize(
    ("took", "outcome", "asked"),
    [(0.1, Outcome.SUCCESS, 0), (1.0, Outcome.SUCCESS, 1), (0.1, Outcome.FAILURE, 1)],
    ids=["fast", "slow", "failed"],
)
def test_the_trace_of_a_bad_call_is_known_and_good_ones_cost_no_question(
    breaker: Breaker, clock: ManualClock, took: float, outcome: Outcome, asked: int
) -> None:
    questions: list[str] = []

    def trace() -> str:
        questions.append("asked")
        return "4bf92f35"

    learned(breaker, clock)
    breaker._listeners.trace = trace
    permit = strict(breaker)
    clock.advance(took)

    breaker.end(permit, outcome)

    assert len(questions) == asked
    assert [each.trace for each in breaker._circuit.bad_calls] == ["4bf92f35"] * asked
