"""Admission in use: what needs no decision, what refuses nobody, and what it leaves behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self, cast

import pytest
from tests.support.training import learned

from recloser import Breaker, LoosePermit, Mode, Permit, Refused, Registry, State
from recloser._circuit.machine import Circuit
from recloser._locked_circuit import loose_circuits
from recloser.testing import ManualClock, no_jitter, open_breaker

# What needs no decision, and so no lock


@pytest.mark.parametrize(
    "serve",
    [
        lambda breaker: breaker.acquire().success(),
        lambda breaker: breaker.try_acquire().success(),
        lambda breaker: breaker.call(lambda: None),
        lambda breaker: breaker.call(object),
        lambda breaker: breaker(lambda: None)(),
    ],
    ids=["acquire", "try_acquire", "call", "call of a class", "decorator"],
)
def test_a_usual_good_call_needs_no_decision(
    breaker: Breaker,
    clock: ManualClock,
    decisions: list[float],
    serve: Callable[[Breaker], object],
) -> None:
    learned(breaker, clock)
    breaker.metrics()
    decisions.clear()

    serve(breaker)

    assert decisions == []
    assert breaker.metrics().successes == 101


def test_a_refusal_needs_none_either(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    breaker.open(for_=5.0)
    decisions.clear()
    clock.advance(4.9)

    assert isinstance(breaker.admit_strict(Permit), Refused)
    assert breaker.try_acquire() is None

    assert decisions == []
    assert breaker.metrics().refused == 2


def test_after_a_suspicion_each_call_is_decided_about(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    learned(breaker, clock)
    breaker.acquire().failure()
    decisions.clear()

    breaker.acquire().success()

    assert decisions


def test_where_one_only_observes_the_open_breaker_counts_whom_it_would_refuse(
    clock: ManualClock,
) -> None:
    breaker = Breaker("k", clock=clock, random=no_jitter, mode=Mode.OBSERVE)
    open_breaker(breaker)

    breaker.acquire().success()

    figures = breaker.metrics()
    assert (figures.refused, figures.spared, figures.spared_good) == (1, 1, 1)


# What refuses nobody


@pytest.mark.parametrize("leave_open", ["reset", "half_open"])
def test_a_clock_that_goes_back_refuses_nobody_unless_it_is_open(
    breaker: Breaker, clock: ManualClock, leave_open: str
) -> None:
    breaker.open(for_=60.0)
    clock.advance(10.0)
    getattr(breaker, leave_open)()

    clock.advance(-5.0)

    breaker.acquire().success()


def test_a_clock_that_fails_admits_and_is_a_fault() -> None:
    def failing() -> float:
        raise OSError("no clock")

    registry = Registry(clock=failing)

    admission = registry["k"].admit_strict(Permit)

    assert not isinstance(admission, (Permit, Refused))
    assert registry.faults == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_admission_that_fails_half_way_leaves_nothing_in_flight(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    breaker = registry["k"]
    admit = Circuit.admit

    def failing(circuit: Circuit, *arguments: Any) -> bool:
        admit(circuit, *arguments)
        raise error

    made: list[Permit] = []

    class KeptPermit(Permit):
        """Nobody takes it for lost."""

        __slots__ = ()

        def __new__(cls) -> Self:
            made.append(super().__new__(cls))
            return cast("Self", made[-1])

    monkeypatch.setattr(Circuit, "admit", failing)
    with suppress(KeyboardInterrupt):
        breaker.admit_strict(KeptPermit)
    monkeypatch.undo()

    assert len(made) == 1
    assert breaker.metrics().in_flight == 0
    assert registry.faults == (error is ZeroDivisionError)


def test_a_signal_handler_that_strikes_between_the_admission_and_its_permit_keeps_neither(
    breaker: Breaker,
) -> None:
    class StruckPermit(LoosePermit):
        __slots__ = ()

        def __new__(cls) -> Self:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as struck:
        breaker.admit(StruckPermit)

    assert struck.tb is not None  # it keeps the frames
    assert breaker.metrics().in_flight == 0


def test_at_the_time_of_the_next_decision_a_call_is_decided_about(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    learned(breaker, clock)
    waiting = breaker.acquire()
    breaker.metrics()
    clock.now = breaker._calls.quick_until
    decisions.clear()

    breaker.acquire().success()

    assert decisions
    waiting.success()


# A registry that drops it


def test_a_breaker_that_its_registry_has_dropped_is_reset_after_a_fork(registry: Registry) -> None:
    """Somebody may still hold it, and its lock."""
    breaker = registry["k"]
    assert breaker not in loose_circuits

    breaker.detach()

    assert breaker in loose_circuits


@pytest.mark.parametrize("refuses", [False, True])
def test_one_that_nobody_holds_is_freed_at_once(refuses: bool) -> None:
    breaker = Breaker("k")
    if refuses:
        open_breaker(breaker)
        assert breaker.try_acquire() is None
    breaker.detach()
    kept = weakref.ref(breaker)
    gc.disable()
    try:
        del breaker

        assert kept() is None
    finally:
        gc.enable()


def test_after_that_it_refuses_as_before(breaker: Breaker) -> None:
    open_breaker(breaker)
    assert breaker.try_acquire() is None
    breaker.detach()

    assert breaker.try_acquire() is None
    assert breaker.state is State.OPEN
