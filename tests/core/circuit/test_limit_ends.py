"""The limit: what it keeps, and what it forgets, when a call, a trial or a pause ends."""

from __future__ import annotations

import pytest
from tests.support.limit_play import FAST, SEVERE, SLOW, limited, paused, returning
from tests.support.limited_callee import THRESHOLD, USUAL

from recloser._circuit.round import Finding, Round
from recloser._circuit.search import WIDEST

# Calls


def test_a_late_call_may_be_the_first_of_its_round() -> None:
    play = limited(8.0)
    limit = play.limit

    limit.add_overdue(limit._round.first, play.now, THRESHOLD)

    assert len(limit._round._overdue) == 1


def test_a_late_call_may_complete_a_round_of_slow_answers() -> None:
    play = limited(8.0)
    for _ in range(12):
        play.answer(SLOW, every=0.0)
    late = play.ask()
    before = play.limit._round

    play.now += 1.0
    play.limit.add_overdue(late, play.now, THRESHOLD)

    assert play.limit._round is not before
    assert play.limit.slow_share == 1.0


def test_a_call_that_is_not_in_flight_stays_unknown_with_another_token() -> None:
    limit = limited(8.0).limit

    limit.rename(5, 20)

    assert limit._in_flight == {}


# Failures


def test_calls_that_began_before_a_test_of_failures_do_not_count_in_it() -> None:
    play = limited(2.0)
    began_before = [play.ask(running) for running in range(2)]

    play.limit.shed()
    for token in began_before:
        play.end(token, 0.01, ok=False)

    test = play.limit.failures.test
    assert test is not None
    assert test.calls == 0
    play.answer(0.01, ok=False)
    assert test.calls == 1


def test_what_a_trial_took_is_not_given_back_once_calls_fail() -> None:
    limit = limited(8.0).limit
    limit._round.peak = 8
    limit._try_lower()
    assert limit.size == 4.0

    limit.shed()
    limit._end_trial()

    assert limit.size == 3.0


def test_a_limit_that_is_no_whole_number_falls_by_a_quarter_too() -> None:
    limit = limited(4.5).limit

    limit.shed()

    assert limit.size == 0.75 * 4.5


def test_where_some_calls_always_fail_those_that_time_out_count_and_others_do_not() -> None:
    play = limited(8.0)
    play.limit.failures.are_usual = True

    play.answer(0.01, ok=False)
    assert play.limit._round._answers == []
    play.answer(1.0, ok=False)
    assert len(play.limit._round._answers) == 1


def test_where_some_calls_always_fail_their_share_does_not_lower_the_limit() -> None:
    play = limited(8.0)
    play.limit.failures.are_usual = True

    play.answer(*[1.0] * 5, ok=False)
    play.answer(SLOW, SLOW, SLOW)

    assert play.limit.succeeded
    assert play.limit.level == SLOW


def test_nothing_comes_back_if_eight_calls_in_a_row_timed_out_since_the_last_answer() -> None:
    play = limited(40.0)
    play.answer(*[1.0] * 4, ok=False, every=1.0)
    play.answer(FAST)

    assert play.answer(*[1.0] * 7, ok=False, every=1.0) is Finding.NOTHING
    assert play.answer(1.0, ok=False, every=1.0) is Finding.HANGING


def test_after_a_recovery_a_call_that_fails_at_once_ends_the_return_of_the_load() -> None:
    play = returning(2.0)
    play.refuse(20)
    play.answer(FAST)
    size = play.limit.size

    play.answer(0.01, ok=False)
    play.answer(FAST)

    assert play.limit.size == size


# Single calls


def test_single_calls_that_fail_at_once_are_not_mild() -> None:
    play = paused(level=SLOW)

    for _ in range(20):
        play.now += 5.0
        assert play.answer(0.01, ok=False) is Finding.SICK


def test_after_a_mild_time_a_severe_call_does_not_end_the_return_of_the_load() -> None:
    play = paused(level=SLOW)
    while Finding.MILD not in play.findings:
        play.now += 5.0
        play.answer(SLOW)
    play.refuse(20)
    size = play.limit.size

    play.answer(SEVERE)
    play.answer(SLOW)

    assert play.limit.size == size + 2.0


def test_once_a_latency_is_accepted_a_slow_call_ends_the_return_of_the_load() -> None:
    play = limited(4.0)
    play.limit.accept(USUAL, play.token, play.now)
    play.refuse(20)
    play.answer(FAST)
    assert play.limit.size == 5.0

    play.answer(SLOW)
    play.answer(FAST)

    assert play.limit.size == 5.0


def test_a_pause_begins_at_the_end_of_a_failed_call_too() -> None:
    play = paused(longest=4.0, level=0.5)
    play.now = 0.6
    token = play.ask()
    assert token

    play.now = 2.0
    play.end(token, 0.5, ok=False)

    assert not play.ask()
    play.now = 2.6
    assert play.ask()


def test_after_a_mild_time_a_slow_call_is_slow_again_once_calls_are_sent_singly() -> None:
    play = paused(level=SLOW)
    while Finding.MILD not in play.findings:
        play.now += 5.0
        play.answer(SLOW)
    assert not play.limit.is_pausing

    play.limit.pause(4.0)
    play.now += 5.0

    assert play.answer(SLOW) is Finding.SICK


def test_a_latency_that_was_accepted_is_not_any_more_once_calls_are_sent_singly() -> None:
    limit = limited(8.0).limit
    limit.accept(USUAL, 20, 1.0)
    assert limit.is_accepted

    limit.pause(2.0)

    assert not limit.is_accepted


def test_load_takes_no_time_to_return_where_nobody_is_refused() -> None:
    play = paused(level=SEVERE)
    assert play.limit.return_takes(1000.0) == 0.0

    play.refuse(20)

    assert play.limit.return_takes(1000.0) == pytest.approx(SEVERE * 9.2, rel=0.01)


def test_once_a_latency_is_accepted_calls_have_been_slow_since_then() -> None:
    limit = limited(8.0).limit

    limit.accept(USUAL, 20, 100.0)

    assert limit._slow_since == limit._severe_since == 100.0


def test_while_the_load_returns_answers_of_before_say_nothing_of_it() -> None:
    limit = limited(8.0).limit
    for in_flight in (1, 2, 4, 8) * 10:
        limit.load.add(in_flight, 0.1 * in_flight)

    limit.accept(USUAL, 20, 100.0)

    assert limit.load.compare(8.0, 0.1, varies=False) is None


def test_however_wide_a_limit_becomes_it_has_a_bound() -> None:
    play = limited(1.5e6)

    play.round(FAST)

    assert play.limit.size == WIDEST


def test_only_the_first_slow_round_after_mild_single_calls_shows_that_it_is_the_load() -> None:
    play = limited(8.0)
    play.limit.accept(USUAL, play.token, play.now)
    play.round(SEVERE)
    assert play.limit.load.is_likely
    assert play.limit.load.is_sure

    play.limit.load.is_likely = play.limit.load.is_sure = False
    play.round(SEVERE)

    assert not play.limit.load.is_sure


# Load


def test_where_others_wait_a_slow_single_call_does_not_show_that_fewer_are_no_help() -> None:
    play = limited(2.0)
    limit = play.limit
    play.refuse(200)
    limit._round = Round(play.token + 1)
    limit.load.is_likely, limit.load.useless = True, 3

    play.round(SLOW)

    assert limit.load.useless == 0


def test_where_nobody_else_waits_one_slow_call_at_a_time_is_no_sickness() -> None:
    play = limited(1.0)
    play.limit.load.is_likely = True

    assert play.round(SLOW) is Finding.NOTHING


def test_a_limit_that_was_lowered_for_good_is_not_lowered_again_at_once() -> None:
    play = limited(16.0)
    limit = play.limit
    limit.load.is_likely = limit.load.is_sure = True
    limit._severe_since = -10.0
    play.round(SEVERE, running=10)
    assert limit.size < 16.0
    limit.load.forget()
    play.round(SEVERE)
    size = limit.size

    limit.load.forget()
    play.round(SEVERE)

    assert limit.size == size
