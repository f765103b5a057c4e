"""The detector: what it takes for normal."""

from __future__ import annotations

import pytest
from tests.support.detectors import NORMAL, NOW, known_detector, vote

from recloser import Policy
from recloser._circuit.baseline import Baseline
from recloser._circuit.detector import Detector
from recloser._circuit.new_normal import Usual
from recloser._circuit.share_test import ShareTest
from recloser._circuit.votes import Vote


@pytest.fixture
def detector(policy: Policy) -> Detector:
    return known_detector(policy)


# Good calls without a decision


@pytest.mark.parametrize("calls", [1, 63, 64, 65, 128, 1000, 4096])
def test_of_many_quiet_calls_a_sample_stands_for_all(policy: Policy, calls: int) -> None:
    detector = Detector(policy)

    detector.learn_quiet([NORMAL] * calls)

    assert detector.baseline.count == calls
    assert detector.evidence.quiet == calls


def test_the_sample_is_small(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def learn(self: Baseline, latencies: list[float], weight: float) -> None:
        sizes.append(len(latencies))

    monkeypatch.setattr(Baseline, "learn", learn)

    Detector(policy).learn_quiet([NORMAL] * 640)

    # An odd step of eleven; ten would be enough.
    assert sizes == [59]


def test_calls_of_two_kinds_that_take_turns_are_both_in_the_sample(policy: Policy) -> None:
    detector = Detector(policy)

    detector.learn_quiet([0.1, 0.4] * 500)

    assert detector.baseline.share_above(0.2) == pytest.approx(0.5, abs=0.02)


# What is normal


def test_it_says_once_that_latency_is_judged_from_now_on(policy: Policy) -> None:
    detector = Detector(policy)
    detector.learn_quiet([NORMAL] * (policy.min_history - 1))
    assert not detector.refresh(NOW)
    vote(detector, Vote.GOOD, 1)

    assert [detector.refresh(NOW) for _ in range(3)] == [True, False, False]


def test_a_refresh_lets_calls_be_judged_by_what_was_learned(detector: Detector) -> None:
    before = detector.evidence.share(0)
    detector.learn_quiet([NORMAL] * 1000)
    assert detector.evidence.share(0) == before

    detector.refresh(NOW)

    assert detector.evidence.share(0) < before


def test_the_share_of_slow_calls_under_a_new_threshold_is_normal(detector: Detector) -> None:
    detector.expect_slow(lambda latency: 0.3, NOW)

    assert detector.evidence.share(0)[0] == pytest.approx(0.3, abs=0.11)


def test_more_slow_calls_than_that_are_expected_with_a_margin(policy: Policy) -> None:
    shares: list[float] = []
    for margin in (0.0, 0.15):
        detector = Detector(policy)
        detector.expect_slow(lambda latency: 0.3, NOW, margin)
        shares.append(detector.evidence.share(0)[0])

    assert shares[1] == pytest.approx(shares[0] + 0.1, abs=0.01)


def test_no_margin_makes_more_than_all_calls_slow(detector: Detector) -> None:
    detector.expect_slow(lambda latency: 0.9, NOW, 0.5)

    # All of the hundred calls that an expectation weighs, and the prior of fifty.
    assert detector.evidence.share(0)[0] == pytest.approx((100.0 + 1.0) / 150.0)
    assert detector.evidence.quiet == 0.0


def test_calls_in_flight_above_the_first_threshold_count_as_slow(policy: Policy) -> None:
    """The first calls to end are the fast ones."""
    normal: list[float] = []
    for overdue in (0, 50):
        detector = Detector(policy)
        detector.learn_quiet([NORMAL] * 50)
        detector.refresh(NOW)
        detector.expect_first_slow(overdue, NOW)
        normal.append(detector.evidence.normal_bad_rate)

    assert normal[0] < 0.02
    # Half of the calls, and the prior weighs half as much as what is expected.
    assert normal[1] == pytest.approx(0.34, abs=0.02)


@pytest.mark.parametrize(("rate", "half_life"), [(1000.0, 60.0), (1.0, 60.0), (0.1, 100.0)])
def test_evidence_on_a_quiet_key_fades_by_the_pace_of_its_calls(
    detector: Detector, rate: float, half_life: float
) -> None:
    detector.note_rate(rate)

    assert detector.evidence.half_life == half_life


def test_an_accepted_latency_moves_the_baseline_and_makes_slow_calls_normal(
    detector: Detector,
) -> None:
    detector.accept_latency(0.8, Usual(NORMAL, NORMAL, 600.0), lambda latency: 0.6, NOW)

    assert detector.baseline.median == pytest.approx(0.8, rel=0.1)
    # Hovering at the threshold, more of them may be slow than were.
    assert detector.evidence.normal_bad_rate == pytest.approx((0.6 + 0.15) / 1.5, abs=0.02)


def test_a_latency_that_calls_took_before_leaves_the_baseline(detector: Detector) -> None:
    median = detector.baseline.median

    detector.accept_latency(0.8, Usual(NORMAL, 0.8, 600.0), lambda latency: 0.6, NOW)

    assert detector.baseline.median == median
    assert detector.evidence.normal_bad_rate == pytest.approx((0.6 + 0.15) / 1.5, abs=0.02)


def test_a_mixture_that_is_accepted_makes_its_share_of_slow_calls_normal(
    detector: Detector,
) -> None:
    median = detector.baseline.median

    detector.accept_mixture(0.6, lambda latency: 1.0, NOW)

    assert detector.baseline.median == median
    assert detector.evidence.share(0)[0] == pytest.approx((75.0 + 1.0) / 150.0)
    # All of them may be very slow.
    assert detector.evidence._ends[1] == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("good", "slow", "failed", "shares"),
    [
        (6, 0, 4, (0.0, 0.4)),
        (6, 3, 1, (0.3, 0.1)),
        (18, 1, 1, (0.05, 0.05)),
        (9, 0, 1, (0.0, 0.1)),
        (11, 0, 1, None),
    ],
)
def test_a_share_of_bad_calls_that_is_worth_asking_all_the_same_becomes_normal(
    detector: Detector,
    good: int,
    slow: int,
    failed: int,
    shares: tuple[float, float] | None,
) -> None:
    test = ShareTest(0.5)
    test.good, test.slow, test.failed = good, slow, failed
    before = detector.evidence.share(0)

    detector.expect_failed(test, NOW)

    if shares is None:
        assert detector.evidence.share(0) == before
    else:
        expected = [(100.0 * share + 1.0) / 150.0 for share in shares]
        assert detector.evidence.share(0) == pytest.approx(expected)


def test_when_an_accepted_latency_is_like_any_other_slow_calls_are_counted_anew(
    policy: Policy,
) -> None:
    """Until then the threshold is low, and many calls are slow: that is no longer so."""
    detector = known_detector(policy)
    usual = detector.baseline.usual(NOW)
    detector.accept_latency(4.0 * NORMAL, usual, lambda latency: 0.4, NOW)
    detector.refresh(NOW + 1.0)
    expected = detector.evidence.share(0)[0]

    detector.refresh(NOW + policy.history_span)

    assert expected > 0.3
    assert detector.evidence.share(0)[0] < 0.1
