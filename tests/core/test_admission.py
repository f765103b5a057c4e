"""The answers of an admission: what a refusal and the answer for an unguarded call say."""

from __future__ import annotations

from recloser import UNGUARDED, Breaker, Permit, Refused, State
from recloser.testing import open_breaker


def test_a_refusal_makes_an_error_of_its_own_for_each_call(breaker: Breaker) -> None:
    open_breaker(breaker)
    refused = breaker.admit_strict(Permit)
    assert isinstance(refused, Refused)

    first, second = refused.error(), refused.error()

    assert first is not second
    assert (first.key, first.state) == (breaker.key, State.OPEN)


def test_what_is_not_guarded_says_so() -> None:
    assert repr(UNGUARDED) == "UNGUARDED"
