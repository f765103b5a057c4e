"""Tools for tests: a clock that the test moves, and a listener that keeps its transitions.

    clock = ManualClock()
    registry = Registry(clock=clock, random=no_jitter)
    open_breaker(registry["payments"])
    clock.advance(30)

`recloser_adapters.pytest` has the fixtures for pytest.
"""

from __future__ import annotations

from recloser._breaker import Breaker
from recloser._events import Transition

__all__ = ["ManualClock", "RecordingListener", "no_jitter", "open_breaker"]


class ManualClock:
    """A clock that only `advance` moves; pass it as `clock=`.

    Args:
        start: The first time that it shows, in seconds.

    Attributes:
        now: The time that it shows, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now: float = start

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time forward by some seconds; a negative number moves it back."""
        self.now += seconds


class RecordingListener:
    """A listener that keeps all transitions.

    Attributes:
        transitions: The transitions so far, oldest first.
    """

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def on_transition(self, transition: Transition) -> None:
        """Keep a transition."""
        self.transitions.append(transition)


def no_jitter() -> float:
    """Return a constant instead of a random number; pass it as `random=` to make waits exact."""
    return 0.5


def open_breaker(breaker: Breaker) -> None:
    """Open a breaker until the test calls its `half_open()` or `reset()`."""
    breaker.open("opened by a test")
