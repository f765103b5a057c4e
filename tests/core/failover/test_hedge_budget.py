"""How many calls may be sent twice: never more than the share, whatever happens."""

from __future__ import annotations

import pytest

from recloser import Hedging
from recloser._failover.hedge_budget import HedgeBudget


@pytest.mark.parametrize(("share", "calls"), [(0.05, 20), (0.02, 50), (0.01, 100)])
def test_the_first_second_attempt_is_earned_by_calls(share: float, calls: int) -> None:
    budget = HedgeBudget(share)
    for _ in range(calls - 1):
        budget.note_call()
    assert not budget.take()

    budget.note_call()

    assert budget.take()
    assert not budget.take()


def test_the_share_holds_for_any_number_of_calls() -> None:
    budget = HedgeBudget(0.05)
    for call in range(1, 2001):
        budget.note_call()
        while budget.take():
            pass
        assert budget.figures().sent <= 0.05 * call + 1e-9

    assert budget.figures().sent == 100
    assert budget.figures().over_budget == 2000


def test_after_a_quiet_time_ten_may_be_sent_at_once() -> None:
    budget = HedgeBudget(0.05)
    for _ in range(10_000):
        budget.note_call()

    assert sum(budget.take() for _ in range(100)) == 10


def test_what_was_not_sent_is_given_back() -> None:
    budget = HedgeBudget(0.05)
    for _ in range(20):
        budget.note_call()
    assert budget.take()

    budget.give_back()

    assert budget.figures().sent == 0
    assert budget.take()


def test_the_figures_are_told_in_a_sentence() -> None:
    budget = HedgeBudget(0.05)
    for _ in range(1000):
        budget.note_call()
    assert budget.take()
    budget.note_won()

    assert str(budget.figures()) == (
        "hedging: 1 of 1,000 calls were sent twice (0.10%, at most 5.00%), 1 of them were served by "
        "the second attempt, and 0 slow calls were over the budget"
    )
    assert str(Hedging()) == "hedging is off"
