"""BreakerOpenError: which breaker refused, why, and for how long."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from typing import Any

import pytest
from tests.support.training import record

from recloser import Breaker, BreakerOpenError, HopelessError, Policy, State
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


AGAIN = [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]


class OfAUserError(BreakerOpenError):
    def __init__(self, request: str, refusal: BreakerOpenError) -> None:
        super().__init__(refusal.key, refusal.state, refusal.reason, refusal.retry_after)
        self.request = request


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("of_a_user", [True, False])
def test_a_refusal_can_be_copied_and_pickled(breaker: Breaker, again: Any, of_a_user: bool) -> None:
    record(breaker, 30, success=False)
    error: BreakerOpenError = breaker.refusal()
    if of_a_user:
        error = OfAUserError("GET /", error)
    error.add_note("while paying")

    copied = again(error)

    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert (str(copied), copied.args) == (str(error), error.args)
    assert "while paying" in "".join(traceback.format_exception(copied))


def test_a_refusal_can_be_sent_as_json_and_made_from_its_args(breaker: Breaker) -> None:
    """As Celery sends the error of a task to whoever waits for its result."""
    record(breaker, 30, success=False)
    error = breaker.refusal()

    copied = BreakerOpenError(*json.loads(json.dumps(error.args)))

    assert (str(copied), repr(copied)) == (str(error), repr(error))
    assert (copied.key, copied.state, copied.retry_after) == ("k", State.OPEN, error.retry_after)
    assert str(copied.reason) == str(error.reason)
    assert again_by_json(HopelessError("k", 2.5)) == "no answer of 'k' within 2.5 s"


def again_by_json(error: Exception) -> str:
    return str(type(error)(*json.loads(json.dumps(error.args))))
