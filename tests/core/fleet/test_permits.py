"""Permits: how many there are, by what is asked, what ends and what is in flight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._fleet.permits import Permits, lines_for

STEP = 0.05


def permits(
    *,
    size: float = 20.0,
    workers: int = 64,
    asked: float = 240.0,
    ended: float = 200.0,
    running: float = 20.0,
    seconds: float = 30.0,
    usual: float = 100.0,
) -> float:
    chosen = Permits(usual)
    for _ in range(round(seconds / STEP)):
        chosen.note(asked * STEP, ended * STEP, running, STEP)
    chosen.choose(size, workers)
    return chosen.number


@pytest.mark.parametrize(
    ("busy", "offered", "lines"),
    [
        # Of one line, a / (1 + a) is busy; of two, 2a (1 + a) / (2 + 2a + a^2) / 2 are.
        (0.5, 1.0, 1.0),
        (0.8, 1.0, 2.0),
        (0.65, 1.0, 1.5),
        (0.25, 1.0, 0.5),
        # From a table of Erlang's formula: of 10 lines at 5 erlang, 1.84 % is lost.
        (5.0 * (1.0 - 0.0184), 5.0, 10.0),
        (0.0, 1.0, 7.0),
        (1.0, 1.0, 7.0),
        (0.0, 0.0, 7.0),
    ],
)
def test_lines_of_a_group(busy: float, offered: float, lines: float) -> None:
    assert lines_for(busy, offered, 7.0 if lines == 7.0 else 99.0) == pytest.approx(lines, rel=1e-2)


@given(st.floats(0.01, 50.0), st.floats(0.01, 0.97), st.floats(1.0, 100.0))
def test_more_lines_are_busy_only_of_more_lines(offered: float, part: float, most: float) -> None:
    fewer, more = (lines_for(part * each * offered, offered, most) for each in (0.5, 1.0))

    assert 0.0 < fewer <= more <= most


def test_some_workers_get_a_second_permit_where_one_each_would_not_suffice() -> None:
    # A call takes 20 / 200 s, so a worker offers 240 / 64 * 0.1 = 0.375; of one line 0.273 is busy, of
    # two 0.357, and 20 / 64 = 0.3125 are wanted.
    assert permits() == pytest.approx(64 * (1.0 + (0.3125 - 0.2727) / (0.3568 - 0.2727)), rel=0.01)


def test_a_permit_of_a_callee_that_hangs_is_always_in_use() -> None:
    assert permits(ended=0.0) == pytest.approx(20.0, rel=0.01)


def test_where_all_calls_are_served_there_are_enough_for_nearly_all() -> None:
    number = permits(asked=20.0, ended=20.0, workers=8, size=80.0, running=1.0)

    assert 100.0 < number <= 20.0 * 80.0


def test_if_less_is_in_flight_than_may_be_there_are_more_for_a_while() -> None:
    numbers = [permits(running=running) for running in (0.0, 10.0, 20.0, 30.0, 100.0)]

    assert numbers == sorted(numbers, reverse=True)
    assert len({*numbers}) == 5
    assert 0.3 * 20.0 < numbers[-1] < 0.5 * numbers[2]


def test_what_is_usual_counts_until_there_is_more_to_see() -> None:
    # The first report tells of calls that have begun, and of none that has ended.
    known, unknown = (permits(seconds=STEP, ended=0.0, usual=usual) for usual in (200.0, 1e-3))

    assert unknown == pytest.approx(23.9, rel=0.02)  # each is in use; nothing is in flight yet
    assert known > 2.0 * unknown


def test_rates_of_long_ago_are_forgotten() -> None:
    new = permits(usual=1e6)

    assert new == pytest.approx(permits(usual=1.0), rel=0.05)
