"""Interrupted decisions: orders given and errors raised while a circuit decides."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.breaker_state import counts, is_closed
from tests.support.training import learned

from recloser import Breaker, Policy, Registry, State, Transition
from recloser._circuit import lifecycle, machine
from recloser._circuit.by_hand import SteeredCircuit
from recloser._circuit.machine import Circuit
from recloser.testing import ManualClock, RecordingListener, no_jitter


def test_a_signal_handler_that_raises_leaves_the_lock_free(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(breaker._circuit), "admit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        breaker.acquire()
    monkeypatch.undo()

    assert breaker._lock.acquire(blocking=False)
    breaker._lock.release()
    breaker.acquire().success()
    assert counts(breaker)["success"] == 1


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

    monkeypatch.setattr(lifecycle, "Transition", interrupted)
    breaker.open()

    assert {event.after for event in listener.transitions} == {State.OPEN, State.HALF_OPEN}


@pytest.mark.parametrize("order", ["open", "half_open", "reset"])
def test_an_order_given_while_a_limit_begins_holds(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """A signal handler may give it at any moment: a limit belongs to the state limited only."""
    learned(breaker, clock)
    new_limit = Circuit._new_limit

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        made = new_limit(*arguments)
        getattr(breaker, order)()
        return made

    monkeypatch.setattr(Circuit, "_new_limit", interrupted)
    for _ in range(5):
        breaker.record(0.3, success=True)

    circuit = breaker._circuit
    assert (circuit.limit is not None) is (circuit.state is State.LIMITED)
    assert (circuit.recovery is None) is (circuit.state is State.CLOSED)
    if order != "reset":  # a reset closes it, and a closed breaker may be limited
        assert circuit.state is {"open": State.OPEN, "half_open": State.HALF_OPEN}[order]


def test_a_decision_that_raises_is_not_gone_on_with_for_ever(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next decision of this thread is no decision within a decision."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(SteeredCircuit, "record", bug)
        with pytest.raises(ZeroDivisionError):
            breaker.record(0.1, success=True)

    breaker.record(0.1, success=True)
    assert breaker.metrics().successes == 1
