"""Round: what the answers under one limit show."""

from __future__ import annotations

import pytest

from recloser._circuit.round import Round

THRESHOLD = 0.2
NOW = 5.0


def round_of(
    *answers: float,
    failed: tuple[float, ...] = (),
    late: int = 0,
    threshold: float = THRESHOLD,
    overdue_for: float = 10.0,
) -> Round:
    """A judged round of answers and failures that took so many seconds."""
    found = Round(1)
    for token, latency in enumerate(answers, 1):
        found.add(token, latency, NOW, ok=True)
    for token, latency in enumerate(failed, 100):
        found.add(token, latency, NOW, ok=False)
    for token in range(200, 200 + late):
        found.add_overdue(token, NOW)
    found.judge(threshold, NOW + overdue_for)
    return found


# When it is complete


@pytest.mark.parametrize(("answers", "expected"), [(7, False), (8, True), (9, True)])
def test_it_is_complete_with_so_many_answers(answers: int, expected: bool) -> None:
    found = Round(1)
    for token in range(answers):
        found.add(token, 0.1, NOW, ok=token % 2 == 0)

    assert found.is_complete(8, NOW + 0.1) is expected


def test_answers_of_one_moment_are_no_round() -> None:
    """Calls that all come back at once, for example after a pause, are one observation."""
    found = Round(1)
    for token in range(20):
        found.add(token, 0.1, NOW, ok=True)

    assert not found.is_complete(8, NOW)
    assert found.is_complete(8, NOW + 0.001)


def test_a_call_that_is_late_is_no_answer_but_time_counts_from_it() -> None:
    found = Round(1)
    for token in range(20):
        found.add_overdue(token, NOW - 1.0)
    assert not found.is_complete(1, NOW)

    found.add(20, 0.1, NOW, ok=True)

    assert found.is_complete(1, NOW)


# What it shows


@pytest.mark.parametrize(("numbers", "mean"), [((4, 0, 9), 6.5), ((0, 0), 0.0)])
def test_calls_in_flight_are_those_when_its_calls_began_where_that_is_known(
    numbers: tuple[int, ...], mean: float
) -> None:
    found = Round(1)
    for token, number in enumerate(numbers, 1):
        found.add(token, 0.1, NOW, number, ok=True)

    found.judge(THRESHOLD, NOW)

    assert found.in_flight == mean


def test_the_level_is_the_median_of_the_answers() -> None:
    assert round_of(0.5, 0.1, 0.3, 0.2, 0.4).level == 0.3


@pytest.mark.parametrize(("late", "level"), [(0, 0.3), (2, 0.4), (4, 0.5), (50, 0.5)])
def test_calls_that_are_late_will_take_longer_than_those_that_were_answered(
    late: int, level: float
) -> None:
    assert round_of(0.1, 0.2, 0.3, 0.4, 0.5, late=late).level == level


@pytest.mark.parametrize(("overdue_for", "level"), [(0.0, 3.0), (2.7, 3.0), (2.9, 5.0)])
def test_a_late_call_says_nothing_before_it_has_taken_longer_than_most_answers(
    overdue_for: float, level: float
) -> None:
    """Otherwise, the more calls are in flight, the slower they would seem to be: as under load."""
    assert round_of(1.0, 2.0, 3.0, 4.0, 5.0, late=8, overdue_for=overdue_for).level == level


def test_the_level_is_that_of_an_answer_also_where_most_calls_failed() -> None:
    assert round_of(0.1, 0.3, failed=(0.01,) * 6).level == 0.3


@pytest.mark.parametrize(("took", "level"), [(0.01, 0.3), (0.5, 0.4)])
def test_who_failed_at_once_says_nothing_of_the_latency_unlike_who_timed_out(
    took: float, level: float
) -> None:
    assert round_of(0.1, 0.2, 0.3, 0.4, 0.5, failed=(took, took)).level == level


def test_where_all_calls_failed_there_is_no_answer() -> None:
    found = round_of(failed=(0.01,) * 8)

    assert found.failed == 1.0
    assert found.level == float("inf")


def test_the_share_of_failures_is_that_of_calls_that_ended() -> None:
    assert round_of(0.1, 0.1, 0.1, failed=(0.1,), late=4).failed == 0.25


def test_a_call_is_slow_if_it_is_above_the_threshold_late_or_failed() -> None:
    assert round_of(0.1, THRESHOLD, 0.21, 0.5, failed=(0.01,), late=3).slow == 0.75


def test_a_call_that_was_late_and_came_back_counts_once() -> None:
    found = Round(1)
    found.add_overdue(1, NOW)

    found.add(1, 0.5, NOW, ok=True)
    found.add(2, 0.1, NOW, ok=True)
    found.judge(THRESHOLD, NOW)

    assert found.slow == 0.5


@pytest.mark.parametrize(
    ("answers", "late", "expected"),
    [((0.1, 0.1), 3, True), ((0.1, 0.1), 2, False), ((0.1, 0.21), 3, False), ((0.1,), 0, False)],
)
def test_it_hangs_if_most_calls_are_late_and_the_others_are_fast(
    answers: tuple[float, ...], late: int, expected: bool
) -> None:
    assert round_of(*answers, late=late).hangs(THRESHOLD) is expected


def test_calls_that_fail_are_not_as_fast_as_ever() -> None:
    assert not round_of(0.1, failed=(0.01,), late=3).hangs(THRESHOLD)


@pytest.mark.parametrize(("share", "latency"), [(0.0, 0.1), (0.2, 0.2), (0.5, 0.3), (1.0, 0.6)])
def test_a_share_of_the_calls_is_not_slower_than_the_fastest_ones(
    share: float, latency: float
) -> None:
    assert round_of(0.6, 0.5, 0.4, 0.3, 0.2, 0.1).fastest(share) == latency


@pytest.mark.parametrize(("took", "level"), [(THRESHOLD, 0.3), (THRESHOLD + 0.01, 0.4)])
def test_who_failed_within_the_slow_threshold_says_nothing_of_the_latency(
    took: float, level: float
) -> None:
    assert round_of(0.1, 0.2, 0.3, 0.4, failed=(took,) * 4).level == level
