"""The detector: what it learns, what it holds back, and what it takes for normal."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.detector import Detector
from recloser._circuit.late_calls import LateCalls
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome

NORMAL = 0.1
SLOW = 0.25  # above a threshold of 0.2, and below twice that
VERY_SLOW = 0.5
NOW = 50.0


@pytest.fixture
def detector(policy: Policy) -> Detector:
    """It knows that 0.1 s is normal, so that 0.2 s is slow, and nothing is suspicious."""
    detector = Detector(policy)
    detector.learn_quiet([NORMAL] * 100)
    assert detector.refresh(NOW)
    assert 0.2 <= detector.baseline.threshold < SLOW
    return detector


def vote(detector: Detector, vote: Vote, token: int, latency: float = NORMAL) -> bool:
    outcome = Outcome.FAILURE if vote is Vote.FAILED else Outcome.SUCCESS
    if vote is Vote.GOOD:
        detector.good(token, latency, NOW)
        return False
    return detector.vote(vote, Ending(token, outcome, latency, NOW))


def suspicious(detector: Detector, *, since: int = 10) -> Detector:
    assert not vote(detector, Vote.FAILED, since)
    assert not detector.evidence.idle
    return detector


# What is learned, and what is held back


def test_a_good_call_is_learned_at_once_while_nothing_is_suspicious(detector: Detector) -> None:
    vote(detector, Vote.GOOD, 1)

    assert detector.evidence.idle
    assert detector.baseline.count == 101
    assert detector.held == ()


def test_a_good_call_is_held_back_while_something_is_suspicious(detector: Detector) -> None:
    suspicious(detector)

    vote(detector, Vote.GOOD, 11, 0.12)

    assert detector.held == (0.12,)
    assert detector.baseline.count == 100


def test_a_slow_call_is_held_back_too(detector: Detector) -> None:
    vote(detector, Vote.SLOW, 10, SLOW)

    assert detector.held == (SLOW,)
    assert detector.baseline.count == 100


def test_what_was_held_back_is_learned_when_the_suspicion_is_over(detector: Detector) -> None:
    vote(detector, Vote.SLOW, 10, SLOW)

    token = 11
    while not detector.evidence.idle:
        vote(detector, Vote.GOOD, token)
        token += 1

    assert detector.held == ()
    assert detector.evidence.level == 0.0
    assert detector.baseline.count == 100 + token - 10


def test_an_outage_is_never_learned(detector: Detector) -> None:
    suspicious(detector)
    vote(detector, Vote.SLOW, 11, SLOW)
    vote(detector, Vote.GOOD, 12)

    assert detector.take_held() == (SLOW, NORMAL)

    assert detector.held == ()
    assert detector.baseline.count == 100


def test_to_clear_it_drops_the_suspicion_and_what_was_held_back(detector: Detector) -> None:
    suspicious(detector)
    vote(detector, Vote.GOOD, 11)

    detector.clear()

    assert detector.evidence.idle
    assert detector.held == ()
    assert detector.baseline.count == 100


# Which calls have a say in a suspicion


def test_a_good_call_from_before_the_suspicion_is_learned_and_says_nothing(
    detector: Detector,
) -> None:
    suspicious(detector, since=10)
    calls = detector.evidence.calls

    vote(detector, Vote.GOOD, 9)

    assert detector.evidence.calls == calls
    assert detector.held == ()
    assert detector.baseline.count == 101


@pytest.mark.parametrize("kind", [Vote.FAILED, Vote.SLOW, Vote.HUNG])
@pytest.mark.parametrize(("token", "counts"), [(9, False), (10, True), (11, True)])
def test_a_bad_call_from_before_the_suspicion_says_nothing(
    detector: Detector, kind: Vote, token: int, counts: bool
) -> None:
    suspicious(detector, since=10)

    vote(detector, kind, token, SLOW)

    assert detector.evidence.bad == (2 if counts else 1)


@pytest.mark.parametrize("kind", [Vote.FAILED, Vote.SLOW, Vote.HUNG])
def test_the_first_bad_call_begins_a_suspicion(detector: Detector, kind: Vote) -> None:
    vote(detector, kind, 17, SLOW)

    assert not detector.evidence.idle
    assert detector.evidence.since == 17


@pytest.mark.parametrize("kind", [Vote.FAILED, Vote.SLOW, Vote.HUNG])
def test_enough_bad_calls_open(detector: Detector, kind: Vote) -> None:
    opened = [vote(detector, kind, token, VERY_SLOW) for token in range(10, 60)]

    assert True in opened
    assert opened.index(True) >= Policy().min_failures - 1


@pytest.mark.parametrize("kind", [Vote.NONE, Vote.OUTDATED, Vote.LOST, Vote.ANSWERING])
def test_other_votes_say_nothing_while_closed(detector: Detector, kind: Vote) -> None:
    assert not any(vote(detector, kind, token, VERY_SLOW) for token in range(10, 60))

    assert detector.evidence.idle
    assert detector.baseline.count == 100


# How slow


def level_after(detector: Detector, latency: float) -> float:
    for token in range(10, 13):
        vote(detector, Vote.SLOW, token, latency)
    return detector.evidence.level


def test_twice_the_threshold_is_more_evidence_than_just_above_it(policy: Policy) -> None:
    levels: list[float] = []
    for latency in (SLOW, VERY_SLOW):
        detector = Detector(policy)
        detector.learn_quiet([NORMAL] * 100)
        detector.refresh(NOW)
        levels.append(level_after(detector, latency))

    assert levels[0] < levels[1]


@pytest.mark.parametrize(("ratio", "very"), [(1.01, False), (2.0, False), (2.01, True)])
def test_very_slow_begins_above_two_thresholds(
    detector: Detector, ratio: float, very: bool
) -> None:
    vote(detector, Vote.SLOW, 10, ratio * detector.baseline.threshold)

    assert detector.evidence._held_ends == ((0.0, 1.0) if very else (1.0, 0.0))


# Calls that come back


def test_an_overdue_call_that_comes_back_is_one_bad_call(detector: Detector) -> None:
    vote(detector, Vote.HUNG, 10)
    level = detector.evidence.level

    vote(detector, Vote.CAME_BACK, 10, VERY_SLOW)

    assert (detector.evidence.calls, detector.evidence.bad) == (1, 1)
    # How slow it was in the end is news.
    assert detector.evidence.level > level
    assert detector.held == (VERY_SLOW,)


def test_one_that_comes_back_after_the_suspicion_is_learned(detector: Detector) -> None:
    assert not vote(detector, Vote.CAME_BACK, 10, VERY_SLOW)

    assert detector.evidence.idle
    assert detector.held == ()
    assert detector.baseline.count == 101


def test_one_from_before_the_suspicion_is_learned_too(detector: Detector) -> None:
    suspicious(detector, since=10)
    level = detector.evidence.level

    vote(detector, Vote.CAME_BACK, 9, VERY_SLOW)

    assert detector.evidence.level == level
    assert detector.held == ()
    assert detector.baseline.count == 101


# Calls that are late


def late(calls: int, age: float) -> LateCalls:
    return LateCalls(NOW, [(token, age) for token in range(1, calls + 1)], 0)


def test_many_late_calls_open(detector: Detector) -> None:
    assert detector.has_enough_late(late(60, 0.19), NOW)

    assert detector.evidence.bad == detector.evidence.late == 60
    assert detector.evidence.since == 1


@pytest.mark.parametrize("calls", [LateCalls(NOW, [], 0), late(2, 0.19)])
def test_few_late_calls_open_nothing_and_leave_no_trace(
    detector: Detector, calls: LateCalls
) -> None:
    assert not detector.has_enough_late(calls, NOW)

    assert detector.evidence.idle
    assert detector.evidence.calls == 0


# Good calls without a decision


@pytest.mark.parametrize("calls", [1, 63, 64, 65, 128, 1000, 4096])
def test_of_many_quiet_calls_a_sample_stands_for_all(policy: Policy, calls: int) -> None:
    detector = Detector(policy)

    detector.learn_quiet([NORMAL] * calls)

    assert detector.baseline.count == calls
    assert detector.evidence.quiet == calls


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


def test_a_latency_far_from_normal_moves_the_baseline(detector: Detector) -> None:
    detector.accept_latency(0.8, lambda latency: 0.0, NOW, severe=True)

    assert detector.baseline.median == pytest.approx(0.8, rel=0.1)


def test_a_latency_near_normal_leaves_the_baseline_and_makes_slow_calls_normal(
    detector: Detector,
) -> None:
    median = detector.baseline.median

    detector.accept_latency(0.3, lambda latency: 0.6, NOW, severe=False)

    assert detector.baseline.median == median
    # Hovering at the threshold, more of them may be slow than were.
    assert detector.evidence.normal_bad_rate == pytest.approx((0.6 + 0.15) / 1.5, abs=0.02)


# What it says, and how it forgets


def test_the_reason_to_open_names_the_evidence_and_the_last_failure(detector: Detector) -> None:
    detector.last_failure = "HTTP 502"
    token = 10
    while not vote(detector, Vote.FAILED, token):
        token += 1

    reason = detector.open_reason()

    assert reason.rule == "failures"
    assert "HTTP 502" in reason.sentence
    assert reason.numbers["bad"] == token - 9
    assert reason.numbers["slow_threshold"] == detector.baseline.threshold


def test_the_reason_needs_no_failure(detector: Detector) -> None:
    token = 10
    while not vote(detector, Vote.SLOW, token, SLOW):
        token += 1

    assert detector.open_reason().rule == "slow"


def test_a_reset_forgets_everything(detector: Detector, policy: Policy) -> None:
    suspicious(detector)
    vote(detector, Vote.GOOD, 11)
    detector.last_failure = "HTTP 502"
    fresh = Detector(policy)

    detector.reset()

    assert detector.evidence.idle
    assert detector.held == ()
    assert detector.last_failure == ""
    assert not detector.baseline.known
    assert detector.baseline.count == 0
    assert detector.baseline.threshold == policy.slow_ceiling
    assert detector.evidence.normal_bad_rate == fresh.evidence.normal_bad_rate
    assert detector.evidence.quiet == 0.0
    assert detector.refresh(NOW) is False
