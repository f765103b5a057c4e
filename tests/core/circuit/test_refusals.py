"""Refusals: which share of the calls a limit refused of late."""

from __future__ import annotations

import pytest

from recloser._circuit.refusals import Refusals


def test_the_share_follows_what_is_refused() -> None:
    refusals = Refusals(0.0)
    for number in range(1_000):
        if number % 4:
            refusals.count_admitted()
        else:
            refusals.count(float(number))

    assert refusals.share == pytest.approx(0.25, abs=0.02)
    for _ in range(1_000):
        refusals.count_admitted()
    assert refusals.share < 0.001


@pytest.mark.parametrize(
    ("refused", "some", "many"),
    [(0, False, False), (1, False, False), (2, True, False), (7, True, True)],
)
def test_one_refusal_is_chance_and_a_tenth_is_too_much_load(
    refused: int, some: bool, many: bool
) -> None:
    refusals = Refusals(0.0)
    for _ in range(refused):
        refusals.count(5.0)

    assert (refusals.are_some, refusals.are_many) == (some, many)


def test_it_is_known_when_a_call_was_refused_last_if_that_was_no_chance() -> None:
    refusals = Refusals(1.0)
    refusals.count(5.0)
    assert refusals.last == 1.0

    refusals.count(6.0)

    assert refusals.last == 6.0
