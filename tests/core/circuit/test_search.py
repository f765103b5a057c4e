"""The search for the limit: how it finds out why calls are slow, and what it does about it."""

from __future__ import annotations

from math import ceil

import pytest
from tests.support.limit_play import FAST, SEVERE, SLOW, Play, limited, paused
from tests.support.limited_callee import CALM, THRESHOLD, USUAL, new_limit

from recloser._circuit.limit import Limit
from recloser._circuit.round import Finding

# Slow calls: the experiment


def test_while_nobody_is_refused_it_is_not_lowered_for_ten_seconds() -> None:
    play = limited(8.0)
    play.now = 9.8
    play.round(SLOW, running=7)
    assert play.limit.size == 8.0

    play.now = 10.0
    play.round(SLOW, running=7)

    assert play.limit.size == 4.0


def test_what_an_experiment_took_is_given_back_if_nobody_was_refused_before_it() -> None:
    play = limited(16.0)
    play.now = 10.0
    play.round(0.4, running=15)
    assert play.limit.size == 8.0
    play.refuse(20)
    assert play.limit.refuses

    play.round(0.2, running=7)

    assert play.limit.load.is_sure
    assert play.limit.size == 16.0
    assert not play.limit.refuses


def experiment(play: Play, latency: float = SLOW) -> Play:
    """Lower the limit to find out whether there are too many calls."""
    before = play.limit.size
    play.refuse(20)
    assert play.round(latency, running=int(before) - 1) is Finding.NOTHING
    assert play.limit.size == before / 2
    return play


def test_where_calls_are_refused_it_is_halved_at_once() -> None:
    experiment(limited(16.0))


@pytest.mark.parametrize(("refused", "size"), [(0.101, 4.0), (0.099, 8.0)])
def test_where_more_than_a_tenth_is_refused_there_are_too_many_calls(
    refused: float, size: float
) -> None:
    play = limited(8.0)
    play.answer(*[SLOW] * 7, running=7)
    play.limit._refusals.share = refused / (1.0 - 1.0 / 64.0)

    play.answer(SLOW, running=7)

    assert play.limit.size == size


def test_it_is_lowered_from_what_is_in_flight() -> None:
    play = limited(64.0)
    play.now = 10.0

    play.round(SLOW, running=9)

    assert play.limit.size == 5.0


def test_if_half_as_many_are_as_slow_it_is_sickness_and_nobody_is_refused() -> None:
    play = experiment(limited(16.0))

    assert play.round(SLOW, running=7) is Finding.SICK

    assert play.limit.size == 32.0
    assert not play.limit.load.is_likely


def test_sickness_that_was_found_needs_no_other_experiment() -> None:
    play = experiment(limited(16.0))
    play.round(SLOW, running=7)

    play.refuse(20)
    assert play.round(SLOW, running=7) is Finding.SICK

    # As many as have asked, and as many again.
    assert play.limit.size == 2.0 * (32.0 + 2.0)


@pytest.mark.parametrize("answers", [[SLOW] * 32, [FAST] * 16 + [1.0] * 16])
def test_for_many_rounds_without_a_refusal_it_does_not_grow(answers: list[float]) -> None:
    """It once did, to infinity: sickness and mixtures may last for days."""
    play = experiment(limited(16.0))
    play.round(SLOW, running=7)

    for _ in range(2_000):
        play.answer(*answers, running=20)

    assert Finding.SICK in play.findings
    assert play.limit.size <= 42.0


@pytest.mark.parametrize(("size", "expected"), [(3.0, Finding.SICK), (3.1, Finding.NOTHING)])
def test_a_few_calls_that_are_slow_are_sickness_without_any_experiment(
    size: float, expected: Finding
) -> None:
    assert limited(size).round(SLOW) is expected


@pytest.mark.parametrize(("level", "ratio"), [(0.31, 0.8), (0.375, 0.8), (0.4, 0.75), (0.9, 0.5)])
def test_if_half_as_many_are_faster_it_is_load_and_the_limit_follows_the_callee(
    level: float, ratio: float
) -> None:
    play = experiment(limited(16.0), 2.0)
    play.refuse(20)

    assert play.round(level, running=7) is Finding.NOTHING

    assert play.limit.load.is_sure
    assert play.limit.size == pytest.approx(8.0 * ratio)


def test_load_that_refuses_few_calls_keeps_its_limit() -> None:
    play = experiment(limited(16.0), 2.0)
    play.limit._refusals.share = 0.1

    play.round(0.4, running=7)

    assert play.limit.size == 8.0


def test_where_load_is_likely_a_lower_limit_that_is_no_help_is_raised_again() -> None:
    play = experiment(limited(16.0), 2.0)
    play.round(0.4, running=7)  # that was a help
    play.limit.load.forget()
    size = play.limit.size

    play.limit.load.lowered(2.0 * size, 0.4)
    assert play.round(0.4, running=int(size) - 1) is Finding.NOTHING

    assert play.limit.size >= 1.25 * size
    assert play.limit.load.useless == 1


def test_load_at_one_call_at_a_time_is_not_ours() -> None:
    """Others wait for the same callee."""
    play = limited(1.0)
    play.limit.load.is_likely = play.limit.load.is_sure = True
    play.refuse(20)

    assert play.round(SLOW) is Finding.SICK


@pytest.mark.parametrize(("sure", "lowered"), [(False, False), (True, True)])
def test_where_there_were_too_many_calls_once_that_is_tried_again_after_sickness(
    sure: bool, lowered: bool
) -> None:
    play = limited(3.0)
    play.limit.load.is_sure = sure
    assert play.round(SLOW) is Finding.SICK
    play.limit.load.forget()
    play.limit.size = 16.0

    play.refuse(20)
    play.round(SLOW, running=15)

    assert (play.limit.size < 16.0) is lowered


@pytest.mark.parametrize(("sure", "seconds"), [(False, 10.0), (True, 4.0)])
def test_severe_slowness_lowers_it_after_a_while_even_if_nobody_is_refused(
    sure: bool, seconds: float
) -> None:
    """Other processes may refuse calls because of ours."""
    play = limited(16.0)
    play.limit.load.is_likely, play.limit.load.is_sure = True, sure
    play.limit._refusals.share = 0.0

    play.now = seconds - 1.0
    play.round(SEVERE, running=15)
    assert play.limit.size == 16.0
    play.now = seconds
    play.round(SEVERE, running=15)

    assert play.limit.size == 8.0


def test_if_single_calls_are_mild_and_many_are_severe_there_are_too_many() -> None:
    play = limited(8.0)
    play.limit.pause(0.0)
    play.limit.load.forget()
    while play.limit.is_pausing:
        play.answer(SLOW)
    assert play.findings[-1] is Finding.MILD
    assert not play.limit.load.is_likely
    # Mild answers let the load return.
    for _ in range(30):
        play.refuse(1)
        play.answer(SLOW)
    assert play.limit.size > 10.0

    for _ in range(2):
        play.round(SEVERE, running=9)

    assert play.limit.load.is_sure


@pytest.mark.parametrize(("answer", "expected"), [(0.29, Finding.HANGING), (0.31, None)])
def test_late_calls_do_not_hang_where_others_are_answered_later_than_that(
    answer: float, expected: Finding | None
) -> None:
    """Answers above the slow threshold may be usual: then late calls may be such calls."""
    limit = Limit(8.0, CALM, USUAL._replace(high=1.0), 1, 0.0)
    limit.begin_suspicious(None, is_first=False, piled_up=1)
    play = Play(limit)
    for _ in range(17):
        limit.add_overdue(play.ask(4), play.now, THRESHOLD)

    finding = play.answer(*[FAST] * 7, answer, *[FAST] * 8, running=4)

    assert (Finding.HANGING in play.findings) == (expected is Finding.HANGING)
    assert finding is not Finding.SICK


# Failures


def test_calls_that_fail_because_there_are_too_many_lower_it() -> None:
    play = limited(8.0)

    assert play.answer(*[0.1] * 8, ok=False) is Finding.NOTHING

    assert play.limit.size == 6.0
    assert not play.limit.succeeded


@pytest.mark.parametrize(("latency", "expected"), [(0.1, Finding.FAILING), (0.31, Finding.SICK)])
def test_if_few_calls_fail_as_well_the_calls_after_that_show_whether_it_is_failing_or_sick(
    latency: float, expected: Finding
) -> None:
    play = limited(3.0)

    play.answer(FAST)
    assert play.answer(*[latency] * 7, ok=False) is Finding.NOTHING
    assert play.limit.size == 3.0

    play.answer(FAST)
    play.answer(*[latency] * 8, ok=False)
    assert expected in play.findings
    assert play.limit.size == 3.0


@pytest.mark.parametrize(("latency", "expected"), [(0.1, Finding.FAILING), (0.31, Finding.HANGING)])
def test_if_all_of_few_calls_fail_or_time_out_it_is_failing_or_hangs(
    latency: float, expected: Finding
) -> None:
    play = limited(3.0)

    play.answer(*[latency] * 12, ok=False)

    assert expected in play.findings


def test_a_round_of_failures_among_good_calls_is_chance() -> None:
    """Three of ten fail, and the limit is no cause of that."""
    play = limited(3.0)
    play.answer(*[0.1] * 5, ok=False)
    play.answer(*[FAST] * 3)

    for _ in range(20):
        play.answer(*[FAST] * 7)
        play.answer(*[0.1] * 3, ok=False)

    assert Finding.PARTIAL in play.findings
    assert not {Finding.FAILING, Finding.HANGING} & {*play.findings}
    assert play.limit.size >= 3.0


def test_once_failures_are_usual_they_say_nothing_of_the_latency() -> None:
    play = limited(3.0)
    play.limit.failures.are_usual = True
    size = play.limit.size

    play.answer(*[0.1] * 100, ok=False)

    assert play.limit.size == size
    assert not play.limit._round._answers


@pytest.mark.parametrize(
    ("size", "refused", "lowered"), [(8.0, 2, 6.0), (10.0, 2, 10.0), (8.0, 0, 8.0)]
)
def test_more_than_a_fifth_of_failures_lowers_it_where_calls_are_refused(
    size: float, refused: int, lowered: float
) -> None:
    """Two of eight are more, and two of ten are not."""
    play = limited(size)
    play.limit._returns = 0.0
    play.answer(0.1, 0.1, ok=False, running=5)
    play.answer(*[SLOW] * (int(size) - 3), running=5)
    play.refuse(refused)

    play.answer(SLOW, running=5)

    assert play.limit.size == lowered


def test_it_is_shed_until_there_are_few_calls() -> None:
    limit = new_limit(20.0)

    for _ in range(20):
        limit.shed()

    assert 2.0 < limit.size <= 3.0
    assert limit.failures.test is not None


def test_where_fewer_calls_were_seen_to_fail_less_it_is_shed_to_a_single_one() -> None:
    limit = new_limit(20.0)
    limit.failures.are_crowding = True
    sizes: list[float] = []

    while limit.size > 1.0:
        assert not limit.fewer_are_no_help
        limit.shed()
        sizes.append(ceil(limit.size))

    assert limit.fewer_are_no_help
    assert len(set(sizes)) == len(sizes)  # each time at least one call fewer
    assert limit.failures.test is None
    limit.shed()
    assert limit.size == 1.0
    assert limit.failures.test is not None


def test_failures_of_calls_that_began_before_it_was_shed_do_not_lower_it_once_more() -> None:
    play = limited(8.0)
    tokens = [play.ask(number) for number in range(8)]
    play.limit.shed()
    size = play.limit.size

    for token in tokens:
        play.end(token, 0.1, ok=False)

    assert play.limit.size == size


def test_failures_that_are_fast_say_nothing_about_load_and_time_outs_do() -> None:
    play = limited(8.0)

    play.answer(0.1, ok=False)
    assert not play.limit.load._pairs
    play.answer(0.31, ok=False)

    assert len(play.limit.load._pairs) == 1


@pytest.mark.parametrize(("hung", "expected"), [(8, Finding.NOTHING), (9, Finding.HANGING)])
def test_if_most_calls_hang_and_the_others_are_fast_it_hangs(hung: int, expected: Finding) -> None:
    play = limited(8.0)
    play.limit._refusals.last = play.now
    for _ in range(hung):
        assert play.limit.add_overdue(play.ask(4), play.now, THRESHOLD) is Finding.NOTHING

    assert play.answer(*[FAST] * 8, running=4) is expected


# Pauses


def test_pauses_begin_with_one_latency_and_double_up_to_the_longest() -> None:
    play = paused()
    pauses = [play.limit.pauses]

    for _ in range(4):
        play.now += play.limit.pauses
        assert play.answer(0.5) is Finding.SICK
        play.limit.pause(4.0)
        pauses.append(play.limit.pauses)

    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_a_pause_is_never_longer_than_the_longest_also_for_a_very_slow_callee() -> None:
    assert paused(longest=4.0, level=30.0).limit.pauses == 4.0


def test_while_it_pauses_one_call_at_a_time_is_sent_after_each_pause() -> None:
    play = paused()
    assert not play.ask()
    play.now += 0.5
    play.answer(0.5, every=0.5)
    play.limit.pause(4.0)
    ended = play.now

    assert play.limit.is_pausing
    assert play.limit.wait(0, ended) == pytest.approx(1.0)
    play.now = ended + 0.99
    assert not play.ask()
    play.now = ended + 1.0
    assert play.ask()
    assert not play.ask(running=1)


def test_two_fast_calls_end_the_pauses_and_each_fast_answer_adds_a_call() -> None:
    play = paused()
    play.now += 0.5

    assert play.answer(FAST) is Finding.NOTHING
    assert play.limit.is_pausing
    # The second one is sent at once.
    assert play.answer(FAST) is Finding.NOTHING
    assert not play.limit.is_pausing

    play.refuse(20)
    sizes: list[float] = []
    for _ in range(3):
        play.answer(FAST)
        sizes.append(play.limit.size)
    assert sizes == [2.0, 3.0, 4.0]


def test_a_slow_call_between_fast_ones_begins_to_count_anew() -> None:
    play = paused()
    for latency in (FAST, SLOW):
        play.now += 4.0
        play.answer(latency)
    play.limit.pause(4.0)

    play.now += 4.0
    play.answer(FAST)

    assert play.limit.is_pausing


def test_a_fast_call_halves_the_next_pause() -> None:
    play = paused(longest=100.0)
    for latency in (SLOW, SLOW, FAST, SLOW):
        play.now += 100.0
        if play.answer(latency) is Finding.SICK:
            play.limit.pause(100.0)

    # 0.5, 1.0, 2.0, then half of that, and doubled.
    assert play.limit.pauses == 2.0


@pytest.mark.parametrize("ok", [True, False])
def test_a_call_that_is_slow_or_fails_keeps_the_pauses(ok: bool) -> None:
    play = paused()
    play.now += 4.0

    assert play.answer(SLOW if ok else FAST, ok=ok) is Finding.SICK


def test_while_it_pauses_an_overdue_call_says_nothing_yet() -> None:
    play = paused()
    play.now += 4.0

    assert play.limit.add_overdue(play.ask(), play.now, THRESHOLD) is Finding.NOTHING


def test_calls_from_before_the_pauses_do_not_end_them() -> None:
    play = limited(8.0)
    earlier = [play.ask(running) for running in range(4)]
    play.limit._round.first = play.token + 1
    play.limit.level = 0.5
    play.limit.pause(4.0)

    for token in earlier:
        play.end(token, FAST)

    assert play.limit.is_pausing


def test_attempts_while_others_wait_are_counted_as_useless() -> None:
    play = paused()
    play.limit.load.is_likely = True

    for _ in range(6):
        play.now += 4.0
        play.answer(SLOW)

    assert not play.limit.load.is_likely


def test_a_latency_waits_longer_where_nobody_is_refused() -> None:
    assert limited().limit.patience == 2.0
    assert paused().limit.patience is None
