"""Pacing: how the pauses between single calls grow, shrink and end."""

from __future__ import annotations

import pytest

from recloser._circuit.pacing import _MILD_CALLS, Pacing


def test_no_call_waits_before_it_begins() -> None:
    pacing = Pacing()

    assert pacing.pause == 0.0
    assert pacing.next_at(7.0) == 0.0


def test_the_first_pause_is_one_latency_and_each_further_one_twice_as_long() -> None:
    pacing = Pacing()
    pauses: list[float] = []
    for _ in range(4):
        pacing.begin(0.5, longest=3.0)
        pauses.append(pacing.next_at(10.0) - 10.0)

    assert pauses == [0.5, 1.0, 2.0, 3.0]


def test_after_a_fast_answer_the_next_call_begins_at_once() -> None:
    pacing = Pacing()
    pacing.begin(0.5, longest=3.0)

    assert not pacing.answered_fast()

    assert pacing.next_at(10.0) == 0.0
    assert pacing.pause == 0.5


def test_two_fast_answers_in_a_row_end_it() -> None:
    pacing = Pacing()
    pacing.begin(0.5, longest=3.0)
    assert not pacing.answered_fast()
    pacing.begin(0.5, longest=3.0)

    assert [pacing.answered_fast() for _ in range(2)] == [False, True]
    assert pacing.pause == 0.0


@pytest.mark.parametrize(
    ("mild", "ends"), [([True] * 12, True), ([True] * 11, False), ([True, False] * 50, False)]
)
def test_it_ends_once_clearly_more_answers_were_mild_than_severe(
    mild: list[bool], ends: bool
) -> None:
    pacing = Pacing()
    pacing.begin(0.5, longest=3.0)

    assert any(pacing.answered_mildly(mild=each) for each in mild) is ends

    assert pacing.active is not ends


def test_the_next_time_as_many_must_be_mild() -> None:
    pacing = Pacing()
    for _ in range(2):
        pacing.begin(0.5, longest=3.0)

        assert [pacing.answered_mildly(mild=True) for _ in range(12)] == [False] * 11 + [True]


def test_without_a_longest_pause_calls_follow_each_other() -> None:
    pacing = Pacing()
    pacing.begin(0.5, longest=0.0)

    assert pacing.active
    assert pacing.next_at(10.0) == 10.0


def test_each_fast_answer_makes_the_pause_half_as_long_should_it_begin_again() -> None:
    pacing = Pacing()
    for _ in range(3):
        pacing.begin(0.5, longest=60.0)
    pacing.answered_fast()
    pacing.answered_fast()

    pacing.begin(0.5, longest=60.0)

    assert pacing.pause == pytest.approx(1.0)


def test_each_severe_answer_takes_back_one_mild_one_and_no_more() -> None:
    pacing = Pacing()
    pacing.begin(0.5, 8.0)

    def over(*answers: bool) -> list[bool]:
        return [pacing.answered_mildly(mild=mild) for mild in answers]

    # At the beginning there is none to take back.
    assert not any(over(False, *[True] * (_MILD_CALLS - 1)))
    assert over(False, True, True) == [False, False, True]
    assert not pacing.active
