"""Failures while limited: because there are too many calls, or anyway."""

from __future__ import annotations

from random import Random

import pytest

from recloser._circuit.failures import Failures
from recloser._circuit.round import Finding


def under_test(token: int = 1) -> Failures:
    failures = Failures()
    failures.begin_test(token)
    return failures


def play(failures: Failures, *calls: bool, timed_out: bool = False) -> Finding:
    """Add calls until the test shows something; True is a good one."""
    for token, ok in enumerate(calls, 1):
        finding = failures.add(token, ok=ok, timed_out=timed_out and not ok)
        if finding is not Finding.NOTHING:
            return finding
    return Finding.NOTHING


def test_before_a_test_no_failure_shows_anything() -> None:
    failures = Failures()

    assert play(failures, *[False] * 100) is Finding.NOTHING
    assert not failures.are_usual


def test_calls_that_began_before_the_test_are_none_of_it() -> None:
    assert play(under_test(101), *[False] * 100) is Finding.NOTHING


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4])
def test_where_most_calls_are_good_the_failures_are_usual(share: float) -> None:
    usual = 0
    for seed in range(50):
        random, failures = Random(seed), under_test()
        finding = play(failures, *(random.random() >= share for _ in range(300)))
        assert finding in (Finding.PARTIAL, Finding.FAILING)
        usual += failures.are_usual
    assert usual >= 42


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_where_most_calls_fail_it_is_failing(share: float) -> None:
    for seed in range(50):
        random = Random(seed)
        assert (
            play(under_test(), *(random.random() >= share for _ in range(300))) is Finding.FAILING
        )


def test_a_dead_callee_costs_a_few_calls() -> None:
    assert play(under_test(), *[False] * 4) is Finding.FAILING


def test_calls_that_all_time_out_hang() -> None:
    assert play(under_test(), *[False] * 8, timed_out=True) is Finding.HANGING


def test_if_some_are_answered_and_the_others_time_out_it_is_sick() -> None:
    assert play(under_test(), True, *[False] * 30, timed_out=True) is Finding.SICK


def test_after_it_was_failing_the_next_test_begins_anew() -> None:
    failures = under_test()
    assert play(failures, *[False] * 8) is Finding.FAILING
    assert failures.test is None

    failures.begin_test(1)

    assert play(failures, *[True] * 8) is Finding.PARTIAL


def test_once_failures_are_usual_nothing_more_is_under_test() -> None:
    failures = under_test()
    assert play(failures, *[True] * 8) is Finding.PARTIAL

    assert play(failures, *[False] * 100) is Finding.NOTHING
    assert failures.are_usual


def test_time_outs_before_a_test_began_are_none_of_it() -> None:
    failures = under_test()
    assert play(failures, *[False] * 8, timed_out=True) is Finding.HANGING

    failures.begin_test(1)

    assert play(failures, *[False] * 8) is Finding.FAILING


def test_a_test_goes_on_though_it_is_asked_for_again() -> None:
    failures = under_test(5)
    assert play(failures, *[False] * 6) is Finding.NOTHING
    failures.begin_test(100)

    # Two counted, from the fifth on; the third is enough.
    assert failures.add(7, ok=False, timed_out=False) is Finding.FAILING


@pytest.mark.parametrize(("timed_out", "finding"), [(3, Finding.FAILING), (4, Finding.SICK)])
def test_if_half_of_the_failures_came_in_time_they_are_failures(
    timed_out: int, finding: Finding
) -> None:
    failures = under_test()
    failures.add(1, ok=True, timed_out=False)

    found = [failures.add(token, ok=False, timed_out=token <= timed_out) for token in range(1, 7)]

    assert found == [*[Finding.NOTHING] * 5, finding]
