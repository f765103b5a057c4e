"""Baseline: what is normal for one key, and from where on a call is slow."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, log
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


# The latency before, and one that was accepted


def known(policy: Policy | None = None, latency: float = 0.1) -> Baseline:
    """It knows one latency since 0 s."""
    return baseline_of([latency] * 100, policy)


def test_usual_are_the_median_the_highest_twentieth_and_since_when() -> None:
    baseline = baseline_of([0.1] * 94 + [1.0] * 6)

    usual = baseline.usual(7.0)

    assert usual.median == baseline.reference == pytest.approx(0.1, rel=0.1)
    assert usual.high == pytest.approx(1.0, rel=0.1)
    assert usual.known_for == 7.0


def test_before_anything_is_known_nothing_is_usual() -> None:
    usual = Baseline(Policy()).usual(1e9)

    assert (usual.median, usual.known_for) == (0.0, 0.0)
    assert usual.severe == 0.0
    # What is slow then is above the ceiling.
    assert usual.severity(61.0) == 1.0


def test_a_refresh_later_does_not_make_the_latency_younger() -> None:
    baseline = known()

    baseline.refresh(50.0)

    assert baseline.usual(60.0).known_for == 60.0


def test_a_latency_is_high_only_if_it_was_so_minutes_ago() -> None:
    """A slow-down must not become usual by itself."""
    policy = Policy(latency_patience=100.0)
    baseline = known(policy)
    baseline.refresh(100.0)
    baseline.learn([1.0] * 50)

    # The one that was high at 100 s is the one before from 200 s on, and until 300 s.
    for now, seen in ((101.0, 0.1), (200.0, 0.1), (299.0, 0.1), (300.0, 1.0)):
        baseline.refresh(now)
        assert baseline.usual(now).high == pytest.approx(seen, rel=0.15), now


def test_what_is_high_is_noted_again_as_soon_as_the_old_latency_is_forgotten() -> None:
    policy = Policy(latency_patience=100.0, history_span=600.0)
    baseline = known(policy)
    baseline.accept(0.3, baseline.usual(10.0), 10.0)
    baseline.learn([1.0] * 50)

    # It is forgotten at 610 s. What is high then is what was high 100 s ago, from 710 s on.
    for now, seen in ((609.0, 0.1), (610.0, 0.1), (709.0, 0.1), (710.0, 1.0)):
        baseline.refresh(now)
        assert baseline.usual(now).high == pytest.approx(seen, rel=0.15), now


def test_an_accepted_latency_is_the_median_at_once() -> None:
    baseline = known()

    baseline.accept(0.3, baseline.usual(10.0), 10.0)

    assert baseline.median == pytest.approx(0.3, rel=0.1)
    assert baseline.threshold > 0.3


def test_after_a_latency_that_took_no_patience_the_old_one_is_remembered() -> None:
    """Or a slow-down that comes bit by bit would never be noticed."""
    baseline = known(Policy(history_span=600.0))
    before = baseline.usual(10.0)

    baseline.accept(0.3, before, 10.0)

    assert baseline.usual(609.9).median == before.median
    assert baseline.usual(609.9).high == before.high
    assert baseline.usual(610.0).median == pytest.approx(0.3, rel=0.1)


def test_while_it_is_remembered_nothing_above_4_5_times_of_it_is_fast() -> None:
    baseline = known(Policy(history_span=600.0))
    before = baseline.usual(10.0)
    baseline.accept(0.3, before, 10.0)

    assert baseline.threshold == pytest.approx(4.5 * before.median)
    baseline.learn([0.4] * 100_000)
    baseline.refresh(609.9)
    assert baseline.threshold == pytest.approx(4.5 * before.median)

    baseline.refresh(610.0)
    assert baseline.threshold > 0.6


def test_a_refresh_says_once_that_it_is_remembered_no_longer() -> None:
    """The threshold may be much higher from then on, so that slow means something else."""
    baseline = known(Policy(history_span=600.0))
    assert not baseline.refresh(9.0)
    baseline.accept(0.3, baseline.usual(10.0), 10.0)

    assert [baseline.refresh(now) for now in (11.0, 609.9, 610.0, 611.0)] == [
        False,
        False,
        True,
        False,
    ]


def test_a_second_step_is_judged_by_the_latency_before_the_first_one() -> None:
    baseline = known(Policy(history_span=600.0))
    before = baseline.usual(10.0)
    baseline.accept(0.3, before, 10.0)
    baseline.accept(0.33, baseline.usual(300.0), 300.0)

    assert baseline.usual(400.0).median == before.median
    # It is remembered for no longer because of the second step.
    assert baseline.usual(610.0).median > 0.3


def test_a_latency_that_took_all_the_patience_is_normal_without_reserve() -> None:
    baseline = known()
    baseline.accept(0.3, baseline.usual(10.0), 10.0)

    baseline.accept(0.6, baseline.usual(200.0), 200.0)

    assert baseline.usual(201.0).median == pytest.approx(0.6, rel=0.1)
    assert baseline.threshold > 1.0


def test_a_reset_forgets_what_was_usual() -> None:
    baseline = known()
    baseline.accept(0.3, baseline.usual(10.0), 10.0)

    baseline.reset()
    baseline.learn([0.7] * 100)
    baseline.refresh(20.0)

    usual = baseline.usual(21.0)
    assert usual.median == pytest.approx(0.7, rel=0.1)
    assert usual.high == pytest.approx(0.7, rel=0.1)
    assert usual.known_for == 1.0
    assert baseline.threshold < inf
    assert baseline.threshold == pytest.approx(1.4, rel=0.2)


def test_a_fault_that_was_accepted_is_not_usual_when_it_comes_back() -> None:
    """What was slow for an hour and is over took all patience, and takes it again."""
    baseline = baseline_of([0.1] * 500)
    baseline.accept(1.0, baseline.usual(1000.0), 1000.0)
    now = 1000.0
    for _ in range(400):  # it is over, with one call a second
        now += 1.0
        baseline.learn((0.1,))
        baseline.refresh(now)

    assert baseline.median == pytest.approx(0.1, rel=0.1)
    assert baseline.usual(now).severity(0.9) == 1.0


def test_what_is_slow_now_and_then_is_usual_again_a_generation_later() -> None:
    baseline = baseline_of([0.1] * 500)
    baseline.accept(1.0, baseline.usual(1000.0), 1000.0)
    now = 1000.0
    for number in range(3000):
        now += 1.0
        baseline.learn((1.0 if number % 10 == 0 else 0.1,))
        baseline.refresh(now)

    assert baseline.usual(now).severity(0.9) == 0.0


@pytest.mark.parametrize(("calls", "weight"), [(100_000, 50), (50, 50), (30, 30)])
def test_an_accepted_latency_weighs_no_more_than_fifty_calls(calls: int, weight: int) -> None:
    baseline = baseline_of([0.1] * calls)

    baseline.accept(0.6, baseline.usual(1000.0), 1000.0)

    assert baseline.count == weight


def test_a_few_calls_correct_an_accepted_latency() -> None:
    baseline = baseline_of([0.1] * 100_000)
    baseline.accept(0.6, baseline.usual(1000.0), 1000.0)

    baseline.learn([0.3] * 100)
    baseline.refresh(1001.0)

    assert baseline.median == pytest.approx(0.3, rel=0.1)


def test_a_generation_ends_when_it_is_full_and_is_remembered_until_the_next_one_has() -> None:
    baseline = Baseline(Policy(history_size=100, history_span=10.0, min_history=20))
    counts = []
    for number in range(1, 5):
        baseline.learn([0.1] * 50)
        baseline.refresh(number * 100.0)
        counts.append(baseline.count)

    assert counts == [50, 100, 150, 100]


def test_what_others_have_seen_counts_by_its_weight_and_makes_it_known() -> None:
    others = baseline_of([0.4] * 1_000)
    baseline = Baseline(Policy(min_history=20))
    assert not baseline.known

    baseline.take_over(others.history(), 0.1, known_for=60.0)
    baseline.refresh(1000.0)

    assert baseline.count == pytest.approx(100)
    assert baseline.known
    assert baseline.median == pytest.approx(0.4, rel=0.1)
    assert baseline.usual(1000.0).known_for == pytest.approx(60.0)
    assert baseline.usual(1005.0).known_for == pytest.approx(65.0)


def test_what_others_have_seen_adds_to_what_is_known_here() -> None:
    baseline = baseline_of([0.1] * 100)

    baseline.take_over(baseline_of([0.1] * 300).history(), 1.0, known_for=60.0)
    baseline.refresh(1001.0)

    assert baseline.count == pytest.approx(400)
    assert baseline.median == pytest.approx(0.1, rel=0.1)
