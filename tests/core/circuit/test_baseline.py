"""Baseline: what is normal for one key, and from where on a call is slow."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser import Policy
from recloser._circuit.baseline import Baseline

BUCKET = 2 ** (1 / 8)


def baseline_of(latencies: Iterable[float], policy: Policy | None = None) -> Baseline:
    baseline = Baseline(policy if policy is not None else Policy())
    for latency in latencies:
        baseline.learn((latency,))
    baseline.refresh(0.0)
    return baseline


def lognormal(median: float, sigma: float, number: int = 1000, seed: int = 1) -> list[float]:
    chance = Random(seed)
    return [median * exp(chance.gauss(0.0, sigma)) for _ in range(number)]


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.8])
def test_the_threshold_is_a_z_score_on_log_latency(sigma: float) -> None:
    baseline = baseline_of(
        lognormal(0.2, sigma), Policy(min_latency_ratio=1.0, max_latency_ratio=1000.0)
    )

    assert baseline.median == pytest.approx(0.2, rel=0.1)
    assert baseline.sigma == pytest.approx(sigma, rel=0.15)
    assert log(baseline.threshold / 0.2) / sigma == pytest.approx(2.5, rel=0.2)


def test_outliers_do_not_move_the_threshold_that_judges_them() -> None:
    normal = lognormal(0.2, 0.3)

    poisoned = baseline_of([*normal, *([30.0] * 30)])

    assert poisoned.threshold < 1.2 * baseline_of(normal).threshold


@given(st.floats(0.06, 20.0))
def test_equal_latencies_leave_room_of_min_latency_ratio(latency: float) -> None:
    baseline = baseline_of([latency] * 100)

    assert latency * 2.0 / BUCKET <= baseline.threshold <= latency * 2.0 * BUCKET


def test_nothing_is_slow_but_the_ceiling_before_enough_is_known() -> None:
    policy = Policy(min_history=30, slow_ceiling=7.0)

    assert baseline_of([0.1] * 29, policy).threshold == 7.0
    assert not baseline_of([0.1] * 29, policy).known
    assert baseline_of([0.1] * 30, policy).threshold < 0.3


def test_the_threshold_keeps_to_floor_and_ceiling() -> None:
    assert baseline_of([0.001] * 100).threshold == Policy().slow_floor
    assert baseline_of([50.0] * 100).threshold == Policy().slow_ceiling


@given(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=200))
def test_the_threshold_is_finite_and_within_bounds_whatever_is_learned(
    latencies: list[float],
) -> None:
    policy = Policy(min_history=10, history_size=50)
    baseline = baseline_of(latencies, policy)

    assert policy.slow_floor <= baseline.threshold <= policy.slow_ceiling
    assert baseline.median >= 0.0
    assert baseline.sigma >= 0.0


def test_what_was_long_ago_is_forgotten() -> None:
    baseline = Baseline(Policy(history_size=100, history_span=0.0))
    for latency in [0.1] * 100 + [1.0] * 200:
        baseline.learn((latency,))
        baseline.refresh(0.0)

    assert baseline.median == pytest.approx(1.0, rel=0.1)
    assert baseline.count <= 200


def test_a_reset_forgets_everything() -> None:
    baseline = baseline_of([0.1] * 100)

    baseline.reset()

    assert not baseline.known
    assert baseline.count == 0
    assert baseline.threshold == Policy().slow_ceiling


def test_the_z_score_of_a_latency_is_that_of_its_logarithm() -> None:
    baseline = baseline_of(lognormal(0.2, 0.5))

    assert baseline.z_score(baseline.median) == pytest.approx(0.0)
    assert baseline.z_score(baseline.median * exp(3 * baseline.sigma)) == pytest.approx(3.0)
    assert baseline.z_score(0.0) < -100
    assert Baseline(Policy()).z_score(1.0) == 0.0


# Hopeless


def test_the_hopeless_latency_is_learned_with_the_threshold() -> None:
    baseline = baseline_of(lognormal(0.2, 0.3))

    assert baseline.hopeless >= 2.0 * baseline.threshold
    assert baseline.hopeless == pytest.approx(2.0 * baseline.threshold, rel=0.2)


def test_before_enough_is_known_and_after_a_reset_only_the_ceiling_is_hopeless() -> None:
    baseline = baseline_of([0.2] * 29, Policy(slow_ceiling=7.0))
    assert baseline.hopeless == 7.0
    baseline.learn([0.2] * 1000)
    baseline.refresh(0.0)
    assert baseline.hopeless < 1.0

    baseline.reset()

    assert baseline.hopeless == 7.0


def test_a_longer_latency_that_was_accepted_moves_it_at_once() -> None:
    baseline = baseline_of(lognormal(0.2, 0.3))

    baseline.shift(10.0, 0.0)

    assert baseline.hopeless >= 2.0 * baseline.threshold > 4.0


def test_the_more_is_known_the_closer_it_is() -> None:
    limits = [baseline_of([0.2] * calls).hopeless for calls in (30, 100, 300, 1000)]

    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 10.0
    assert limits[-1] < 1.0
