"""Ends without a verdict: what calls that were given up weigh, and what an opening for them says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import log

import pytest
from tests.support.training import learned

from recloser import Breaker, State
from recloser._circuit.evidence import FAILED, SLOW
from recloser._circuit.tallies import NO_ENDS
from recloser.testing import ManualClock

WAITED = 0.19
"""Seconds: almost twice what calls take, and less than the slow threshold."""


def give_up(breaker: Breaker, clock: ManualClock, waited: float = WAITED) -> bool:
    """A time-out around one call, some seconds after the one before; whether it was admitted."""
    clock.advance(2.5)
    permit = breaker.try_acquire()
    clock.advance(waited)
    if permit is None:
        return False
    permit.end_by_error(asyncio.CancelledError())
    return True


def give_up_until_open(breaker: Breaker, clock: ManualClock) -> int:
    """Give up one call after the other until the breaker opens; return how many there were."""
    calls = 0
    while breaker.state is State.CLOSED:
        assert give_up(breaker, clock)
        calls += 1
    assert breaker.state is State.OPEN
    return calls


def numbers(breaker: Breaker) -> Mapping[str, float]:
    """Those of the reason of the last change."""
    reason = breaker._circuit.reason
    assert reason is not None
    return reason.numbers


@pytest.mark.parametrize(("waited", "state"), [(WAITED, State.OPEN), (0.05, State.HALF_OPEN)])
def test_a_probe_whose_caller_leaves_sooner_than_the_others_did_is_no_bad_one(
    breaker: Breaker, clock: ManualClock, waited: float, state: State
) -> None:
    learned(breaker, clock)
    give_up_until_open(breaker, clock)

    assert give_up(breaker, clock, waited)  # a probe

    assert breaker.state is state


def test_where_many_calls_are_slow_a_caller_that_leaves_says_less(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    evidence = breaker._circuit.detector.evidence
    evidence.take_over(0.0, {(0, SLOW): 60.0}, NO_ENDS, clock.now)
    slow, failed = evidence.share(0)
    assert slow > 10.0 * failed

    give_up(breaker, clock)

    assert breaker._circuit.given_up is not None
    assert breaker._circuit.given_up.level == pytest.approx(-log(slow), rel=0.05)


def test_an_opening_for_given_up_calls_counts_only_them(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Failures just before are another suspicion."""
    learned(breaker, clock)
    breaker.acquire().failure()
    breaker.acquire().failure()

    calls = give_up_until_open(breaker, clock)

    assert numbers(breaker)["bad"] == calls


def test_an_opening_for_given_up_calls_has_enough_evidence_also_where_failures_are_usual(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker._circuit.detector.evidence.take_over(0.0, {(0, FAILED): 60.0}, NO_ENDS, clock.now)

    give_up_until_open(breaker, clock)

    values = numbers(breaker)
    assert values["evidence"] == values["evidence_threshold"]
