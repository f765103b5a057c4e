"""Calls that were given up: how many in a row, and after how long, say that nothing comes back."""

from __future__ import annotations

from math import log

import pytest

from recloser import Outcome
from recloser._circuit.given_up import _LONG, GivenUp
from recloser._circuit.votes import INTERRUPTED, LEFT, Ending

ENOUGH = log(1_000_000.0)
FLOOR = 0.005


def ending(waited: float, how: str = INTERRUPTED, token: int = 1) -> Ending:
    made = Ending(token, Outcome.CANCELLED, waited, 100.0, rule=how)
    made.waited = waited
    return made


def needed(
    waited: float, *, answers: float = 0.0, share_above: float = 0.0, how: str = LEFT
) -> int:
    """How many calls like this one are enough; 0 if a hundred are not."""
    run = GivenUp()
    for number in range(1, 101):
        run.add(ending(waited, how), answers, share_above, FLOOR)
        if run.level >= ENOUGH:
            return number
    return 0


def test_before_the_first_answer_ten_in_a_row_are_enough_or_sixteen_short_ones() -> None:
    assert needed(5.0) == 10
    assert needed(5.0, how=INTERRUPTED) == 10
    assert needed(0.03, how=INTERRUPTED) == 16


def test_a_machine_with_much_to_do_is_late_with_its_time_outs() -> None:
    run = GivenUp()
    for number in range(16):
        run.add(ending(0.03 if number % 3 else 0.1), 0.0, 0.0, FLOOR)

    assert run.level >= ENOUGH


def test_where_calls_were_answered_it_takes_ten_seconds_or_a_hundred_calls() -> None:
    run = GivenUp()
    for number in range(20):
        made = ending(0.5, token=number + 1)
        made.now = 100.0 + 0.1 * number
        run.add(made, 100.0, 0.0, FLOOR)

    assert run.since == 99.5
    assert run.are_enough(102.0, 0.0, ENOUGH, 5)
    assert not run.are_enough(102.0, 100.0, ENOUGH, 5)
    assert not run.are_enough(109.4, 100.0, ENOUGH, 5)
    assert run.are_enough(109.5, 100.0, ENOUGH, 5)
    for number in range(80):
        assert not run.are_enough(102.0, 100.0, ENOUGH, 5)
        run.add(ending(0.5, token=number + 21), 100.0, 0.0, FLOOR)
    assert run.are_enough(102.0, 100.0, ENOUGH, 5)


def test_before_the_first_answer_clients_that_never_wait_say_nothing() -> None:
    assert needed(0.03) == 0
    assert needed(0.99) == 0


@pytest.mark.parametrize(
    ("share_above", "calls"), [(1.0, 0), (0.6, 0), (0.45, 18), (0.2, 9), (0.05, 5), (0.0, 3)]
)
def test_the_fewer_normal_calls_take_so_long_the_fewer_are_enough(
    share_above: float, calls: int
) -> None:
    """`Policy.min_failures` comes on top."""
    assert needed(0.2, answers=1000.0, share_above=share_above) == calls


def test_a_few_answers_say_less_than_many() -> None:
    calls = [needed(0.2, answers=answers, share_above=0.0) for answers in (1.0, 4.0, 1000.0)]

    assert calls == sorted({*calls}, reverse=True)


@pytest.mark.parametrize(
    ("answers", "share_above", "longer"), [(10, 0.0, 1 / 12), (28, 0.25, 8 / 30)]
)
def test_one_more_answer_of_each_kind_is_added_to_those_that_are_known(
    answers: int, share_above: float, longer: float
) -> None:
    run = GivenUp()

    run.add(ending(0.5), answers, share_above, 0.0)

    assert run.level == pytest.approx(-log(longer))


def test_callers_that_left_early_neither_add_nor_take() -> None:
    run = GivenUp()
    run.add(ending(0.5), 1000.0, 0.1, FLOOR)
    level = run.level

    run.add(ending(0.05), 1000.0, 0.9, FLOOR)

    assert run.level == level
    assert run.calls == 1


def test_before_the_first_answer_a_time_out_is_known_by_its_even_length() -> None:
    run = GivenUp()
    for number in range(100):
        # A reader of a search box, who types at an uneven pace.
        run.add(ending(0.05 * (1 + 2 * (number % 3)), token=number), 0.0, 0.0, FLOOR)

        assert run.level < ENOUGH


def test_a_run_remembers_its_first_call_and_its_least_patient_caller() -> None:
    run = GivenUp()
    for number, waited in enumerate((0.3, 0.25, 0.35), 7):
        run.add(ending(waited, token=number), 0.0, 0.0, FLOOR)

    assert (run.calls, run.first_token, run.shortest) == (3, 7, 0.25)


def test_who_waits_half_as_long_is_as_patient() -> None:
    run = GivenUp()
    run.add(ending(4.0), 0.0, 0.0, FLOOR)

    assert run.is_as_long(2.0)
    assert not run.is_as_long(1.9)


def test_a_race_takes_back_two_calls() -> None:
    run = GivenUp()
    for _ in range(5):
        run.add(ending(2.0), 0.0, 0.0, FLOOR)
    level = run.level

    run.take_back()

    assert run.calls == 3
    assert run.level == pytest.approx(0.6 * level)
    for _ in range(3):
        run.take_back()
    assert run.calls == run.level == 0


def test_time_outs_that_were_even_until_a_longer_one_begin_anew() -> None:
    """One reader of a search box who is patient once: the lengths are not those of a time-out."""
    run = GivenUp()
    for _ in range(5):
        run.add(ending(0.03), 0.0, 0.0, FLOOR)
    assert run.calls == 5

    run.add(ending(0.13, token=6), 0.0, 0.0, FLOOR)

    assert (run.calls, run.first_token, run.shortest) == (1, 6, 0.13)


def test_time_outs_that_were_even_until_a_shorter_one_begin_anew() -> None:
    run = GivenUp()
    for _ in range(5):
        run.add(ending(0.13), 0.0, 0.0, FLOOR)

    run.add(ending(0.03, token=6), 0.0, 0.0, FLOOR)

    assert (run.calls, run.first_token) == (1, 6)


def test_the_lengths_of_time_outs_may_differ_by_a_factor_of_four() -> None:
    run = GivenUp()
    for waited in (0.25, 0.0625, 0.25, 0.125):
        run.add(ending(waited), 0.0, 0.0, FLOOR)

    assert run.calls == 4


def test_where_many_calls_are_slow_anyway_it_takes_more_of_them() -> None:
    run = GivenUp()
    for slow in (0.005, 0.2, 0.4, 0.6):
        run.add(ending(0.3), 1000.0, 0.0, slow)

    assert run.calls == 3
    assert run.level == pytest.approx(-log(0.006 * 0.2008 * 0.4006), rel=0.01)


def test_what_half_of_the_calls_outlast_still_says_something() -> None:
    run = GivenUp()

    run.add(ending(0.3), 1000.0, 0.5, 0.0)
    run.add(ending(0.3), 1000.0, 0.51, 0.0)

    assert run.calls == 1


def test_a_call_that_is_slow_anyway_may_be_one_that_its_caller_leaves() -> None:
    run = GivenUp()
    run.add(ending(0.3), 1_000_000.0, 0.3, 0.1)

    assert run.level == pytest.approx(-log(0.1 + 0.9 * 0.3), rel=1e-3)


def test_who_waits_just_long_enough_is_patient_and_who_leaves_sooner_says_nothing() -> None:
    """Before the first answer: short waits say something only where they look like time-outs."""
    assert needed(_LONG, how=LEFT) == 10
    assert needed(0.9 * _LONG, how=LEFT) == 0
    run = GivenUp()
    run.add(ending(0.9 * _LONG, LEFT), 0.0, 0.0, FLOOR)
    assert run.calls == 0
    run.add(ending(_LONG, LEFT), 0.0, 0.0, FLOOR)
    assert run.calls == 1
