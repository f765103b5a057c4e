"""A whole outage, from its first bad call to its end, and the transitions of a listener."""

from __future__ import annotations

from recloser import Breaker, State
from recloser.testing import ManualClock, RecordingListener

CLOSED, OPEN, HALF = State.CLOSED, State.OPEN, State.HALF_OPEN


def edges(listener: RecordingListener) -> list[tuple[State, State]]:
    return [(each.before, each.after) for each in listener.transitions]


def run_through(breaker: Breaker, clock: ManualClock) -> None:
    """Closed, open, half-open, open, half-open, closed."""
    for _ in range(20):
        breaker.record(0.1, success=False)
    clock.advance(60.0)
    breaker.acquire().failure()
    clock.advance(60.0)
    for _ in range(20):
        clock.advance(0.1)
        if breaker.state is not CLOSED:
            breaker.acquire().success()
