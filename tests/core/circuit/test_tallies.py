"""Tallies: counts by place are added, and the shared empty ones stay empty."""

from __future__ import annotations

from recloser._circuit.tallies import NO_COUNTS, NO_ENDS, one_more, sum_of


def test_a_sum_has_every_place_of_both() -> None:
    assert sum_of({(0, 1): 1.0, (2, 2): 3.0}, {(2, 2): 0.5}) == {(0, 1): 1.0, (2, 2): 3.5}


def test_the_shared_empty_ones_stay_empty() -> None:
    more = sum_of(NO_COUNTS, {(0, 1): 1.0})
    more[0, 2] = 1.0

    assert one_more(one_more(NO_ENDS, very_slow=True), very_slow=False) == (1.0, 1.0)
    assert NO_COUNTS == {}
    assert NO_ENDS == (0.0, 0.0)
