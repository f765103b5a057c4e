"""Pauses: until when a callee asked to wait, and whether it asks all callers."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.pauses import Pauses

POLICY = Policy(max_open_for=10.0)
ENOUGH = 13.8  # nats; that of the default policy


class Callee:
    """Calls to a callee, one after the other; each token is used once."""

    def __init__(self) -> None:
        self.pauses = Pauses()
        self.token = 0

    def throttles(self, now: float, wait: float = 0.0) -> float:
        """The pause that is left after one more call was asked to wait."""
        self.token += 1
        self.pauses.ask(self.token, self.token, now, wait, POLICY)
        return self.pauses.until - now

    def serves(self) -> None:
        self.token += 1
        self.pauses.end(self.token)


def test_the_pause_that_was_asked_for_is_known() -> None:
    callee = Callee()

    assert callee.pauses.until == 0.0
    assert callee.throttles(100.0, 7.0) == 7.0


def test_a_longer_pause_is_not_shortened() -> None:
    callee = Callee()
    callee.throttles(100.0, 60.0)

    assert callee.throttles(110.0, 5.0) == 50.0
    assert callee.throttles(111.0) == 49.0
    assert callee.throttles(112.0, 70.0) == 70.0


def test_without_a_time_each_pause_is_twice_as_long_as_the_one_before() -> None:
    callee = Callee()
    waits, now = [], 100.0
    for _ in range(6):
        waits.append(callee.throttles(now))
        now += waits[-1]

    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_within_a_pause_it_does_not_grow() -> None:
    callee = Callee()
    callee.throttles(100.0)

    assert callee.throttles(100.5) == 0.5
    assert callee.throttles(101.0) == 2.0


def test_a_call_that_began_before_the_last_pause_adds_none() -> None:
    pauses = Pauses()
    pauses.ask(5, 9, 100.0, 0.0, POLICY)

    pauses.ask(9, 12, 102.0, 0.0, POLICY)
    assert pauses.until == 101.0
    pauses.ask(10, 12, 102.0, 0.0, POLICY)

    assert pauses.until == 104.0


def test_a_call_that_was_served_ends_it_if_it_began_later() -> None:
    pauses = Pauses()
    pauses.ask(5, 9, 100.0, 60.0, POLICY)

    pauses.end(9)
    assert pauses.until == 160.0
    pauses.end(10)

    assert pauses.until == 0.0


def test_after_a_call_that_was_served_pauses_begin_with_the_shortest() -> None:
    callee = Callee()
    callee.throttles(100.0)
    callee.throttles(101.0)
    callee.serves()

    assert callee.throttles(110.0) == 1.0


def test_four_in_a_row_are_for_all_callers() -> None:
    pauses = Pauses()

    assert [pauses.are_for_all(ENOUGH) for _ in range(4)] == [False, False, False, True]
    # Then it begins anew.
    assert [pauses.are_for_all(ENOUGH) for _ in range(3)] == [False, False, False]


def test_a_call_that_is_served_speaks_against_it() -> None:
    pauses = Pauses()
    for _ in range(3):
        pauses.are_for_all(ENOUGH)

    pauses.served(1)

    assert not pauses.are_for_all(ENOUGH)


@pytest.mark.parametrize("served", [2, 5, 20])
def test_a_limit_of_some_callers_is_never_for_all(served: int) -> None:
    pauses = Pauses()

    for _ in range(2000):
        assert not pauses.are_for_all(ENOUGH)
        pauses.served(served)


def test_where_many_are_usually_asked_it_takes_more_of_them() -> None:
    pauses = Pauses()
    for _ in range(2000):
        pauses.are_for_all(ENOUGH)
        pauses.served(2)

    in_a_row = 1
    while not pauses.are_for_all(ENOUGH):
        in_a_row += 1

    assert in_a_row > 4
    pauses.served(2000)
    assert [pauses.are_for_all(ENOUGH) for _ in range(4)] == [False, False, False, True]
