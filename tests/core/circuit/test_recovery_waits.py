"""Recovery: how long a wait that probes ask for is believed."""

from __future__ import annotations

from math import inf

import pytest

from recloser import Policy
from recloser._circuit.recovery import Recovery
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome


@pytest.fixture
def recovery() -> Recovery:
    """An outage that began at 100 s with call 10."""
    return Recovery(Policy(), 100.0, 10, 5)


def end(recovery: Recovery, vote: Vote, token: int, wait: float = 0.0) -> None:
    recovery.vote(vote, Ending(token, Outcome.FAILURE, 0.1, 130.0, wait=wait), 1, 0.02)


def test_it_is_believed_for_as_long_as_each_probe_has_asked_for_one(recovery: Recovery) -> None:
    waits = [recovery.believe(300.0, now) for now in (130.0, 130.5, 134.0, 150.0)]

    assert waits == [0.0, 0.5, 4.0, 20.0]


def test_who_asks_for_none_gets_none(recovery: Recovery) -> None:
    assert recovery.believe(0.0, 130.0) == 0.0
    assert recovery.believe(300.0, 150.0) == 0.0


def test_nobody_waits_beyond_the_first_time_that_was_named(recovery: Recovery) -> None:
    recovery.believe(120.0, 100.0)

    assert recovery.believe(120.0, 190.0) == pytest.approx(30.0)
    # It was too short, so the next one counts.
    assert recovery.believe(120.0, 220.0) == pytest.approx(120.0)


def test_a_shorter_wait_counts(recovery: Recovery) -> None:
    recovery.believe(300.0, 100.0)

    assert recovery.believe(7.0, 160.0) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("vote", "token", "wait", "expected"),
    [
        (Vote.GOOD, 12, 0.0, 0.0),
        (Vote.ALIVE, 12, 0.0, 0.0),
        (Vote.ANSWERING, 12, 0.0, 0.0),
        (Vote.HUNG, 12, 0.0, 0.0),
        (Vote.FAILED, 12, 0.0, 0.0),
        (Vote.OUTDATED, 12, 0.0, 0.0),
        (Vote.FAILED, 12, 300.0, 40.0),
        (Vote.OUTDATED, 9, 0.0, 40.0),
        (Vote.LOST, 9, 0.0, 40.0),
    ],
)
def test_a_call_that_does_not_ask_begins_it_anew_unless_it_began_before_the_outage(
    recovery: Recovery, vote: Vote, token: int, wait: float, expected: float
) -> None:
    recovery.believe(300.0, 100.0)

    end(recovery, vote, token, wait)

    assert recovery.believe(300.0, 140.0) == expected


def test_where_a_share_was_served_it_is_believed_for_a_quarter_as_long(recovery: Recovery) -> None:
    end(recovery, Vote.GOOD, 11)
    for token in range(12, 40):
        end(recovery, Vote.FAILED, token, wait=300.0)
    recovery.begin_round(1)
    recovery.believe(300.0, 140.0)

    assert recovery.believe(300.0, 180.0) == pytest.approx(10.0)


def test_at_first_nothing_was_asked_for(recovery: Recovery) -> None:
    assert recovery.believe(inf, 1e6) == 0.0
