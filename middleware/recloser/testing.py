"""Tools for tests: time that stands still, and a listener that remembers.

clock = ManualClock()
registry = Registry(clock=clock, random=no_jitter)
open_breaker(registry["payments"])
clock.advance(30)
"""

from __future__ import annotations

from recloser._breaker import Breaker
from recloser._events import Transition

__all__ = ["ManualClock", "RecordingListener", "no_jitter", "open_breaker"]


class ManualClock:
    """A clock that moves only when told to; pass it as `clock=`."""

    def __init__(self, start: float = 0.0) -> None:
        self.now: float = start

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on by some seconds; a negative number moves it back."""
        self.now += seconds


class RecordingListener:
    """A listener that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def on_transition(self, transition: Transition) -> None:
        """Keep a transition."""
        self.transitions.append(transition)


def no_jitter() -> float:
    """A constant in place of chance; pass it as `random=`: waits are then exact."""
    return 0.5


def open_breaker(breaker: Breaker) -> None:
    """Open a breaker until it is told otherwise."""
    breaker.open("opened by a test")
