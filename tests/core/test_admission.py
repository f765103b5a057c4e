"""Admission: a permit, a refusal, or a call that is not guarded."""

from __future__ import annotations

import pytest
from tests.support.training import record, teach

from recloser import UNGUARDED, Breaker, Mode, Permit, Refused, Registry, State
from recloser.testing import ManualClock, open_breaker


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


class PermitWithNote(Permit):
    __slots__ = ("note",)


@pytest.mark.parametrize("kind", [Permit, PermitWithNote])
def test_an_admitted_call_gets_a_permit_of_the_kind_that_was_asked_for(
    breaker: Breaker, kind: type[Permit]
) -> None:
    admission = breaker.admit_strict(kind)

    assert type(admission) is kind
    assert breaker.metrics().in_flight == 1
    admission.success()
    assert breaker.metrics().in_flight == 0
    assert breaker.metrics().successes == 1


def test_a_refused_call_gets_the_one_refusal_of_its_breaker_which_says_when(
    breaker: Breaker, clock: ManualClock
) -> None:
    open_breaker(breaker)

    first = breaker.admit_strict(Permit)
    assert isinstance(first, Refused)
    assert first.breaker is breaker
    assert first.at == clock.now
    clock.advance(0.25)

    assert breaker.admit_strict(Permit) is first
    assert first.at == clock.now
    assert breaker.metrics().refused == 2
    assert breaker.metrics().in_flight == 0


def test_a_refusal_makes_an_error_of_its_own_for_each_call(breaker: Breaker) -> None:
    open_breaker(breaker)
    refused = breaker.admit_strict(Permit)
    assert isinstance(refused, Refused)

    first, second = refused.error(), refused.error()

    assert first is not second
    assert (first.key, first.state) == (breaker.key, State.OPEN)


def test_of_two_breakers_each_has_a_refusal_of_its_own(registry: Registry) -> None:
    open_breaker(registry["a"])
    open_breaker(registry["b"])

    assert registry["a"].admit_strict(Permit) is not registry["b"].admit_strict(Permit)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
def test_where_nothing_is_refused_a_call_that_would_have_been_is_not_guarded(
    breaker: Breaker, mode: Mode
) -> None:
    open_breaker(breaker)
    breaker.mode = mode

    assert breaker.admit_strict(Permit) is UNGUARDED
    assert breaker.metrics().in_flight == 0
    assert breaker.metrics().refused == (1 if mode is Mode.OBSERVE else 0)


def test_what_only_observes_guards_a_call_that_it_admits(breaker: Breaker) -> None:
    breaker.mode = Mode.OBSERVE

    assert isinstance(breaker.admit_strict(Permit), Permit)


def test_a_call_within_a_decision_is_not_guarded(clock: ManualClock) -> None:
    """A finalizer may make one while its own thread holds the lock."""
    answers: list[object] = []
    made: list[Breaker] = []

    def chance() -> float:  # the circuit asks for it while it opens
        answers.append(made[0].admit_strict(Permit))
        return 0.5

    made.append(Breaker("k", clock=clock, random=chance))
    record(made[0], 20, success=False)

    assert answers == [UNGUARDED]
    assert made[0].metrics().in_flight == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_admission_that_a_signal_handler_ends_leaves_nothing_in_flight(
    breaker: Breaker, clock: ManualClock, error: type[BaseException]
) -> None:
    class Interrupted(Permit):
        def __init__(self) -> None:
            raise error

    teach(breaker, clock, [0.1])
    with pytest.raises(error):
        breaker.admit_strict(Interrupted)

    assert breaker.metrics().in_flight == 0


def test_what_is_not_guarded_says_so() -> None:
    assert repr(UNGUARDED) == "UNGUARDED"
