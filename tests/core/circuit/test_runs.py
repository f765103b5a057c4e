"""Runs: how the depth of a run of bad calls changes."""

from __future__ import annotations

import pytest

from recloser._circuit.runs import DEEPEST, deeper, depth_of, row_after_good, row_before


def test_a_bad_call_makes_it_two_deeper_up_to_a_bound() -> None:
    assert [deeper(depth) for depth in range(DEEPEST + 1)] == [2, 3, 4, 4, 4]


@pytest.mark.parametrize("bad", range(1, 6))
def test_a_good_call_makes_it_one_less_deep_until_the_run_is_over(bad: int) -> None:
    row = 0
    for _ in range(bad):
        row = deeper(depth_of(row))
    depth = depth_of(row)

    depths: list[int] = []
    while row:
        row = row_after_good(row)
        depths.append(depth_of(row))

    assert depths == [*reversed(range(depth))]


@pytest.mark.parametrize("row", range(1, 2 * DEEPEST + 1))
def test_what_is_not_known_of_a_row_is_that_of_one_less_depth(row: int) -> None:
    assert depth_of(row_before(row)) == depth_of(row) - 1
