"""Baseline: what the generation before is for, and what ends with it."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.baseline import Baseline

POLICY = Policy(history_size=100, history_span=10.0, min_history=20, latency_patience=30.0)


def after_a_generation(latency: float, then: float) -> Baseline:
    """A full generation of one latency, and half of one of another."""
    baseline = Baseline(POLICY)
    baseline.learn([latency] * 100)
    baseline.refresh(1000.0)
    baseline.learn([then] * 90)
    baseline.refresh(1001.0)
    return baseline


def test_the_reference_is_the_median_of_the_generation_before() -> None:
    baseline = after_a_generation(0.1, 0.4)
    baseline.learn([0.4] * 9)
    baseline.refresh(1002.0)

    assert baseline.reference == pytest.approx(0.1, rel=0.1)

    # With many slow calls the median of all moves, and the reference does not.
    baseline.learn([0.4] * 500)
    baseline.refresh(1003.0)
    assert baseline.median == pytest.approx(0.4, rel=0.1)
    assert baseline.reference == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("latency", "then"), [(0.1, 0.4), (0.4, 0.1)])
def test_the_threshold_follows_the_faster_one_of_two_generations(
    latency: float, then: float
) -> None:
    baseline = Baseline(POLICY)
    baseline.learn([latency] * 100)
    baseline.refresh(1000.0)
    baseline.learn([then] * 600)
    baseline.refresh(1001.0)

    assert min(baseline.median, baseline.reference) == pytest.approx(0.1, rel=0.1)
    assert 0.2 < baseline.threshold < 0.8


def test_a_shift_moves_both_generations_and_keeps_each_call_once() -> None:
    baseline = after_a_generation(0.1, 0.1)
    assert baseline.count == 190

    baseline.shift(4.0, 1002.0)

    assert baseline.count == 50
    assert baseline.median == pytest.approx(0.4, rel=0.1)
    assert baseline.reference == pytest.approx(0.4, rel=0.1)


def test_a_new_generation_does_not_put_off_what_is_high() -> None:
    """What has been high since the patience ago is compared with it, however often one ends."""
    baseline = Baseline(POLICY)
    for second in range(0, 200, 5):
        slow = [0.5] * 10 if second >= 190 else []
        baseline.learn([0.1] * 90 + slow)
        baseline.refresh(1000.0 + second)

    assert baseline.history().quantiles(0.97)[0] == pytest.approx(0.5, rel=0.1)
    assert baseline.usual(1200.0).high == pytest.approx(0.1, rel=0.1)


def test_another_policy_takes_nothing_back_until_the_next_refresh() -> None:
    baseline = after_a_generation(0.1, 0.1)
    threshold, hopeless = baseline.threshold, baseline.hopeless

    baseline.adopt(Policy(slow_ceiling=7.0))

    assert (baseline.threshold, baseline.hopeless) == (threshold, hopeless)
    unknown = Baseline(POLICY)
    unknown.adopt(Policy(slow_ceiling=7.0))
    assert (unknown.threshold, unknown.hopeless) == (7.0, 7.0)


def test_a_latency_of_which_the_floor_is_the_threshold_is_the_least_to_judge_multiples_by() -> None:
    policy = Policy(slow_floor=0.3, min_latency_ratio=3.0)

    assert Baseline(policy).usual(0.0).floor == pytest.approx(0.1)
