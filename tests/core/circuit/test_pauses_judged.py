"""Whether all callers are asked to wait, call by call."""

from __future__ import annotations

from math import inf

from recloser import Outcome, Policy
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.pauses import Pauses
from recloser._circuit.votes import Ending

POLICY = Policy()


def judged(
    pauses: Pauses, token: int, now: float, wait: float, *, took: float = 0.1, running: float = inf
) -> bool:
    """Count a call that is asked to wait; another one, which is in flight, began at `running`."""
    calls, other = InFlight(), Timing()
    other.started, other.answered = running, inf
    calls.voting[1_000] = other
    ending = Ending(token, Outcome.THROTTLED, took, now, wait=wait)
    return pauses.judge(ending, token, calls, POLICY, 0.0)


def test_where_no_rate_is_known_four_calls_in_a_row_are_enough() -> None:
    """However long they are asked to wait: a key that is hardly used has few calls to lose."""
    pauses = Pauses(served_at=90.0)

    assert [judged(pauses, token, 100.0, 60.0) for token in range(1, 5)] == [False] * 3 + [True]


def test_a_call_that_takes_far_longer_than_those_that_are_asked_is_served() -> None:
    pauses = Pauses(served_at=90.0)

    assert not any(judged(pauses, token, 100.0, 60.0, running=99.0) for token in range(1, 5))


def test_where_calls_are_asked_at_once_nothing_is_known_of_those_that_take_longer() -> None:
    """By a clock that is too coarse to measure them."""
    pauses = Pauses(served_at=90.0)

    asked = [judged(pauses, token, 100.0, 60.0, took=0.0, running=99.0) for token in range(1, 5)]

    assert asked == [False] * 3 + [True]


def test_the_more_calls_are_refused_the_surer_it_must_be_that_the_next_pause_is_for_all() -> None:
    pauses = Pauses(served_at=90.0)
    for token in range(1, 5):
        judged(pauses, token, 100.0, 60.0)

    assert pauses.count_asked_again(60.0, 0.0)
    assert not pauses.count_asked_again(60.0, 100.0)
    # One that names no time is short.
    assert pauses.count_asked_again(0.0, 100.0)


def test_a_call_that_is_served_counts_however_many_were_asked_before() -> None:
    """Evidence beyond what is enough is not kept: it would outweigh calls that are served later."""
    pauses, enough = Pauses(served_at=90.0), 6.0
    for token in range(1, 31):
        pauses.ask(token, token, 100.0, 60.0, POLICY)
        assert not pauses.count_asked(enough, 1_000.0, 0, obeyed=False)

    pauses.served(1, 101.0)

    assert not pauses.count_asked(enough, 0.0, 0, obeyed=False)
