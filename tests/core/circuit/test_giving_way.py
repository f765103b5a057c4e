"""Calls that wait for their client give their places to others, one at a time."""

from __future__ import annotations

from recloser._circuit.giving_way import GivingWay


def begun(now: float) -> GivingWay:
    giving_way = GivingWay()
    giving_way.latest = now
    return giving_way


def test_nobody_gives_way_who_waits_for_the_callee() -> None:
    assert not begun(0.0).let_through(0, 1, 1000.0)


def test_without_an_answer_there_is_a_pause_before_each_call() -> None:
    giving_way = begun(10.0)

    assert not giving_way.let_through(1, 0, 10.0)
    assert giving_way.let_through(1, 0, giving_way.next_at(1))
    assert not giving_way.let_through(2, 0, giving_way.next_at(1))


def test_the_pause_grows_with_the_calls_that_wait_up_to_a_second() -> None:
    pauses = [begun(0.0).next_at(waiting) for waiting in (1, 2, 5, 10, 1000)]

    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[-1] == 1.0


def test_each_answer_lets_one_call_through_at_once() -> None:
    giving_way = begun(0.0)

    assert giving_way.let_through(3, 1, 0.0)
    assert not giving_way.let_through(3, 1, 0.0)
    assert giving_way.let_through(3, 2, 0.0)


def test_with_places_to_spare_there_is_no_pause() -> None:
    giving_way = begun(0.0)

    assert giving_way.let_through(4, 0, 0.0, allowed=4.0)
    assert not giving_way.let_through(5, 0, 0.0, allowed=4.0)


def test_after_a_call_that_was_let_through_the_pause_begins_again() -> None:
    giving_way = begun(0.0)

    assert giving_way.let_through(1, 0, 5.0)
    assert not giving_way.let_through(1, 0, 5.09)
    assert giving_way.let_through(1, 0, 5.1)


def test_ten_calls_that_wait_are_the_first_for_which_it_is_a_second() -> None:
    assert begun(0.0).next_at(1) == 0.1
    assert begun(0.0).next_at(9) < 1.0
    assert begun(0.0).next_at(10) == 1.0


def test_unless_told_there_are_no_places_to_spare() -> None:
    assert not begun(0.0).let_through(1, 0, 0.0)
    assert GivingWay().let_through(1, 0, 0.0)
