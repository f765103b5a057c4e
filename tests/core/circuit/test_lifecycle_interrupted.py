"""A change of the state that a signal handler interrupts is made whole, or is overruled by its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recloser import Registry, State, Transition
from recloser._circuit import lifecycle
from recloser.testing import ManualClock, RecordingListener


def interrupt(patch: pytest.MonkeyPatch, act: Callable[[], object] = lambda: None) -> None:
    """Raise, as a signal handler would, while the event of the next change is made."""

    def interrupted(*arguments: Any) -> Transition:
        patch.undo()
        act()
        raise KeyboardInterrupt

    patch.setattr(lifecycle, "Transition", interrupted)


def test_a_change_that_is_interrupted_is_made_whole_and_told_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, breaker = RecordingListener(), registry["k"]
    registry.subscribe(listener)
    interrupt(monkeypatch)

    with pytest.raises(KeyboardInterrupt):
        breaker.open("for repair")
    assert breaker.state is State.OPEN
    breaker.half_open()

    told = [(each.key, each.before, each.after) for each in listener.transitions]
    assert told == [("k", State.CLOSED, State.OPEN), ("k", State.OPEN, State.HALF_OPEN)]


def test_an_order_given_while_a_change_is_interrupted_holds(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, breaker = RecordingListener(), registry["k"]
    registry.subscribe(listener)
    interrupt(monkeypatch, breaker.half_open)

    with pytest.raises(KeyboardInterrupt):
        breaker.open("for repair")

    assert breaker.state is State.HALF_OPEN
    breaker.metrics()  # delivers what was not delivered yet
    assert State.HALF_OPEN in {each.after for each in listener.transitions}


def test_when_the_state_changed_last_is_known(registry: Registry, clock: ManualClock) -> None:
    breaker = registry["k"]
    clock.advance(5.0)
    breaker.open()
    changed = clock.now
    clock.advance(3.0)
    breaker.open()

    assert breaker._circuit.changed_at == changed
