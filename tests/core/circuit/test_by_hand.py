"""What operators do with a circuit by hand."""

from __future__ import annotations

import pytest
from tests.support.limits import hang, slow_down
from tests.support.training import learned

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock, RecordingListener, open_breaker

LIMITED, OPEN, CLOSED = State.LIMITED, State.OPEN, State.CLOSED


def shut(breaker: Breaker, clock: ManualClock, state: State) -> None:
    if state is LIMITED:
        hang(breaker, clock, until=LIMITED)
    elif state is not CLOSED:
        open_breaker(breaker)
        if state is State.HALF_OPEN:
            breaker.half_open()


@pytest.mark.parametrize("state", State)
def test_close_lets_all_calls_through_and_keeps_what_was_learned(
    registry: Registry, clock: ManualClock, state: State
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    learned(breaker, clock)
    threshold = breaker.slow_threshold
    shut(breaker, clock, state)
    registry.subscribe(listener)

    breaker.close("it was the network", by="ann")

    assert breaker.state is CLOSED
    assert breaker.slow_threshold == threshold
    assert all(breaker.try_acquire() is not None for _ in range(50))
    if state is not CLOSED:
        (closed,) = listener.transitions
        assert (closed.reason.rule, closed.by) == ("manual", "ann")
        assert str(closed.reason) == "by hand by 'ann': 'it was the network'"


def test_close_ends_a_pause_that_the_callee_asked_for(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    while breaker.state is CLOSED:
        breaker.acquire().throttled(retry_after=300.0)

    breaker.close()

    assert breaker.try_acquire() is not None
    assert breaker.asked_pause == 0.0


def test_it_opens_again_if_the_callee_is_still_sick(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    slow_down(breaker, clock)
    breaker.close()

    calls = 0
    while breaker.state is CLOSED and calls < 100:
        breaker.acquire().failure("HTTP 500")
        calls += 1

    assert breaker.state is OPEN
    assert calls <= 20


@pytest.mark.parametrize("action", ["half_open", "reset", "close"])
def test_who_did_it_and_why_is_in_the_reason(breaker: Breaker, action: str) -> None:
    open_breaker(breaker)

    getattr(breaker, action)("as agreed", by="bob\n")

    assert breaker._circuit.reason is not None
    assert str(breaker._circuit.reason) == "by hand by 'bob\\n': 'as agreed'"
    with pytest.raises(TypeError, match="by must be a str, not 5"):
        getattr(breaker, action)("", by=5)
