"""BreakerOpenError: which breaker refused, why, and for how long."""

from __future__ import annotations

import pytest
from tests.support.training import record

from recloser import Breaker, BreakerOpenError, Policy, State
from recloser.testing import ManualClock, no_jitter, open_breaker


def test_a_refusal_tells_who_why_and_how_long(clock: ManualClock) -> None:
    breaker = Breaker("k", Policy(open_for=0.5), clock=clock, random=no_jitter)
    record(breaker, 30, success=False)

    with pytest.raises(BreakerOpenError) as caught:
        breaker.acquire()

    error = caught.value
    assert error.key == "k"
    assert error.state is State.OPEN
    assert error.reason is not None
    assert error.reason.rule == "failures"
    assert error.retry_after == pytest.approx(breaker.retry_after)
    assert str(error).startswith("breaker 'k' is open, retry in 0.5 s: ")


def test_each_refusal_is_an_error_of_its_own(breaker: Breaker) -> None:
    """One raised again and again would keep the frames of every caller."""
    open_breaker(breaker)

    first, second = breaker.refusal(), breaker.refusal()

    assert first is not second


def test_a_refusal_is_never_that_of_a_closed_breaker(breaker: Breaker) -> None:
    """Another call may have closed it since."""
    assert breaker.refusal().state is State.HALF_OPEN
    assert breaker.refusal().retry_after == 0.0
