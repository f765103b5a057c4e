"""How much is enough: evidence to open, and good calls to stay closed."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.enough import enough_good, suffices


@pytest.mark.parametrize(
    ("excess", "bad", "calls", "enough"),
    [
        (0.0, 5, 5, True),
        (-0.1, 5, 5, False),  # the evidence is too weak
        (9.0, 4, 4, False),  # fewer bad calls than `min_failures`
        (9.0, 5, 10, True),
        (9.0, 5, 11, False),  # a smaller share than `failure_rate_threshold`
    ],
)
def test_evidence_a_number_and_a_share_are_all_needed(
    excess: float, bad: int, calls: int, enough: bool
) -> None:
    policy = Policy(min_failures=5, failure_rate_threshold=0.5)

    assert suffices(policy, excess, bad, calls) is enough


@pytest.mark.parametrize(
    ("normal", "lenient", "expected"),
    [(0.02, False, 0.5), (0.6, False, 0.4), (0.02, True, 0.25), (0.9, True, 0.1)],
)
def test_fewer_good_calls_are_enough_of_a_young_key_or_one_that_fails_as_often(
    normal: float, lenient: bool, expected: float
) -> None:
    assert enough_good(Policy(), normal, lenient=lenient) == pytest.approx(expected)
