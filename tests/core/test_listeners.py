"""Listeners: they are told without the lock and in order, and no fault of theirs is the call's."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest
from tests.support.interrupts import interrupt_within
from tests.support.limits import hang
from tests.support.outage import CLOSED, HALF, OPEN, edges, run_through
from tests.support.threads import all_at_once
from tests.support.training import learned

from recloser import Mode, Registry, State, Transition
from recloser._locked_circuit import LockedCircuit
from recloser.testing import ManualClock, RecordingListener, open_breaker


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(10.0)


def test_a_listener_hears_all_breakers_until_it_stops(registry: Registry) -> None:
    listener, other = RecordingListener(), RecordingListener()
    stop = registry.subscribe(listener)
    registry.subscribe(other)
    open_breaker(registry["a"])

    stop()
    stop()
    open_breaker(registry["b"])

    assert [each.key for each in listener.transitions] == ["a"]
    assert [each.key for each in other.transitions] == ["a", "b"]


@pytest.mark.parametrize("listener", [None, object(), print])
def test_what_cannot_listen_is_refused(registry: Registry, listener: Any) -> None:
    with pytest.raises(TypeError, match="on_transition"):
        registry.subscribe(listener)


def test_a_listener_that_raises_spoils_nothing(registry: Registry, clock: ManualClock) -> None:
    class Raising:
        def on_transition(self, transition: Transition) -> None:
            raise RuntimeError("listener")

    listener = RecordingListener()
    registry.subscribe(Raising())
    registry.subscribe(listener)

    run_through(registry["k"], clock)

    assert len(listener.transitions) == 5
    assert registry.faults == 5


def test_an_interrupt_in_a_listener_loses_no_event(registry: Registry) -> None:
    class Interrupted:
        def on_transition(self, transition: Transition) -> None:
            if transition.after is OPEN:
                raise KeyboardInterrupt

    class Reopening:
        """Makes a second event while the first is told."""

        def on_transition(self, transition: Transition) -> None:
            if transition.after is OPEN:
                registry["k"].half_open()

    listener = RecordingListener()
    for each in (Reopening(), listener, Interrupted()):
        registry.subscribe(each)

    with pytest.raises(KeyboardInterrupt):
        registry["k"].open()
    registry["k"].reset()

    assert edges(listener) == [(CLOSED, OPEN), (OPEN, HALF), (HALF, CLOSED)]


def test_a_listener_may_use_the_breaker(registry: Registry) -> None:
    """It is called without the lock; what it causes is told after what it was told."""
    listener, later = RecordingListener(), RecordingListener()

    class Reentrant:
        def on_transition(self, transition: Transition) -> None:
            breaker = registry[transition.key]
            assert breaker.metrics().state is breaker.state
            breaker.explain()
            if transition.after is OPEN:
                breaker.half_open()
                assert breaker.call(int) == 0
            elif transition.after is HALF:
                breaker.reset()

    registry.subscribe(listener)
    registry.subscribe(Reentrant())
    registry.subscribe(later)

    registry["k"].open()

    assert edges(listener) == edges(later) == [(CLOSED, OPEN), (OPEN, HALF), (HALF, CLOSED)]
    assert registry.faults == 0


def test_the_lock_is_free_while_a_listener_runs(registry: Registry) -> None:
    refused: list[bool] = []

    class Waiting:
        def on_transition(self, transition: Transition) -> None:
            thread = threading.Thread(
                target=lambda: refused.append(registry["k"].try_acquire() is None)
            )
            thread.start()
            thread.join(10.0)

    registry.subscribe(Waiting())
    registry["k"].open()

    assert refused == [True]


def test_events_of_64_threads_form_one_chain(registry: Registry) -> None:
    listener = RecordingListener()
    telling: list[int] = []
    overlaps: list[int] = []

    class Watching:
        def on_transition(self, transition: Transition) -> None:
            if telling:
                overlaps.append(1)
            telling.append(1)
            listener.on_transition(transition)
            telling.pop()

    registry.subscribe(Watching())
    breaker = registry["k"]

    def change(number: int) -> None:
        for turn in range(20):
            (breaker.open, breaker.half_open, breaker.reset)[(number + turn) % 3]()

    all_at_once(64, change)

    transitions = listener.transitions
    assert len(transitions) > 20
    assert overlaps == []
    for one, next_one in pairwise(transitions):
        assert one.after is next_one.before
        assert one.generation < next_one.generation
    assert transitions[-1].after is breaker.state


def test_every_transition_is_logged_an_opening_as_a_warning(
    registry: Registry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "recloser")

    run_through(registry["k"], clock)

    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "INFO", "INFO", "INFO"]
    assert caplog.messages[0].startswith("'k' closed -> open: ")


def test_an_opening_is_a_warning_from_whatever_state_that_serves(
    registry: Registry, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "recloser")
    breaker = registry["k"]
    learned(breaker, clock)

    hang(breaker, clock, until=OPEN)
    breaker.half_open()
    breaker.reset()

    said = [(record.levelname, record.getMessage().split(": ")[0]) for record in caplog.records]
    assert said == [
        ("WARNING", "'k' closed -> limited"),
        ("WARNING", "'k' limited -> open"),
        ("INFO", "'k' open -> half_open"),
        ("INFO", "'k' half_open -> closed"),
    ]


def test_an_opening_is_seen_where_no_logging_is_configured() -> None:
    """As under plain uvicorn and gunicorn, which configure their own loggers only."""
    script = "from recloser import Registry; Registry()['k'].open('maintenance')"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stderr == "'k' closed -> open: by hand: 'maintenance'\n"


def test_what_is_only_observed_is_told_as_what_would_be(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "recloser")
    registry, listener = Registry(clock=clock, mode="observe"), RecordingListener()
    registry.subscribe(listener)

    open_breaker(registry["k"])
    registry.mode = Mode.ENFORCE
    registry["k"].reset()

    assert [each.mode for each in listener.transitions] == [Mode.OBSERVE, Mode.ENFORCE]
    assert caplog.messages[0].startswith(
        "'k' would change closed -> open (observe, nothing is refused): "
    )
    assert caplog.messages[1].startswith("'k' open -> closed: ")


def test_an_exception_at_any_step_of_a_delivery_silences_nobody(clock: ManualClock) -> None:
    """As of a signal handler: it may raise between any two bytecodes."""
    steps = 0
    for step in range(200):
        registry, listener = Registry(clock=clock), RecordingListener()
        registry.subscribe(listener)
        breaker = registry["k"]
        interrupted = interrupt_within(LockedCircuit._deliver, step, breaker.open)
        steps += interrupted
        listener.transitions.clear()

        breaker.reset()
        breaker.open()

        told = edges(listener)
        assert told[-2:] == [(OPEN, CLOSED), (CLOSED, OPEN)], step
        assert breaker._circuit.events == ()
        if not interrupted:
            break
    assert 20 < steps < 199


def test_faults_are_counted_and_logged_once_a_minute_per_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()

    for index in range(100):
        registry.fault("key function", KeyError(index))
        registry.fault("classifier", ValueError(index))

    assert registry.faults == 200
    assert len(caplog.records) == 2


class UnprintableError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_counting_a_fault_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("disk full")

    registry = Registry(clock=ManualClock())
    listener = RecordingListener()
    registry.subscribe(listener)
    handler = Broken()
    logging.getLogger("recloser").addHandler(handler)
    try:
        registry.fault("key function", UnprintableError())
        registry["k"].open()
    finally:
        logging.getLogger("recloser").removeHandler(handler)

    assert registry.faults >= 2
    assert registry["k"].state is State.OPEN
    assert len(listener.transitions) == 1
