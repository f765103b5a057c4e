"""Admission: a permit, a refusal, or a call that is not guarded.

The gate of the middlewares has the quick case of `admit_strict` written out. So each case is asked
of both.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from tests.support.training import record, teach

from recloser import (
    UNGUARDED,
    Breaker,
    Mode,
    Permit,
    Refusal,
    Refused,
    Registry,
    State,
    calling_for,
)
from recloser._http.gate import Gate
from recloser._permit import LoosePermit
from recloser.testing import ManualClock, open_breaker

Ask = Callable[[Breaker, type[Permit]], Any]


def by_the_breaker(breaker: Breaker, kind: type[Permit]) -> Any:
    return breaker.admit_strict(kind)


def by_the_gate(breaker: Breaker, kind: type[Permit]) -> Any:
    gate = Gate(
        Registry(),
        key=lambda request: "the key",
        exempt=(),
        classify=None,
        mode=None,
        method="method",
        path="path",
        root="",
    )
    gate._breakers = {"the key": breaker}
    return gate.admit({}, kind)


@pytest.fixture(params=[by_the_breaker, by_the_gate])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked


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
    ask: Ask, breaker: Breaker, kind: type[Permit]
) -> None:
    admission = ask(breaker, kind)

    assert type(admission) is kind
    assert breaker.metrics().in_flight == 1
    admission.success()
    assert breaker.metrics().in_flight == 0
    assert breaker.metrics().successes == 1


def test_a_refused_call_gets_the_one_refusal_of_its_breaker_which_says_when(
    ask: Ask, breaker: Breaker, clock: ManualClock
) -> None:
    open_breaker(breaker)

    first = ask(breaker, Permit)
    assert isinstance(first, Refused)
    assert first.breaker is breaker
    assert first.at == clock.now
    clock.advance(0.25)

    assert ask(breaker, Permit) is first
    assert first.at == clock.now
    assert breaker.metrics().refused == 2
    assert breaker.metrics().in_flight == 0


def test_of_two_breakers_each_has_a_refusal_of_its_own(ask: Ask, registry: Registry) -> None:
    open_breaker(registry["a"])
    open_breaker(registry["b"])

    assert ask(registry["a"], Permit) is not ask(registry["b"], Permit)


def test_where_it_is_off_a_call_is_not_guarded(ask: Ask, breaker: Breaker) -> None:
    open_breaker(breaker)
    breaker.mode = Mode.DISABLED

    assert ask(breaker, Permit) is UNGUARDED
    assert breaker.metrics().in_flight == breaker.metrics().refused == 0


@pytest.mark.parametrize("good", [True, False])
def test_where_it_only_observes_a_call_that_would_have_been_refused_is_made_and_has_no_vote(
    ask: Ask, breaker: Breaker, good: bool
) -> None:
    open_breaker(breaker)
    breaker.mode = Mode.OBSERVE
    before = breaker.metrics()

    permit = ask(breaker, Permit)
    assert isinstance(permit, Permit)
    assert not permit.ended
    assert permit.timeout == inf  # it must not be cut off
    assert breaker.metrics().in_flight == 0
    permit.success() if good else permit.failure("HTTP 500")
    permit.success()  # a second end does nothing

    after = breaker.metrics()
    assert (after.refused, after.spared, after.spared_good) == (1, 1, good)
    assert (after.successes, after.failures) == (before.successes, before.failures)
    assert breaker.state is State.OPEN


def test_a_share_of_the_callers_is_refused_always_the_same_ones(ask: Ask, breaker: Breaker) -> None:
    open_breaker(breaker)
    breaker.enforce_share = 0.3

    def is_refused(name: str) -> bool:
        with calling_for(name):
            return isinstance(ask(breaker, Permit), Refused)

    names = [f"tenant {number}" for number in range(300)]
    refused = {name for name in names if is_refused(name)}
    assert 60 < len(refused) < 120
    assert {name for name in names if is_refused(name)} == refused
    breaker.enforce_share = 0.6
    assert refused < {name for name in names if is_refused(name)}
    breaker.enforce_share = 1.0
    assert all(map(is_refused, names))
    breaker.enforce_share = 0.0
    assert not any(map(is_refused, names))


@pytest.mark.parametrize("state", ["open", "half-open", "a share"])
def test_a_caller_that_only_observes_is_not_refused_where_others_are(
    breaker: Breaker, state: str
) -> None:
    open_breaker(breaker)
    if state == "half-open":
        breaker.half_open()
        for _ in range(breaker.policy.half_open_requests):
            assert isinstance(breaker.admit_strict(Permit), Permit)
    elif state == "a share":
        breaker.enforce_share = 1.0 - 1e-9
    assert isinstance(breaker.admit_strict(Permit), Refused)

    strict = breaker.admit_strict(Permit, enforces=False)
    loose = breaker.admit(LoosePermit, enforces=False)

    for permit in (strict, loose):
        assert isinstance(permit, Permit)
        permit.success()
    assert (breaker.metrics().spared, breaker.metrics().spared_good) == (2, 2)


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
def test_a_refusal_that_cannot_be_told_is_a_fault_and_no_more(
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: Mode,
) -> None:
    class Listener:
        def on_refuse(self, refusal: Refusal) -> None:
            raise AssertionError

    def bug(*_: object) -> float:
        raise ZeroDivisionError

    registry = Registry(clock=clock)
    registry.subscribe(Listener())
    breaker = registry["k"]
    open_breaker(breaker)
    breaker.mode = mode
    monkeypatch.setattr(type(breaker), "_wait", bug)

    assert (type(breaker.admit_strict(Permit)) is Refused) == (mode is Mode.ENFORCE)
    assert registry.faults == 1
    assert "fault in refusal" in caplog.text


def test_what_only_observes_guards_a_call_that_it_admits(ask: Ask, breaker: Breaker) -> None:
    breaker.mode = Mode.OBSERVE

    assert isinstance(ask(breaker, Permit), Permit)


def test_a_call_within_a_decision_is_not_guarded(ask: Ask, clock: ManualClock) -> None:
    """A finalizer may make one while its own thread holds the lock."""
    answers: list[object] = []
    made: list[Breaker] = []

    def chance() -> float:  # the circuit asks for it while it opens
        answers.append(ask(made[0], Permit))
        return 0.5

    made.append(Breaker("k", clock=clock, random=chance))
    record(made[0], 20, success=False)

    assert answers == [UNGUARDED]
    assert made[0].metrics().in_flight == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_admission_that_a_signal_handler_ends_leaves_nothing_in_flight(
    ask: Ask, breaker: Breaker, clock: ManualClock, error: type[BaseException]
) -> None:
    class Interrupted(Permit):
        def __init__(self) -> None:
            raise error

    teach(breaker, clock, [0.1])
    with pytest.raises(error):
        ask(breaker, Interrupted)

    assert breaker.metrics().in_flight == 0


def test_a_place_for_a_probe_is_given_once(ask: Ask, breaker: Breaker, clock: ManualClock) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)

    probe = ask(breaker, Permit)
    assert probe.is_probe
    assert isinstance(ask(breaker, Permit), Refused)

    probe.success()
    assert isinstance(ask(breaker, Permit), Permit)


def test_a_call_under_suspicion_is_admitted_by_a_decision_and_has_a_vote(
    ask: Ask, breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 50)
    record(breaker, 2, success=False)

    permits = [ask(breaker, Permit) for _ in range(3)]
    assert breaker.metrics().in_flight == 3
    for permit in permits:
        permit.failure("HTTP 500")

    assert breaker.state is State.OPEN
    assert breaker.metrics().in_flight == 0


def test_a_clock_that_fails_refuses_nobody(ask: Ask) -> None:
    def clock() -> float:
        raise OSError("no clock")

    breaker = Breaker("k", clock=clock)

    assert ask(breaker, Permit) is UNGUARDED
