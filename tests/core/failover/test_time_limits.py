"""How long an attempt may take, as arithmetic: no clock, no breaker."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._failover.time_limits import (
    SHORTEST,
    attempt_limit,
    equal_share,
    is_remainder,
    is_time_for_another,
    least_bad_limit,
    time_left,
)


def limit(left: float, **changed: Any) -> float:
    """The limit at a provider where an answer is hopeless after 2 s, with one healthy other."""
    usual = {"slow": 1.0, "hopeless": 2.0, "healthy": 1}
    return attempt_limit(left, **{**usual, **changed})


def test_while_another_is_healthy_an_attempt_ends_when_it_is_hopeless() -> None:
    assert limit(30.0) == 2.0
    assert limit(inf) == 2.0
    assert limit(30.0, hopeless=3.0) == 3.0
    assert limit(30.0, healthy=5) == 2.0


def test_what_is_unknown_is_no_limit_without_a_budget() -> None:
    assert limit(inf, hopeless=inf) == inf


@pytest.mark.parametrize(("healthy", "share"), [(1, 15.0), (2, 10.0), (5, 5.0)])
def test_before_anything_is_learned_a_budget_is_shared_equally(healthy: int, share: float) -> None:
    """The slow threshold of a new breaker is its ceiling, which may be more than there is time."""
    assert limit(30.0, slow=60.0, hopeless=inf, healthy=healthy) == share


def test_a_share_does_not_cut_a_call_that_is_not_slow() -> None:
    assert limit(1.5, healthy=2) == 1.0


def test_a_share_above_slow_is_kept_whole() -> None:
    """1.9 s are less than hopeless, and half of them more than slow."""
    assert limit(1.9, slow=0.9, hopeless=2.7) == 0.95


def test_without_time_for_a_slow_call_the_share_is_all_there_is() -> None:
    assert limit(0.8, healthy=3) == 0.2


@pytest.mark.parametrize("left", [30.0, inf])
def test_a_healthy_provider_gets_all_the_time_if_no_other_is_healthy(left: float) -> None:
    assert limit(left, healthy=0) == left


@pytest.mark.parametrize(
    ("takeover_in", "expected"), [(0.0, 2.0), (1.0, 2.0), (7.0, 7.0), (40.0, 30.0), (inf, 30.0)]
)
def test_a_probe_gets_the_time_until_a_better_provider_can_take_over(
    takeover_in: float, expected: float
) -> None:
    """But no less than until it is hopeless, and no more than there is."""
    assert limit(30.0, healthy=0, takeover_in=takeover_in) == expected


def test_while_another_is_healthy_a_probe_waits_for_no_one_else() -> None:
    assert limit(30.0, takeover_in=7.0) == 2.0


positive = st.floats(SHORTEST, 86400.0)


@given(
    left=st.one_of(positive, st.just(inf)),
    slow=positive,
    hopeless=st.one_of(positive, st.just(inf)),
    healthy=st.integers(0, 1000),
    takeover_in=st.one_of(st.floats(0.0, 86400.0), st.just(inf)),
)
def test_a_limit_is_above_zero_and_within_the_time_left(left: float, **given: Any) -> None:
    found = attempt_limit(left, **given)

    assert 0.0 < found <= left
    # What is neither slow nor hopeless is cut off by nothing but the end of the budget.
    assert found >= min(given["slow"], given["hopeless"], left) or given["slow"] >= left


@pytest.mark.parametrize(("others", "expected"), [(0, 90.0), (1, 45.0), (2, 30.0)])
def test_the_least_bad_get_equal_parts_of_a_budget(others: int, expected: float) -> None:
    assert least_bad_limit(90.0, others, ceiling=60.0) == expected


def test_without_a_budget_the_least_bad_get_what_is_slow_for_everybody_but_the_last() -> None:
    assert least_bad_limit(inf, 1, ceiling=60.0) == 60.0
    assert least_bad_limit(inf, 0, ceiling=60.0) == inf


@pytest.mark.parametrize(("others", "share"), [(0, 30.0), (1, 15.0), (2, 10.0)])
def test_an_equal_share_counts_the_attempt_itself(others: int, share: float) -> None:
    assert equal_share(30.0, others) == share


def test_the_time_left_ends_at_the_deadline_but_is_never_zero() -> None:
    assert time_left(1010.0, 1003.0) == 7.0
    assert time_left(1010.0, 1010.0) == SHORTEST
    assert time_left(1010.0, 2000.0) == SHORTEST


@pytest.mark.parametrize(
    ("now", "expected"), [(1000.0, True), (1009.9, True), (1009.9995, False), (1010.0, False)]
)
def test_another_attempt_needs_more_time_than_the_shortest(now: float, expected: bool) -> None:
    assert is_time_for_another(1010.0, now) is expected


@pytest.mark.parametrize(
    ("number", "limit", "expected"), [(1, 0.1, False), (2, 0.9, True), (2, 1.0, False)]
)
def test_only_a_later_attempt_with_less_than_slow_got_a_remainder(
    number: int, limit: float, expected: bool
) -> None:
    assert is_remainder(number, limit, slow=1.0) is expected
