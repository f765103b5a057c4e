"""Correction: what was learned counts for more the more it was learned from, and has a limit."""

from __future__ import annotations

from math import log
from random import Random

import pytest

from recloser import Breaker, Policy, State
from recloser._circuit.correction import corrected, spread
from recloser.testing import ManualClock


def test_shares_weigh_more_the_more_failures_were_learned_up_to_a_limit() -> None:
    weights = [spread(failed) for failed in (0.0, 100.0, 1_000.0, 1e9)]

    assert weights == sorted(weights)
    assert (weights[0], weights[-1]) == (14.0, 60.0)
    assert weights[0] == pytest.approx(weights[1] - 1.0)


def test_a_run_as_usual_corrects_nothing() -> None:
    assert corrected(0.1, 0.2, 1.0, 0.2) == pytest.approx((0.1, 0.2))


def test_a_run_that_is_twice_as_bad_is_twice_as_bad_in_both_ways() -> None:
    assert corrected(0.1, 0.2, 2.0, 0.0) == pytest.approx((0.2, 0.4))


def test_no_run_takes_more_than_half_of_the_usual_good_calls() -> None:
    slow, failed = corrected(0.3, 0.1, 1e6, 0.0)

    assert 1.0 - slow - failed == pytest.approx(0.5 * 0.6)


@pytest.mark.parametrize(("accepted", "most"), [(0.0, 0.45), (0.2, 0.45), (0.6, 0.6)])
def test_failing_in_runs_is_never_normal_beyond_a_limit_unless_it_is_outside_of_them(
    accepted: float, most: float
) -> None:
    """Outside of any run, so many calls fail only if it was found to be worth asking."""
    assert corrected(0.01, 0.9, 1e6, accepted)[1] == pytest.approx(most)


@pytest.mark.parametrize("slow", [0.0, 0.005, 0.5, 1.0])
@pytest.mark.parametrize("failed", [0.005, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("this_run", [0.1, 1.0, 3.0, 1e6])
def test_some_calls_stay_good_and_some_failures_stay_odd(
    slow: float, failed: float, this_run: float
) -> None:
    slow, failed = corrected(slow, failed, this_run, 0.01)

    assert slow + failed < 1.0
    assert failed <= 0.45


def test_blips_and_recoveries_never_make_failing_normal(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Each opening that was over at once is learned as a run; a hundred took 970 calls to open."""
    chance, needed = Random(1).random, 0
    for _ in range(100):
        needed = 0
        while breaker.state is State.CLOSED:
            clock.advance(0.02)
            breaker.record(0.01, success=False)
            needed += 1
            assert needed <= 30
        clock.advance(0.2)
        breaker.half_open()
        for _ in range(20):
            breaker.record(0.01, success=True)
        for _ in range(500):
            clock.advance(0.02)
            breaker.record(0.01, success=chance() >= 0.02)

    assert needed <= 1.2 * log(Policy().false_trip_interval) / log(1.0 / 0.45)
