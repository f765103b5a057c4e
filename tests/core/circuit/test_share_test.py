"""The share test: how sure it is, how often it is wrong, and when it decides."""

from __future__ import annotations

from random import Random

import pytest

from recloser._circuit.share_test import _ENOUGH, _FEWER, _MOST_CALLS, _TOO_FEW, ShareTest


def after(enough: float, good: int, bad: int) -> ShareTest:
    """A test after so many calls; half of the bad ones were slow."""
    test = ShareTest(enough)
    test.good, test.slow, test.failed = good, bad // 2, bad - bad // 2
    return test


def decided(enough: float, share: float, chance: Random) -> tuple[bool, int]:
    """Whether it accepts a callee of which a share of the calls is good, and after how many."""
    test = ShareTest(enough)
    while test.is_enough is None:
        if chance.random() < share:
            test.good += 1
        else:
            test.failed += 1
    assert test.is_enough is not None
    return test.is_enough, test.calls


# How fast it decides


@pytest.mark.parametrize("enough", [0.05, 0.25, 0.5, 0.9])
def test_eight_good_calls_of_eight_are_enough_and_seven_are_not(enough: float) -> None:
    assert after(enough, 7, 0).is_enough is None
    assert after(enough, 8, 0).is_enough is True


@pytest.mark.parametrize(("enough", "bad"), [(0.9, 1), (0.75, 2), (0.5, 3), (0.25, 7)])
def test_the_more_must_be_good_the_fewer_bad_calls_reject(enough: float, bad: int) -> None:
    assert after(enough, 0, bad - 1).is_enough is None
    assert after(enough, 0, bad).is_enough is False
    assert after(enough, 0, 5 + bad).is_enough is False


@pytest.mark.parametrize(("good", "bad"), [(0, 0), (1, 1), (5, 3), (10, 10)])
def test_a_few_calls_of_both_kinds_decide_nothing(good: int, bad: int) -> None:
    assert after(0.5, good, bad).is_enough is None


def test_a_slow_call_is_as_bad_as_a_failed_one() -> None:
    slow, failed = ShareTest(0.5), ShareTest(0.5)
    slow.slow = failed.failed = 2
    slow.good = failed.good = 3

    assert slow.ratio == failed.ratio
    assert slow.calls == failed.calls == 5


@pytest.mark.parametrize(("good", "expected"), [(49, False), (50, True)])
def test_after_many_calls_the_share_itself_decides(good: int, expected: bool) -> None:
    assert after(0.25, good, _MOST_CALLS - 1 - good).is_enough is None

    assert after(0.25, good, _MOST_CALLS - good).is_enough is expected


def test_it_decides_after_so_many_calls_at_the_latest() -> None:
    chance = Random(1)

    calls = [decided(0.5, share, chance)[1] for share in (0.4, 0.45, 0.5, 0.55) for _ in range(200)]

    assert max(calls) == _MOST_CALLS


# How often it is wrong


@pytest.mark.parametrize("enough", [0.25, 0.5, 0.9])
@pytest.mark.parametrize(("good", "bad"), [(0, 0), (3, 0), (0, 2), (10, 7), (40, 60)])
def test_if_just_enough_are_good_the_inverse_ratio_has_mean_one(
    enough: float, good: int, bad: int
) -> None:
    """In closed form, whatever came before: Ville's inequality follows from that."""
    after_good = 1.0 / after(enough, good + 1, bad).ratio
    after_bad = 1.0 / after(enough, good, bad + 1).ratio

    mean = enough * after_good + (1.0 - enough) * after_bad

    assert mean == pytest.approx(1.0 / after(enough, good, bad).ratio)


@pytest.mark.parametrize("enough", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("better", [0.0, 0.05])
def test_a_callee_that_is_good_enough_is_rejected_once_in_four_times_at_most(
    enough: float, better: float
) -> None:
    chance, repeats, rejected = Random(1), 3_000, 0

    for _ in range(repeats):
        accepted, calls = decided(enough, enough + better, chance)
        # After so many calls it is no longer the ratio that decides.
        rejected += not accepted and calls < _MOST_CALLS

    assert 0.0 < rejected / repeats <= 1.0 / _TOO_FEW


@pytest.mark.parametrize("enough", [0.25, 0.5, 0.9])
def test_of_callees_that_are_too_bad_hardly_one_is_accepted(enough: float) -> None:
    """On average over the shares that the test reckons with, as they are equally likely."""
    chance, repeats, accepted = Random(1), 1_000, 0

    for part in _FEWER:
        for _ in range(repeats):
            taken, calls = decided(enough, part * enough, chance)
            accepted += taken and calls < _MOST_CALLS

    assert accepted / (repeats * len(_FEWER)) <= 1.0 / _ENOUGH


def test_a_callee_of_which_three_in_five_calls_fail_is_seldom_accepted() -> None:
    """With a ratio of 10, it was, more than once in five times."""
    chance = Random(1)

    accepted = sum(decided(0.5, 0.4, chance)[0] for _ in range(2_000))

    assert accepted / 2_000 <= 0.16


# The ends of the range


@pytest.mark.parametrize(("enough", "bad"), [(0.0, 199), (1.0, 1)])
def test_a_share_of_none_or_all_is_tested_all_the_same(enough: float, bad: int) -> None:
    assert after(enough, 8, 0).is_enough is True
    assert after(enough, 0, bad).is_enough is False


def test_if_all_must_be_good_one_bad_call_among_good_ones_rejects() -> None:
    assert after(1.0, 3, 1).is_enough is False


def test_with_lower_odds_fewer_bad_calls_are_too_many() -> None:
    calls: list[int] = []
    for odds in (1.0, 0.5):
        test = ShareTest(0.5, odds)
        while test.is_enough is None:
            test.failed += 1
        assert test.is_enough is False
        calls.append(test.calls)

    assert calls[1] < calls[0]


@pytest.mark.parametrize(("named", "meant"), [(0.0, 0.01), (1.0, 0.99), (-5.0, 0.01)])
def test_a_share_of_none_or_all_is_one_of_hardly_any_or_nearly_all(
    named: float, meant: float
) -> None:
    assert after(named, 3, 4).ratio == after(meant, 3, 4).ratio
