"""The limit: how it begins, what it admits, and what it does while calls are fast.

What it does while they are not is in `test_search.py`, and `test_limit_in_use.py` plays it
against a queue.
"""

from __future__ import annotations

import pytest
from tests.support.limit_play import FAST, SLOW, Play, limited, returning
from tests.support.limited_callee import CALM, THRESHOLD, USUAL, new_limit

from recloser._circuit.limit import Limit
from recloser._circuit.new_normal import Usual
from recloser._circuit.round import Finding

# How it begins


def test_if_calls_come_back_twice_as_many_are_let_through_as_were_in_flight() -> None:
    assert new_limit(6.0).size == 12.0


def test_if_none_came_back_as_many_are_let_through_until_the_first_one_does() -> None:
    limit = new_limit(6.0, mute=True)
    assert limit.size == 6.0
    assert not limit.succeeded

    limit.ended(1, SLOW, 1.0, THRESHOLD, ok=True)
    assert limit.size == 12.0
    assert limit.succeeded

    limit.ended(2, SLOW, 1.0, THRESHOLD, ok=True)
    assert limit.size == 12.0


@pytest.mark.parametrize(("latency", "size"), [(0.44, 12.0), (0.45, 6.0), (3.0, 6.0)])
def test_if_the_first_one_is_severely_slow_no_more_are_let_through(
    latency: float, size: float
) -> None:
    limit = new_limit(6.0, mute=True)

    limit.ended(1, latency, 1.0, THRESHOLD, ok=True)
    limit.ended(2, FAST, 1.0, THRESHOLD, ok=True)

    assert limit.size == size


def test_a_failure_is_no_sign_that_calls_come_back() -> None:
    limit = new_limit(6.0, mute=True)

    limit.ended(1, SLOW, 1.0, THRESHOLD, ok=False)

    assert (limit.size, limit.succeeded) == (6.0, False)


def test_calls_in_flight_when_it_begins_are_of_no_round_but_show_load() -> None:
    play = Play(new_limit(6.0, mute=True))
    play.limit._round.first = 9

    for token in (1, 2, 3):
        assert play.end(token, SLOW) is Finding.NOTHING

    assert len(play.limit.load._pairs) == 3
    assert not play.limit._round._answers
    assert play.limit.latest == 3


# Admission


@pytest.mark.parametrize(("running", "admitted"), [(0, True), (7, True), (8, False), (9, False)])
def test_no_more_calls_are_in_flight_than_it_says(running: int, admitted: bool) -> None:
    assert bool(limited(8.0).ask(running)) is admitted


def test_it_knows_the_most_calls_in_flight() -> None:
    play = limited(8.0)

    for running in (2, 5, 3, 8):
        play.ask(running)

    assert play.limit.peak == 6  # the last one was refused
    assert play.limit._round.peak == 9


@pytest.mark.parametrize(("refused", "refuses"), [(0, False), (1, False), (2, True)])
def test_one_refusal_is_chance_and_two_are_not(refused: int, refuses: bool) -> None:
    play = limited()

    play.refuse(refused)

    assert play.limit.refuses is refuses


def test_refusals_are_forgotten_after_a_few_hundred_calls() -> None:
    play = limited()
    play.refuse(100)

    for _ in range(225):
        play.ask()
    assert play.limit.refuses
    for _ in range(20):
        play.ask()

    assert not play.limit.refuses


def test_the_wait_at_the_limit_is_the_time_that_a_call_takes() -> None:
    play = limited(8.0)
    play.limit.level = 0.7

    assert play.limit.wait(8, 0.0) == 0.7
    assert play.limit.wait(7, 0.0) == 0.0


# Silence


def test_it_is_mute_after_eight_typical_latencies_without_an_answer() -> None:
    play = limited()
    play.ask()

    assert not play.limit.is_mute(5, 8.0 * THRESHOLD, THRESHOLD)
    assert play.limit.is_mute(5, 8.01 * THRESHOLD, THRESHOLD)

    play.limit.level = 1.0
    assert not play.limit.is_mute(5, 8.0, THRESHOLD)
    assert play.limit.is_mute(5, 8.1, THRESHOLD)


def test_without_calls_in_flight_silence_says_nothing() -> None:
    play = limited()
    assert not play.limit.is_mute(0, 100.0, THRESHOLD)

    play.now = 100.0
    play.ask()

    assert not play.limit.is_mute(5, 101.0, THRESHOLD)
    assert play.limit.is_mute(5, 103.0, THRESHOLD)


def test_an_answer_ends_the_silence_and_a_failure_does_not() -> None:
    play = limited()
    tokens = [play.ask(running) for running in range(3)]
    play.now = 2.0

    play.end(tokens[0], 2.0, ok=False)
    assert play.limit.is_mute(5, 3.0, THRESHOLD)
    play.end(tokens[1], 2.0)

    assert not play.limit.is_mute(5, 3.0, THRESHOLD)


@pytest.mark.parametrize(
    ("newer", "size", "mute"), [(2, 8.0, False), (3, 8.0, True), (1, 1.0, True)]
)
def test_only_calls_that_began_after_the_last_answer_can_be_mute(
    newer: int, size: float, mute: bool
) -> None:
    play = limited(size)
    play.ask()

    assert play.limit.is_mute(newer, 100.0, THRESHOLD) is mute


# Rounds


@pytest.mark.parametrize(
    ("size", "answers"), [(1.0, 4), (1.1, 5), (1.5, 6), (2.0, 8), (8.0, 8), (20.0, 20), (100.0, 32)]
)
def test_a_round_takes_as_many_answers_as_calls_are_in_flight(size: float, answers: int) -> None:
    play = limited(size)

    play.answer(*[SLOW] * (answers - 1))
    assert play.limit.level == 0.0
    play.answer(SLOW)

    assert play.limit.level == SLOW


def test_calls_that_began_in_the_round_before_are_not_in_the_next_one() -> None:
    play = limited(8.0)
    earlier = [play.ask(running) for running in range(5)]
    play.round(SLOW)
    answers = play.limit._round._answers

    for token in earlier:
        play.end(token, SLOW)

    assert not answers


def test_a_latency_that_was_usual_is_not_slow_whatever_the_threshold_is() -> None:
    """The mixture of calls may be another one."""
    limit = Limit(8.0, CALM, Usual(0.1, 1.0, 600.0), 1, 0.0)
    limit.begin_suspicious(None, is_first=True, piled_up=1)

    assert Play(limit).round(0.9) is Finding.EASED


# Calls are fast


def test_the_first_limit_ends_at_once_if_calls_are_fast() -> None:
    assert limited(is_first=True).round(FAST, running=5) is Finding.EASED


def test_another_one_soon_after_it_ends_when_it_was_calm_for_a_while() -> None:
    play = limited()
    play.refuse(2)
    play.round(FAST, running=5)
    play.limit._refusals.share = 0.0

    play.now = CALM - 0.1
    assert play.round(FAST, running=5) is Finding.NOTHING
    play.now = CALM

    assert play.round(FAST, running=5) is Finding.EASED


def test_a_first_limit_that_found_slow_calls_does_not_end_at_once_either() -> None:
    play = limited(is_first=True)
    play.round(SLOW, running=5)

    assert play.round(FAST, running=5) is Finding.NOTHING


def test_with_few_calls_in_flight_a_limit_is_none() -> None:
    play = limited()
    play.limit._refusals.last = play.now

    assert play.round(FAST, running=2) is Finding.EASED
    assert play.round(FAST, running=3) is Finding.NOTHING


@pytest.mark.parametrize(("size", "grown"), [(1.0, 2.0), (2.0, 3.0), (4.0, 5.0), (16.0, 20.0)])
def test_while_calls_are_fast_and_refused_it_grows_by_a_quarter_and_at_least_by_one(
    size: float, grown: float
) -> None:
    play = limited(size, is_first=True)
    play.refuse(20)

    assert play.round(FAST) is Finding.NOTHING

    assert play.limit.size == grown


def test_after_a_recovery_each_fast_answer_adds_three_calls_until_one_is_slow() -> None:
    play = returning(2.0)
    play.refuse(20)

    play.answer(FAST, FAST, FAST)
    assert play.limit.size == 11.0

    play.answer(SLOW)
    play.answer(FAST, FAST)
    assert play.limit.size == 11.0


def test_after_a_recovery_it_grows_only_while_calls_are_refused() -> None:
    play = returning(2.0)

    play.answer(FAST, FAST, FAST)

    assert play.limit.size == 2.0


# A mixture


def mixture(fast: int, slow: int, latency: float = FAST) -> list[float]:
    return [latency] * fast + [1.0] * slow


@pytest.mark.parametrize(
    ("fast", "latency", "expected"),
    [
        (5, 0.15, Finding.MIXED),
        (4, 0.15, Finding.NOTHING),
        (5, 1.5 * USUAL.median, Finding.MIXED),
        (5, 0.151, Finding.NOTHING),
    ],
)
def test_it_is_a_mixture_if_a_fifth_of_the_calls_is_as_fast_as_ever(
    fast: int, latency: float, expected: Finding
) -> None:
    play = limited(21.0)

    assert play.answer(*mixture(fast, 21 - fast, latency)) is expected


def test_a_mixture_refuses_nobody_and_knows_its_share_of_slow_calls() -> None:
    play = limited(8.0)

    play.refuse(1)
    assert play.answer(*mixture(3, 5)) is Finding.MIXED

    assert play.limit.size == 2.0 * 10.0
    assert play.limit.slow_share == 5 / 8


def test_where_load_is_likely_some_calls_are_fast_because_others_were_refused() -> None:
    play = limited(8.0)
    play.limit.load.is_likely = True

    assert play.answer(*mixture(3, 5)) is Finding.NOTHING


# Failures


def test_slow_answers_are_no_time_outs_where_most_of_few_calls_fail_at_once() -> None:
    """It opens: it is no callee that is slow only."""
    play = limited(3.0)
    play.limit.failures.begin_test(1)

    while play.limit.failures.test is not None:
        play.answer(SLOW)
        play.answer(0.1, 0.1, ok=False)
        play.answer(SLOW)
        play.answer(0.1, ok=False)

    assert Finding.FAILING in play.findings


def test_while_one_call_is_sent_at_a_time_one_that_is_late_ends_no_round() -> None:
    """Answers that came before are of another limit."""
    play = limited(8.0)
    play.answer(*[SLOW] * 6)
    play.limit.pause(0.0)
    level = play.limit.level
    token = play.ask()
    play.now += 10.0

    assert play.limit.add_overdue(token, play.now, THRESHOLD) is Finding.NOTHING

    assert play.limit.is_pausing
    assert play.limit.level == level


# Calls that somebody else has admitted


def test_calls_that_were_admitted_elsewhere_count_however_many_there_are() -> None:
    limit = new_limit(2.0, mute=True)

    for token in range(1, 6):
        limit.begin(token, token - 1, 0.0)

    assert limit.peak == 5
    assert not limit.admit(6, 5, 0.0)


def test_a_call_that_was_refused_elsewhere_counts_as_one_that_was_refused_here() -> None:
    here, elsewhere = new_limit(2.0), new_limit(2.0)
    for number in range(50):
        assert not here.admit(number, 4, 1.0)
        elsewhere.refuse(4, 1.0)

    assert elsewhere._refusals.are_some
    assert elsewhere._refusals.are_some == here._refusals.are_some
    assert elsewhere._ends_at_once == here._ends_at_once


def test_calls_before_a_limit_is_in_force_are_of_no_round_and_later_ones_are() -> None:
    limit = new_limit(4.0)
    first = limit._round.first

    limit.count_from(first + 10)
    assert limit._round.first == first + 10

    # It never goes back.
    limit.count_from(first + 5)
    assert limit._round.first == first + 10


# What it knows at first, and what refusals and pauses change


def test_before_any_answer_no_call_came_back_and_those_in_flight_are_numbered() -> None:
    limit = new_limit(6.0, mute=True)

    assert limit.latest == 0
    assert [*limit._in_flight.values()] == [*range(1, len(limit._in_flight) + 1)]


def test_a_call_that_begins_is_one_more_in_flight() -> None:
    limit = new_limit(6.0)

    limit.begin(7, 3, 1.0)

    assert limit._in_flight[7] == 4


def test_where_calls_are_refused_a_limit_does_not_end_at_the_first_fast_answers() -> None:
    limit = new_limit(6.0, is_first=True)
    assert limit._ends_at_once

    for _ in range(20):
        limit.refuse(12, 1.0)

    assert not limit._ends_at_once


@pytest.mark.parametrize(("longest", "singly"), [(0.0, True), (5.0, False)])
def test_calls_with_pauses_between_them_do_not_follow_each_other(
    longest: float, singly: bool
) -> None:
    limit = new_limit(6.0)
    limit.level = 0.5

    limit.pause(longest)

    assert limit.is_pausing
    assert limit.sends_singly is singly


# One that is kept on average only


@pytest.mark.parametrize(("varies", "ratio"), [(False, 1.0), (True, 1.5)])
def test_where_the_number_of_calls_varies_they_may_take_longer_by_its_root(
    varies: bool, ratio: float
) -> None:
    for latency, is_slow in ((0.99, False), (1.01, True)):
        play = limited(4.0)
        play.limit.varies = varies
        play.round(latency * ratio * THRESHOLD)

        assert play.limit.slow_share == float(is_slow)


@pytest.mark.parametrize(("varies", "compared"), [(False, 8.0), (True, 3.0)])
def test_where_the_number_of_calls_varies_it_counts_how_many_there_were(
    varies: bool, compared: float
) -> None:
    play = limited(8.0)
    play.limit.varies = varies
    play.refuse(100)

    play.round(10.0 * SLOW, running=2)

    assert play.limit.size < 8.0
    assert play.limit.load._before == (compared, 10.0 * SLOW)


@pytest.mark.parametrize(("size", "after"), [(2.0, 40.0), (19.0, 38.0), (1.0, 2.0)])
def test_what_had_piled_up_counts_only_while_the_limit_is_as_it_began(
    size: float, after: float
) -> None:
    """When the first one comes back, twice as many are let through as were waiting for it."""
    limit = Limit(2.0, CALM, USUAL, 1, 0.0)
    limit.begin_suspicious(range(1, 21), is_first=True, piled_up=20)
    limit.size = size

    Play(limit).end(1, SLOW)

    assert limit.size == after
