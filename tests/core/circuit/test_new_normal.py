"""Answers: which calls of an outage make a slower callee the new normal."""

from __future__ import annotations

from math import exp, inf
from random import Random

import pytest

from recloser import Policy
from recloser._circuit.new_normal import SEVERE, Answers, Usual

POLICY = Policy(latency_patience=100.0, max_open_for=60.0, success_rate_threshold=0.8)
MEDIAN = 0.1
LONG_AGO = 1000.0  # longer than any patience
NOW = 5.0


def answered(*latencies: float, policy: Policy = POLICY) -> Answers:
    answers = Answers(policy, 0.0)
    for latency in latencies:
        answers.add(latency, NOW)
    return answers


def accepted(
    answers: Answers,
    *,
    now: float = NOW,
    median: float = MEDIAN,
    high: float = 0.0,
    known_for: float = LONG_AGO,
    missing: int = 0,
    age: float = LONG_AGO,
    patience: float | None = None,
) -> float | None:
    return answers.new_normal(now, Usual(median, high, known_for), missing, age, patience)


# How many must come back


@pytest.mark.parametrize(("answers", "expected"), [(15, None), (16, 0.3)])
def test_few_answers_have_no_median(answers: int, expected: float | None) -> None:
    assert accepted(answered(*[0.3] * answers)) == expected


@pytest.mark.parametrize(("failed", "expected"), [(4, 0.3), (5, None)])
def test_a_callee_that_fails_too_often_is_not_only_slow(
    failed: int, expected: float | None
) -> None:
    """At least 80 % must come back: 16 of 20, and 16 of 21 are not enough."""
    assert accepted(answered(*[0.3] * 16, *[inf] * failed)) == expected


@pytest.mark.parametrize(("missing", "expected"), [(4, 0.3), (5, None)])
def test_what_does_not_come_back_counts_like_a_failure(
    missing: int, expected: float | None
) -> None:
    assert accepted(answered(*[0.3] * 16), missing=missing) == expected


def test_the_calls_of_the_suspicion_count_too() -> None:
    answers = Answers(POLICY, 0.0)

    answers.begin_with([0.3] * 16)

    assert accepted(answers) == 0.3


# How slow it is


def test_the_level_is_the_median_of_the_answers() -> None:
    latencies = [0.2 + 0.01 * number for number in range(17)]

    assert accepted(answered(*reversed(latencies))) == latencies[8]


def test_what_has_not_come_back_is_slower_than_what_has() -> None:
    latencies = [0.2 + 0.01 * number for number in range(16)]

    # Of twenty calls the eleventh in order, as the four that are missing are the last ones.
    assert accepted(answered(*latencies), missing=4) == latencies[10]


def test_slower_than_the_ceiling_is_never_normal() -> None:
    policy = Policy(slow_ceiling=0.3)

    assert accepted(answered(*[0.3] * 16, policy=policy)) == 0.3
    assert accepted(answered(*[0.31] * 16, policy=policy)) is None


def test_without_an_old_normal_there_is_no_new_one() -> None:
    assert accepted(answered(*[0.3] * 16), median=0.0) is None


# How long it takes


@pytest.mark.parametrize(
    ("level", "patience"),
    [
        (0.1, 0.0),
        (0.34, 0.0),
        # Half-way between 3.4 and 4.5 medians: an eighth of the patience.
        (0.395, 12.5),
        (0.45, 100.0),
        (5.0, 100.0),
    ],
)
def test_the_further_from_normal_the_more_patience_it_takes(level: float, patience: float) -> None:
    answers = answered(*[level] * 40)

    assert accepted(answers, age=patience - 0.1) is None or patience == 0.0
    assert accepted(answers, age=patience + 0.1) == level


@pytest.mark.parametrize(("answers", "expected"), [(15, None), (16, 0.5)])
def test_severe_slowness_takes_many_answers_besides_the_patience(
    answers: int, expected: float | None
) -> None:
    assert accepted(answered(*[0.5] * answers)) == expected


def test_the_calls_of_the_suspicion_are_no_substitute_for_answers_of_the_outage() -> None:
    answers = Answers(POLICY, 0.0)
    answers.begin_with([0.5] * 40)

    assert accepted(answers) is None


def test_a_latency_is_refused_no_longer_than_the_one_before_was_known() -> None:
    answers = answered(*[0.5] * 40)

    assert accepted(answers, known_for=7.0, age=6.9) is None
    assert accepted(answers, known_for=7.0, age=7.1) == 0.5
    assert accepted(answers, known_for=1e6, age=99.9) is None


def test_a_latency_that_calls_took_before_is_another_mixture_and_takes_no_patience() -> None:
    answers = answered(*[0.5] * 20)

    assert accepted(answers, age=0.0) is None
    assert accepted(answers, high=0.5, age=0.0) == 0.5


@pytest.mark.parametrize("level", [0.1, 0.4, 0.5])
def test_the_patience_may_be_given_whatever_the_latency_is(level: float) -> None:
    answers = answered(*[level] * 40)

    assert accepted(answers, age=199.9, patience=2.0) is None
    assert accepted(answers, age=200.0, patience=2.0) == level
    assert accepted(answers, known_for=7.0, age=14.0, patience=2.0) == level


# How far from normal


@pytest.mark.parametrize(
    ("level", "severity"),
    [(0.1, 0.0), (0.34, 0.0), (0.395, 0.5), (0.4499, 1.0), (0.45, 1.0), (90.0, 1.0)],
)
def test_severity_grows_from_a_mild_to_a_severe_multiple_of_the_median(
    level: float, severity: float
) -> None:
    assert Usual(0.1, 0.0, 1.0).severity(level) == pytest.approx(severity, abs=0.001)


@pytest.mark.parametrize(
    ("level", "severity"), [(0.34, 0.0), (0.395, 0.5), (0.4499, 1.0), (90.0, 1.0)]
)
@pytest.mark.parametrize("median", [0.001, 0.03, 0.1])
def test_below_the_floor_the_multiples_are_those_of_the_floor(
    median: float, level: float, severity: float
) -> None:
    usual = Usual(median, 0.0, 1.0, floor=0.1)

    assert usual.severity(level) == pytest.approx(severity, abs=0.001)
    assert usual.severe == pytest.approx(0.45)


@pytest.mark.parametrize(("high", "severe"), [(0.2, 0.45), (0.9, 0.9)])
def test_severe_is_far_above_the_median_and_above_what_calls_took_before(
    high: float, severe: float
) -> None:
    usual = Usual(0.1, high, 1.0)

    assert SEVERE == 4.5
    assert usual.severe == pytest.approx(severe)
    assert usual.severity(0.999 * usual.severe) < 1.0
    assert usual.severity(1.001 * usual.severe) == 1.0


# What is remembered


@pytest.mark.parametrize(("silence", "expected"), [(600.0, 0.3), (600.1, None)])
def test_answers_are_stale_after_a_long_silence(silence: float, expected: float | None) -> None:
    """Of ten times the longest wait between probes: a key with few calls gets enough answers."""
    assert accepted(answered(*[0.3] * 16), now=NOW + silence) == expected


def test_stale_answers_are_forgotten_with_the_next_one() -> None:
    answers = answered(*[0.3] * 40)
    later = NOW + 600.1

    for _ in range(15):
        answers.add(0.3, later)
    assert accepted(answers, now=later) is None
    answers.add(0.3, later)

    assert accepted(answers, now=later) == 0.3


def test_stale_answers_are_none_of_the_many_that_severe_slowness_takes() -> None:
    answers = answered(*[0.5] * 40)
    later = NOW + 600.1

    for _ in range(15):
        answers.add(0.5, later)
    assert accepted(answers, now=later) is None
    answers.add(0.5, later)

    assert accepted(answers, now=later) == 0.5


def test_the_outage_itself_is_no_silence_yet() -> None:
    """What is in flight when it opens, or was held back, is as young as the outage."""
    answers = Answers(POLICY, 100.0)
    answers.begin_with([0.3] * 16)

    assert accepted(answers, now=700.0) == 0.3
    assert accepted(answers, now=700.1) is None


def test_only_the_latest_answers_tell_how_slow_it_is_now() -> None:
    answers = answered(*[0.2] * 1000, *[0.3] * 256)

    assert accepted(answers) == 0.3
    assert answers.share_above(0.25) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_mild_step_is_not_severe_by_chance(seed: int) -> None:
    """The median of 128 answers of 3.8 times the usual latency; it would be severe from 4.5 on."""
    random = Random(seed)
    for _ in range(20):
        drawn = [3.8 * MEDIAN * exp(random.gauss(0.0, 0.5)) for _ in range(128)]
        assert Usual(MEDIAN, 0.0, LONG_AGO).severity(answered(*drawn).level) < 1.0


def test_memory_is_bounded() -> None:
    answers = answered(*[0.2] * 1000)

    assert 128 <= len(answers._answers) <= 256


# Shares


def test_the_share_above_counts_what_took_longer_and_what_failed() -> None:
    answers = answered(0.1, 0.2, 0.3, inf)

    assert answers.share_above(0.2) == 0.5
    assert answers.share_above(0.05) == 1.0
    assert answers.share_above(0.3) == 0.25


def test_of_no_answers_none_is_above() -> None:
    assert answered().share_above(0.1) == 0.0


def test_the_slowest_answer_is_one_that_came_back() -> None:
    assert answered(0.1, 0.4, 0.2, inf).slowest == 0.4
    assert answered(inf).slowest == answered().slowest == 0.0


@pytest.mark.parametrize(("answers", "few"), [(15, True), (16, False)])
def test_answers_are_few_if_they_have_no_median(answers: int, few: bool) -> None:
    assert answered(*[0.3] * answers).are_few is few


@pytest.mark.parametrize(
    ("answers", "age", "is_accepted"),
    [(31, 499.0, False), (32, 120.0, True), (16, 499.0, False), (16, 500.0, True)],
)
def test_a_severe_latency_takes_twice_as_many_answers_unless_it_lasts(
    answers: int, age: float, is_accepted: bool
) -> None:
    """One fault must not make the next one normal; a quiet key must not refuse for ever."""
    found = accepted(answered(*[0.5] * answers), age=age)

    assert (found is not None) is is_accepted


@pytest.mark.parametrize("limited", [False, True])
def test_under_a_limit_calls_that_failed_do_not_make_the_latency_seem_higher(
    limited: bool,
) -> None:
    answers = answered(*[0.2 + 0.01 * number for number in range(20)], *[inf] * 5)

    level = answers.new_normal(NOW, Usual(MEDIAN, 0.0, LONG_AGO), 0, LONG_AGO, 0.0, limited=limited)

    assert level == pytest.approx(0.3 if limited else 0.32)


def test_few_answers_above_a_level_are_not_surely_above_it() -> None:
    assert Answers(POLICY, 0.0).median_at_least == 0.0
    assert answered(*[0.2 + 0.01 * number for number in range(16)]).median_at_least < 0.28
    many = answered(*[0.2 + 0.001 * number for number in range(160)])
    assert many.level - 0.005 < many.median_at_least < many.level


def test_of_a_latency_that_is_severe_only_the_answers_since_the_silence_count() -> None:
    answers = answered(*[10.0] * 100)
    later = NOW + 1000.0
    for number in range(1, 41):
        answers.add(10.0, later)
        is_accepted = accepted(answers, now=later, age=200.0) is not None

        assert is_accepted is (number >= 32)


def test_answers_that_follow_each_other_count_as_one_and_the_first_one_counts() -> None:
    answers, now = Answers(POLICY, 0.0), NOW
    for number in range(1, 33):
        now += 12.0
        for late in range(5):
            answers.add(2.0, now + 0.1 * late, 5.0)
        is_accepted = accepted(answers, now=now, age=200.0) is not None

        assert is_accepted is (number >= 32)


@pytest.mark.parametrize(
    ("latency", "ended_at", "counts"),
    [
        (1.0, 105.9, False),  # it began 4.9 s after the one before
        (1.0, 106.0, True),
        (inf, 104.9, False),  # of a failed call its end is known
        (inf, 105.0, True),
    ],
)
def test_when_a_call_began_says_whether_it_follows_the_one_before(
    latency: float, ended_at: float, counts: bool
) -> None:
    answers = Answers(POLICY, 0.0)
    answers.add(1.0, 100.0, 5.0)

    answers.add(latency, ended_at, 5.0)

    assert answers._count == 1 + counts


def test_forgotten_answers_are_none_of_the_many_that_severe_slowness_takes() -> None:
    answers = answered(*[0.5] * 40)
    answers.forget()
    for number in range(1, 41):
        answers.add(0.5, NOW)

        assert (accepted(answers, age=200.0) is not None) is (number >= 32)


def test_of_one_or_two_answers_the_faster_one_is_surely_reached() -> None:
    assert answered(0.3).median_at_least == 0.3
    assert answered(0.2, 0.4).median_at_least == 0.2


def under_a_limit(answers: Answers, missing: int = 0) -> float | None:
    return answers.new_normal(
        NOW, Usual(MEDIAN, 0.0, LONG_AGO), missing, LONG_AGO, 0.0, limited=True
    )


def test_under_a_limit_it_is_enough_if_half_of_the_calls_come_back() -> None:
    answers = answered(*[0.3] * 13, *[inf] * 12)

    assert under_a_limit(answers) == 0.3
    assert accepted(answers) is None


def test_under_a_limit_calls_that_have_not_ended_are_slower_than_all_others() -> None:
    answers = answered(*[0.2 + 0.01 * number for number in range(10)])

    assert under_a_limit(answers, missing=6) == pytest.approx(0.28)
    assert under_a_limit(answers, missing=10) == pytest.approx(0.29)  # the slowest that ended


def test_what_was_known_for_the_patience_was_known_for_long() -> None:
    """A severe latency is then accepted only after many answers."""
    answers = answered(*[0.5] * 16)

    assert accepted(answers, age=120.0, known_for=POLICY.latency_patience) is None
    assert accepted(answers, age=120.0, known_for=POLICY.latency_patience - 1.0) == 0.5


def test_of_one_slow_answer_all_are_slow() -> None:
    assert answered(0.3).share_above(0.1) == 1.0
