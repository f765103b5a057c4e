"""Explained: calls in flight, and calls whose label comes late, is unknown or is a long poll."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.labelled_calls import BIG, POLICY, SMALL, Learner

from recloser import Outcome
from recloser._circuit.counts import Counts
from recloser._circuit.kinds import LONG_POLL, NOTHING, Kind
from recloser._circuit.votes import ALIVE, UNKNOWN, Ending, Vote
from recloser._stall import StallWatch

POLL: Kind = (LONG_POLL, None)


@pytest.fixture
def learner() -> Learner:
    return Learner()


def end(learner: Learner, token: int, outcome: Outcome, latency: float) -> Vote:
    ending = Ending(token, outcome, latency, latency)
    return learner.explained.vote(ending, learner.calls, Counts(), StallWatch(), calm=True)


# Labels without a place of their own


def test_a_long_poll_has_no_ratio_also_where_all_places_are_taken(learner: Learner) -> None:
    learner.answers({(f"label {number}", None): 1.0 for number in range(80)}, 10)
    assert learner.explained.ratio(("new", None)) < inf

    assert learner.explained.ratio(POLL) == inf


def test_while_the_common_place_is_not_known_a_size_may_take_as_long_as_others_of_its_label(
    learner: Learner,
) -> None:
    """Where labels come late: it may still be of any usual size."""
    learner.answers({SMALL: 1.0, ("big", 3): 10.0}, 100)
    for number in range(62):
        learner.answer((f"label {number}", None), 1.0)
    learner.know(1.0)
    for token in range(1000, 1020):
        learner.begin(token)
        learner.explained.note_late(token, BIG, learner.calls, learner.baseline.threshold)
    learner.explained.kinds[0] = ("big", 9)
    assert len(learner.explained._levels) == 64

    assert learner.explained.ratio_in_flight(0) == learner.explained.ratio(("big", 3)) > 5.0


# Calls that may take longer


@pytest.mark.parametrize(("kind", "is_known"), [(("", 5), True), (SMALL, True), (BIG, False)])
def test_while_little_is_known_a_new_label_may_take_until_the_ceiling_and_a_size_may_not(
    learner: Learner, kind: Kind, is_known: bool
) -> None:
    learner.answers({SMALL: 1.0}, 10)
    learner.explained.kinds[0] = kind
    hopeless = learner.explained.hopeless_at_first()
    assert hopeless < POLICY.slow_ceiling

    expected = hopeless if is_known else POLICY.slow_ceiling

    assert learner.explained.slow_after_token(0) == expected


@pytest.mark.parametrize(
    ("kind", "answered", "longer"),
    [(BIG, inf, True), (BIG, 0.5, False), (NOTHING, inf, False), (NOTHING, 0.5, False)],
)
def test_only_a_call_with_a_label_that_has_not_begun_to_answer_may_take_longer(
    learner: Learner, kind: Kind, answered: float, longer: bool
) -> None:
    call = learner.begin(7)
    call.answered = answered
    if kind != NOTHING:
        learner.explained.kinds[7] = kind

    assert learner.explained.may_take_longer(7, call, 1.0) is longer


def test_of_the_calls_that_are_watched_only_those_that_have_not_begun_to_answer_are_overdue(
    learner: Learner,
) -> None:
    learner.know(1.0)
    for token, kind, answered in (
        (1, BIG, 0.5),
        (2, NOTHING, inf),
        (3, NOTHING, 0.5),
        (4, BIG, inf),
    ):
        call = learner.begin(token)
        call.answered = answered
        if kind != NOTHING:
            learner.explained.kinds[token] = kind
        learner.explained.watch(token, learner.calls.voting.pop(token), learner.calls)
    learner.explained.check_at = 0.0

    overdue = [token for token, _ in learner.explained.take_overdue(learner.calls, 5000.0)]

    assert overdue == [4]
    assert {*learner.calls.answering} == {1, 2, 3}


def test_while_little_is_known_each_answer_may_make_a_call_overdue(learner: Learner) -> None:
    learner.begin(0)
    learner.explained.note_late(0, BIG, learner.calls, 0.0)
    assert learner.explained.check_at == POLICY.slow_ceiling  # nothing is known of such calls

    learner.answers({BIG: 1.0}, 10)
    now = learner.explained.hopeless_at_first() + 0.1

    assert now < POLICY.slow_ceiling
    assert [token for token, _ in learner.explained.take_overdue(learner.calls, now)] == [0]


# Labels that come late


def test_no_label_that_comes_late_changes_nothing(learner: Learner) -> None:
    call = learner.begin(7)

    learner.explained.note_late(7, NOTHING, learner.calls, 1.0)

    assert learner.calls.voting == {7: call}
    assert not learner.explained.kinds


def test_a_label_of_a_call_that_has_ended_is_not_kept(learner: Learner) -> None:
    learner.explained.kinds[7] = BIG

    learner.explained.note_late(7, BIG, learner.calls, 1.0)

    assert not learner.explained.kinds


def test_an_overdue_call_that_gets_its_label_stays_overdue(learner: Learner) -> None:
    learner.know(1.0)
    call = learner.begin(7)
    learner.calls.note_overdue(7, learner.calls.voting.pop(7))

    learner.explained.note_late(7, BIG, learner.calls, 100.0)

    assert learner.explained.kinds == {7: BIG}
    assert learner.calls.overdue == {7: call}
    assert 7 not in learner.calls.answering


# Ends


def test_a_call_has_not_hung_if_its_caller_leaves_after_the_answer_began(learner: Learner) -> None:
    learner.answers({NOTHING: 1.0, BIG: 10.0}, 50)
    learner.know(1.0)
    call = learner.begin(0)
    learner.explained.note_late(0, BIG, learner.calls, 1.0)
    call.answered = 500.0

    assert end(learner, 0, Outcome.CANCELLED, 500.0) is ALIVE


def test_a_long_poll_that_takes_longer_than_the_ceiling_is_not_slow(learner: Learner) -> None:
    learner.begin(0)
    learner.explained.note_late(0, POLL, learner.calls, 1.0)

    assert end(learner, 0, Outcome.SUCCESS, 2.0 * POLICY.slow_ceiling) is UNKNOWN
