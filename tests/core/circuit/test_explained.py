"""Explained: latency that a label or a size explains is no evidence, and hides none."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.labelled_calls import BIG, SMALL, Learner
from tests.support.training import learned

from recloser import Breaker, Outcome, Policy
from recloser._circuit.counts import Counts
from recloser._circuit.in_flight import Timing
from recloser._circuit.kinds import NOTHING, Kind
from recloser._circuit.votes import UNKNOWN, Ending, Vote
from recloser._stall import StallWatch
from recloser.testing import ManualClock

# The ratio


@pytest.fixture
def learner() -> Learner:
    return Learner()


def test_the_first_label_of_a_new_key_is_the_yardstick(learner: Learner) -> None:
    learner.answer(BIG, 7.0)

    assert learner.explained.ratio(BIG) == 1.0
    assert learner.answer(BIG, 9.0)[1] == 9.0


def test_a_label_has_no_vote_before_eight_of_its_calls_were_answered(learner: Learner) -> None:
    learner.answers({SMALL: 1.0}, 30)

    for _ in range(8):
        assert learner.answer(BIG, 10.0)[0] is UNKNOWN
    vote, comparable = learner.answer(BIG, 10.0)

    assert vote is Vote.GOOD
    assert comparable == pytest.approx(1.0, rel=0.2)


def test_the_ratio_of_a_label_is_that_of_the_typical_latencies(learner: Learner) -> None:
    learner.answers({SMALL: 0.5, BIG: 8.0}, 300)

    assert learner.apart() == pytest.approx(16.0, rel=0.15)


def test_one_extreme_latency_among_the_first_ones_does_not_matter(learner: Learner) -> None:
    learner.answers({SMALL: 1.0}, 30, sigma=0.0)
    for latency in (10.0, 10.0, 900.0, 10.0, 10.0, 10.0, 10.0, 10.0):
        learner.answer(BIG, latency)

    assert learner.apart() == pytest.approx(10.0, rel=0.01)


def test_calls_without_a_label_have_the_ratio_one(learner: Learner) -> None:
    for _ in range(100):
        learner.explained.learn_unlabelled([0.2] * 10, 0.0)
        learner.answers({NOTHING: 0.2, BIG: 2.0}, 2)

    assert learner.explained.ratio(BIG) == pytest.approx(10.0, rel=0.15)


def test_so_they_have_if_they_become_slower(learner: Learner) -> None:
    learner.answers({NOTHING: 0.2, BIG: 2.0}, 100)
    learner.answers({NOTHING: 0.4, BIG: 2.0}, 500)

    assert learner.explained.ratio(BIG) == pytest.approx(5.0, rel=0.15)


def test_so_they_have_if_the_first_call_of_a_key_had_a_label(learner: Learner) -> None:
    learner.answers({BIG: 2.0, SMALL: 0.05, NOTHING: 0.2}, 8, sigma=0.0)

    assert learner.explained.ratio(BIG) == pytest.approx(10.0)
    assert learner.explained.ratio(SMALL) == pytest.approx(0.25)


def test_so_they_have_if_the_key_was_learned_from_labelled_calls(learner: Learner) -> None:
    for _ in range(100):
        learner.baseline.learn([learner.answer(BIG, 2.0)[1]])
    learner.baseline.refresh(0.0)
    assert learner.baseline.median == pytest.approx(2.0, rel=0.06)

    learner.answers({NOTHING: 0.2}, 8, sigma=0.0)

    assert learner.explained.ratio(BIG) == pytest.approx(10.0)
    assert learner.baseline.median == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("unlabelled", "moves"), [(1000, True), (1600, False)])
def test_a_key_of_labelled_calls_is_one_of_which_more_than_half_have_a_label(
    learner: Learner, unlabelled: int, moves: bool
) -> None:
    """However many calls there are: old ones fade."""
    for _ in range(1500):
        learner.baseline.learn([learner.answer(BIG, 2.0)[1]])
    learner.baseline.refresh(0.0)

    learner.explained.learn_unlabelled([0.2] * unlabelled, 0.0)

    assert learner.explained.ratio(BIG) == pytest.approx(10.0)
    assert learner.baseline.median == pytest.approx(0.2 if moves else 2.0, rel=0.1)


def test_what_was_learned_before_the_first_label_is_what_it_is_compared_with(
    learner: Learner,
) -> None:
    learner.baseline.learn([0.2] * 100)
    learner.explained.forget()

    learner.answers({BIG: 2.0}, 8, sigma=0.0)

    assert learner.explained.ratio(BIG) == pytest.approx(10.0, rel=0.06)  # width of a bucket


def test_a_label_that_becomes_slower_is_learned(learner: Learner) -> None:
    learner.answers({SMALL: 1.0, BIG: 10.0}, 100)

    learner.answers({SMALL: 1.0, BIG: 20.0}, 300)

    assert learner.apart() == pytest.approx(20.0, rel=0.15)


def test_the_mean_of_the_ratios_hardly_moves(learner: Learner) -> None:
    """Otherwise the comparable latencies would drift, and the threshold with them."""
    learner.answers({SMALL: 1.0, BIG: 10.0}, 100, sigma=0.0)
    before = learner.explained.ratio(SMALL) * learner.explained.ratio(BIG)

    learner.answers({SMALL: 1.0, BIG: 40.0}, 500, sigma=0.0)

    after = learner.explained.ratio(SMALL) * learner.explained.ratio(BIG)
    assert learner.explained.ratio(SMALL) < 0.6
    assert after == pytest.approx(before, rel=0.1)


def test_that_all_labels_become_slower_is_not_taken_for_their_ratios(learner: Learner) -> None:
    """Otherwise a slow-down of the callee could never be seen."""
    learner.answers({SMALL: 1.0, BIG: 10.0}, 100)
    before = learner.explained.ratio(SMALL), learner.explained.ratio(BIG)

    for step in range(300):  # each call 0.5 % slower than the one before
        slower = 1.005**step
        learner.answers({SMALL: slower, BIG: 10.0 * slower}, 1)

    after = learner.explained.ratio(SMALL), learner.explained.ratio(BIG)
    assert after == pytest.approx(before, rel=0.15)


def test_the_only_label_has_the_same_ratio_for_ever(learner: Learner) -> None:
    learner.answers({BIG: 1.0}, 100)
    learner.answers({BIG: 9.0}, 500)

    assert learner.explained.ratio(BIG) == 1.0


def test_during_trouble_ratios_hardly_move(learner: Learner) -> None:
    other = Learner()
    for each in (learner, other):
        each.answers({SMALL: 1.0, BIG: 10.0}, 100, sigma=0.0)

    learner.answers({SMALL: 1.0, BIG: 50.0}, 20, sigma=0.0, calm=False)
    other.answers({SMALL: 1.0, BIG: 50.0}, 20, sigma=0.0)

    assert 10.0 < learner.apart() < 11.0 < 12.0 < other.apart()


def test_during_trouble_a_new_label_needs_more_answers(learner: Learner) -> None:
    learner.answers({SMALL: 1.0}, 50, sigma=0.0)

    learner.answers({SMALL: 5.0, BIG: 50.0}, 23, sigma=0.0, calm=False)
    assert learner.explained.ratio(BIG) == inf
    learner.answers({SMALL: 5.0, BIG: 50.0}, 1, sigma=0.0, calm=False)

    # Not 50: all calls are slower.
    assert learner.apart() == pytest.approx(10.0, rel=0.25)


def test_a_latency_below_the_floor_is_comparable_with_a_good_one() -> None:
    learner = Learner(Policy(slow_floor=0.05))
    learner.answers({NOTHING: 0.1, SMALL: 0.001}, 50)
    learner.baseline.learn([0.1] * 50)
    learner.baseline.refresh(0.0)

    vote, comparable = learner.answer(SMALL, 0.04)

    assert vote is Vote.GOOD
    assert comparable == learner.baseline.threshold < 0.04 * learner.explained.ratio(SMALL) ** -1


@pytest.mark.parametrize(("kind", "waited"), [(BIG, 0.1), (SMALL, 1.0), (NOTHING, 1.0)])
def test_for_how_long_a_caller_waited_in_vain_is_comparable_as_well(
    learner: Learner, kind: Kind, waited: float
) -> None:
    learner.answers({NOTHING: 1.0, SMALL: 1.0, BIG: 10.0}, 50, sigma=0.0)
    call = Timing()
    call.started, call.answered = 0.0, inf
    learner.calls.voting[0] = call
    if kind != NOTHING:
        learner.explained.kinds[0] = kind
    ending = Ending(0, Outcome.CANCELLED, 1.0, 1.0)

    learner.explained.vote(ending, learner.calls, Counts(), StallWatch(), calm=True)

    assert ending.waited == pytest.approx(waited)


@pytest.mark.parametrize(("part", "late"), [(0.5, False), (0.51, True)])
def test_a_label_is_late_if_it_comes_after_more_than_half_of_the_slow_threshold(
    learner: Learner, part: float, late: bool
) -> None:
    """Where many are late, a call without a label may be of any kind."""
    learner.answers({SMALL: 1.0, BIG: 10.0}, 50, sigma=0.0)
    learner.baseline.learn([1.0] * 50)
    learner.baseline.refresh(0.0)
    for token in range(1000, 1010):
        learner.calls.voting[token] = call = Timing()
        call.started, call.answered = 0.0, inf
        now = part * learner.baseline.threshold
        learner.explained.note_late(token, BIG, learner.calls, now)

    assert (learner.explained.patience > 1.0) is late


# Bounded memory


def test_more_labels_than_there_are_places_share_one(learner: Learner) -> None:
    kinds: dict[Kind, float] = {(f"label {number}", None): 1.0 for number in range(100)}
    learner.answers(kinds, 10)

    assert len(learner.explained._levels) == 65
    assert learner.explained.ratio(("label 98", None)) == learner.explained.ratio(("new", None))
    assert learner.explained.ratio(("new", None)) == pytest.approx(1.0, rel=0.3)


def test_a_call_whose_label_has_no_place_may_take_as_long_as_the_longest(learner: Learner) -> None:
    learner.answers({(f"label {number}", None): 1.0 for number in range(63)}, 10)
    learner.answers({BIG: 30.0}, 100)
    learner.answers({("one more", None): 1.0}, 10)
    learner.explained.kinds[0] = ("one more", None)

    assert learner.explained.ratio(("one more", None)) < 2.0
    assert learner.explained.ratio_in_flight(0) == learner.explained.ratio(BIG) > 20.0


def test_a_label_with_few_calls_keeps_its_place_for_a_while(learner: Learner) -> None:
    kinds: list[Kind] = [(f"label {number}", None) for number in range(64)]
    for kind in kinds:
        learner.answers({kind: 1.0}, 3)

    learner.answers({kinds[0]: 1.0}, 2000)
    assert {*kinds} <= {*learner.explained._levels}  # they count as one and a half
    learner.answers({kinds[0]: 1.0}, 1000)
    assert len(learner.explained._levels) == 63  # one place is enough


def test_a_label_that_is_not_used_any_more_gives_up_its_place(learner: Learner) -> None:
    learner.answers({(f"label {number}", None): 1.0 for number in range(64)}, 1)
    learner.answers({SMALL: 1.0, BIG: 10.0}, 5000)

    assert learner.apart() == pytest.approx(10.0, rel=0.2)


def test_forgotten_is_forgotten(learner: Learner) -> None:
    learner.answers({SMALL: 1.0, BIG: 10.0}, 30)

    learner.explained.forget()

    assert learner.explained.ratio(BIG) == learner.explained.ratio(SMALL) == inf


def test_a_key_without_labels_has_nothing_of_it(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    breaker.acquire(label="").success()
    breaker.acquire(size=None).success()

    assert breaker._circuit.explained is None
