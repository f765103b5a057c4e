"""How long a wait is believed that a callee names."""

from __future__ import annotations

import pytest

from recloser._circuit.named_waits import NamedWaits


def test_a_wait_is_believed_for_as_long_as_all_have_asked_for_one() -> None:
    waits = NamedWaits()

    assert waits.believe(60.0, 100.0, 98.0, 1.0) == 2.0
    assert waits.believe(60.0, 102.0, 102.0, 1.0) == 4.0
    assert waits.believe(60.0, 106.0, 106.0, 1.0) == 8.0


def test_it_is_not_believed_beyond_the_time_that_was_named_first() -> None:
    waits = NamedWaits()
    waits.believe(10.0, 100.0, 100.0, 1.0)

    assert waits.believe(60.0, 108.0, 108.0, 1.0) == 2.0
    # The first one is over, so the next one counts.
    assert waits.believe(60.0, 110.0, 110.0, 1.0) == 10.0
    assert waits.believe(60.0, 120.0, 120.0, 1.0) == 20.0
    assert waits.believe(60.0, 169.0, 169.0, 1.0) == 1.0


@pytest.mark.parametrize("part", [1.0, 0.25])
def test_it_is_believed_for_a_part_of_that(part: float) -> None:
    waits = NamedWaits()

    assert waits.believe(60.0, 100.0, 92.0, part) == 8.0 * part


def test_who_names_no_time_is_not_waited_for() -> None:
    waits = NamedWaits()
    assert waits.believe(0.0, 100.0, 90.0, 1.0) == 0.0
    assert waits.look(100.0) == (False, False)

    # And it does not count as one that has asked for a wait.
    assert waits.believe(60.0, 101.0, 101.0, 1.0) == 0.0


def test_the_next_call_is_a_look_and_the_wait_goes_on_until_the_time_that_was_named() -> None:
    waits = NamedWaits()
    waits.believe(60.0, 100.0, 90.0, 1.0)

    assert waits.look(110.0) == (True, True)
    assert waits.look(159.9) == (True, True)
    assert waits.look(160.0) == (True, False)
    assert waits.look(160.0) == (False, False)  # one look only


def test_what_was_named_before_a_call_was_served_is_forgotten() -> None:
    waits = NamedWaits()
    waits.believe(60.0, 100.0, 90.0, 1.0)

    waits.forget()

    assert waits.look(101.0) == (False, False)
    assert waits.believe(60.0, 102.0, 101.5, 1.0) == 0.5
