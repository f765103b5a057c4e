"""A whole outage, from its first bad call to its end; the transitions of a listener; a pause."""

from __future__ import annotations

from recloser import Breaker, State
from recloser.testing import ManualClock, RecordingListener

CLOSED, OPEN, HALF = State.CLOSED, State.OPEN, State.HALF_OPEN

ASKED_BY_ALL = 4
"""So many throttled calls in a row show that a callee asks all callers to wait."""


def edges(listener: RecordingListener) -> list[tuple[State, State]]:
    return [(each.before, each.after) for each in listener.transitions]


def ask_to_wait(breaker: Breaker, wait: float | None = None, *, quota: bool = False) -> None:
    """Let the callee ask all callers to wait, with so many calls that the breaker opens."""
    for _ in range(ASKED_BY_ALL):
        assert breaker.state is CLOSED
        breaker.acquire().throttled(wait, quota=quota)
    assert breaker.state is OPEN


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
