"""The detector: what it learns, what it holds back, and which calls it counts.

What it takes for normal is in `test_detector_normal.py`, and when it tests a suspicion in
`test_detector_tests.py`.
"""

from __future__ import annotations

import pytest
from tests.support.detectors import NORMAL, NOW, SLOW, VERY_SLOW, known_detector, vote

from recloser import Policy
from recloser._circuit.detector import Detector
from recloser._circuit.in_flight import InFlight
from recloser._circuit.late_calls import LateCalls
from recloser._circuit.votes import Vote


@pytest.fixture
def detector(policy: Policy) -> Detector:
    return known_detector(policy)


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
    assert detector.count_late(late(60, 0.19), NOW)

    assert detector.evidence.bad == detector.evidence.late == 60
    assert detector.evidence.since == 1


@pytest.mark.parametrize("calls", [LateCalls(NOW, [], 0), late(2, 0.19)])
def test_few_late_calls_open_nothing_and_leave_no_trace(
    detector: Detector, calls: LateCalls
) -> None:
    assert not detector.count_late(calls, NOW)

    assert detector.evidence.idle
    assert detector.evidence.calls == 0


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


def test_a_restart_looks_for_new_evidence_and_keeps_what_may_be_normal(
    detector: Detector,
) -> None:
    before = detector.evidence.normal_bad_rate
    suspicious(detector)
    vote(detector, Vote.SLOW, 11, SLOW)

    detector.restart()

    assert detector.evidence.idle
    assert detector.held == ()
    detector.evidence.learn_run(NOW)
    assert detector.evidence.normal_bad_rate > 2.0 * before


def test_the_reason_of_a_limit_names_its_size(detector: Detector) -> None:
    vote(detector, Vote.SLOW, 10, SLOW)

    reason = detector.limit_reason(7.0)

    assert reason.rule == "limited"
    assert reason.numbers["limit"] == 7.0
    assert reason.numbers["slow"] == 1


# Signs of life


@pytest.mark.parametrize("kind", [Vote.SLOW, Vote.CAME_BACK, Vote.GOOD])
@pytest.mark.parametrize("testing", [False, True])
def test_a_call_that_was_answered_is_a_sign_of_life_for_half_a_threshold(
    detector: Detector, kind: Vote, testing: bool
) -> None:
    suspicious(detector)
    if testing:
        detector._begin_test(NOW, InFlight())
    assert not detector.is_alive(NOW)

    vote(detector, kind, 11, SLOW)

    half = 0.5 * detector.baseline.threshold
    assert detector.is_alive(NOW + 0.99 * half)
    assert not detector.is_alive(NOW + 1.01 * half)


@pytest.mark.parametrize("kind", [Vote.HUNG, Vote.FAILED, Vote.LOST])
def test_one_that_was_not_is_none(detector: Detector, kind: Vote) -> None:
    suspicious(detector)

    vote(detector, kind, 11, SLOW)

    assert not detector.is_alive(NOW)


# Failures while limited


def test_while_limited_failures_are_evidence_and_good_calls_are_evidence_against_it(
    detector: Detector,
) -> None:
    enough = [detector.vote_limited(token, NOW, failed=True) for token in range(10, 15)]
    assert enough == [False, False, False, False, True]

    detector.restart()
    assert not detector.vote_limited(20, NOW, failed=True)
    level = detector.evidence.level
    detector.vote_limited(19, NOW, failed=False)  # from before
    assert detector.evidence.level == level
    detector.vote_limited(21, NOW, failed=False)
    assert detector.evidence.level < level


def test_while_limited_good_calls_without_a_suspicion_are_not_learned(detector: Detector) -> None:
    quiet = detector.evidence.quiet

    assert not detector.vote_limited(10, NOW, failed=False)

    assert detector.evidence.quiet == quiet
    assert detector.evidence.calls == 0
