"""Delivery of events: whoever delivers is interrupted, and somebody else goes on."""

from __future__ import annotations

import gc

import pytest

from recloser import Breaker, Registry, State, Transition
from recloser.testing import ManualClock, RecordingListener, no_jitter


class HandlerError(BaseException):
    pass


def interrupted_once(registry: Registry) -> RecordingListener:
    """A listener that a signal handler interrupts at the first event."""

    class Interrupted(RecordingListener):
        def on_transition(self, transition: Transition) -> None:
            super().on_transition(transition)
            if len(self.transitions) == 1:
                registry["k"].half_open()  # the handler acts, too
                raise HandlerError

    listener = Interrupted()
    registry.subscribe(listener)
    return listener


def test_an_interrupted_delivery_is_taken_up_by_the_next_decision(clock: ManualClock) -> None:
    registry = Registry(clock=clock, random=no_jitter)
    listener = interrupted_once(registry)

    with pytest.raises(HandlerError) as kept:
        registry["k"].open()
    registry["k"].reset()

    # The exception is kept, and with it the frame that delivered. Others deliver all the same.
    assert kept.value.__traceback__ is not None
    afters = [each.after for each in listener.transitions]
    assert afters == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_what_an_interrupted_decision_raised_is_not_kept_alive(breaker: Breaker) -> None:
    """With it, frames and permits would be alive until the garbage collector runs."""

    class StoppedError(BaseException):
        pass

    def stop() -> float:
        raise StoppedError

    permit = breaker.acquire()
    gc.collect()
    gc.disable()
    try:
        breaker.clock, clock = stop, breaker.clock
        with pytest.raises(StoppedError):
            permit.failure()
        breaker.clock = clock
        assert not [each for each in gc.get_objects() if type(each) is StoppedError]
    finally:
        gc.enable()
