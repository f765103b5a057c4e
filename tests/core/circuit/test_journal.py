"""The journal: what a fleet is told of the calls of one worker."""

from __future__ import annotations

from math import inf

import pytest

from recloser import Outcome
from recloser._circuit.in_flight import WAITING, InFlight, Timing
from recloser._circuit.journal import Begun, Ended, Journal

NOW = 100.0


def call(started: float = NOW, answered: float = inf) -> Timing:
    timing = Timing()
    timing.started, timing.answered = started, answered
    return timing


@pytest.fixture
def calls() -> InFlight:
    return InFlight()


@pytest.fixture
def journal() -> Journal:
    return Journal(1, 0)


def begin(journal: Journal, calls: InFlight, token: int, at: float = NOW) -> Timing:
    calls.voting[token] = call(at)
    journal.begin(token, at)
    return calls.voting[token]


def good(token: int, at: float) -> Ended:
    return Ended(token, at, Outcome.SUCCESS, 0.1)


def test_begins_and_ends_are_told_once_and_in_the_order_of_time(
    journal: Journal, calls: InFlight
) -> None:
    begin(journal, calls, 1, NOW)
    begin(journal, calls, 2, NOW + 1.0)
    del calls.voting[1]
    journal.end(good(1, NOW + 2.0))

    taken = journal.take(calls, NOW + 2.0)

    assert taken == [Begun(1, NOW), Begun(2, NOW + 1.0), good(1, NOW + 2.0)]
    assert journal.take(calls, NOW + 3.0) == []
    assert journal.open == (2,)
    journal.end(good(2, NOW + 3.0))
    assert len(journal.open) == 0
    assert journal.take(calls, NOW + 3.0) == [good(2, NOW + 3.0)]


def test_one_call_in_so_many_is_written_down_with_its_end(calls: InFlight) -> None:
    journal = Journal(4, 0)
    for token in range(1, 101):
        journal.begin(token, NOW)
        journal.end(good(token, NOW))

    taken = journal.take(calls, NOW)

    assert {entry.token for entry in taken} == set(range(4, 101, 4))
    assert sum(isinstance(entry, Begun) for entry in taken) == 25
    assert sum(isinstance(entry, Ended) for entry in taken) == 25


def test_the_end_of_a_call_that_was_not_written_down_is_none(
    journal: Journal, calls: InFlight
) -> None:
    journal.end(good(7, NOW))

    assert journal.take(calls, NOW) == []


def test_a_journal_stays_small_and_no_call_ends_that_has_not_begun(
    journal: Journal, calls: InFlight
) -> None:
    for token in range(1, 2_001):
        journal.begin(token, NOW)
        journal.end(good(token, NOW))

    taken = journal.take(calls, NOW)

    begun = [entry.token for entry in taken if isinstance(entry, Begun)]
    assert 200 < len(begun) <= 512
    assert begun == [entry.token for entry in taken if isinstance(entry, Ended)]
    # The next one has room again.
    journal.begin(3_000, NOW)
    journal.end(good(3_000, NOW))
    assert len(journal.take(calls, NOW)) == 2


def test_a_renamed_call_that_nobody_knows_yet_begins_once_by_its_new_name(
    journal: Journal, calls: InFlight
) -> None:
    begin(journal, calls, 1)

    journal.rename(1, 5, NOW + 1.0)

    assert journal.take(calls, NOW + 2.0)[0] == Begun(5, NOW + 1.0)


def test_a_renamed_call_that_the_fleet_knows_ends_without_a_verdict_and_begins_anew(
    journal: Journal, calls: InFlight
) -> None:
    calls.voting[5] = begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]

    journal.rename(1, 5, NOW + 1.0)

    assert journal.take(calls, NOW + 2.0) == [
        Ended(1, NOW + 1.0, Outcome.IGNORED, 0.0),
        Begun(5, NOW + 1.0),
    ]


def test_a_renamed_call_that_was_not_written_down_stays_so(
    journal: Journal, calls: InFlight
) -> None:
    journal.rename(1, 5, NOW)

    assert journal.take(calls, NOW) == []


def test_a_call_that_waits_for_its_client_has_not_begun_for_the_callee(
    journal: Journal, calls: InFlight
) -> None:
    waiting = begin(journal, calls, 1)
    waiting.answered = WAITING
    assert journal.take(calls, NOW + 1.0) == []

    waiting.answered = inf

    assert journal.take(calls, NOW + 2.0) == [Begun(1, NOW)]


def test_a_stream_that_begins_to_answer_has_ended_well_for_the_callee(
    journal: Journal, calls: InFlight
) -> None:
    stream = begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]
    calls.answering = {1: stream}
    stream.answered = NOW + 0.25

    assert journal.take(calls, NOW + 1.0) == [Ended(1, NOW + 0.25, Outcome.SUCCESS, 0.25)]
    # It goes on for an hour, and nobody waits for it.
    assert journal.open == ()
    journal.end(good(1, NOW + 3600.0))
    assert journal.take(calls, NOW + 3600.0) == []


def test_a_call_that_is_gone_ends_without_a_verdict(journal: Journal, calls: InFlight) -> None:
    begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]

    assert journal.take(calls, NOW + 1.0) == [Ended(1, NOW + 1.0, Outcome.IGNORED, 0.0)]


@pytest.mark.parametrize("table", ["overdue", "outdated"])
def test_a_call_that_is_still_in_flight_in_another_table_has_not_ended(
    journal: Journal, calls: InFlight, table: str
) -> None:
    late = begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]
    if table == "overdue":
        calls.overdue = {1: late}
    else:
        calls.outdated = [{}, {1: late}]

    assert journal.take(calls, NOW + 5.0) == []
    assert journal.open == (1,)


def test_what_could_not_be_told_is_told_the_next_time_and_first(
    journal: Journal, calls: InFlight
) -> None:
    begin(journal, calls, 1)
    taken = journal.take(calls, NOW)
    del calls.voting[1]
    journal.end(good(1, NOW + 0.5))

    journal.give_back(taken)

    assert journal.take(calls, NOW + 1.0) == [Begun(1, NOW), good(1, NOW + 0.5)]


def test_a_journal_has_room_for_so_many_entries_whatever_they_are() -> None:
    journal = Journal(1, 0)
    for token in range(1, 151):
        journal.begin(token, NOW)
        journal.end(good(token, NOW))
    for token in range(151, 1_001):
        journal.begin(token, NOW)

    taken = journal.take(InFlight(), NOW)

    # Begins and ends of 150 calls, and 212 begins; of each of these it tells that the call is gone.
    assert sum(isinstance(entry, Begun) for entry in taken) == 150 + 512 - 300


def test_a_call_that_is_gone_ends_once(journal: Journal, calls: InFlight) -> None:
    begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]
    journal.take(calls, NOW + 1.0)

    assert journal.open == ()
    assert journal.take(calls, NOW + 2.0) == []


def test_a_call_that_waits_for_its_client_has_not_ended(journal: Journal, calls: InFlight) -> None:
    waiting = begin(journal, calls, 1)
    journal.take(calls, NOW)
    del calls.voting[1]
    calls.answering = {1: waiting}
    waiting.answered = WAITING

    assert journal.take(calls, NOW + 1.0) == []
    assert journal.open == (1,)


# What was in flight when it began


def test_of_calls_in_flight_when_it_begins_only_the_end_is_told(
    journal: Journal, calls: InFlight
) -> None:
    calls.voting[1] = call(NOW - 1.0)
    calls.overdue = {2: call(NOW - 9.0)}
    calls.voting[3] = call(NOW - 1.0, answered=WAITING)  # it has not begun for the callee

    journal.begin_with(calls)

    assert journal.take(calls, NOW) == []
    assert set(journal.open) == {1, 2}
    del calls.voting[1]
    journal.end(good(1, NOW))
    assert journal.take(calls, NOW) == [good(1, NOW)]
    assert journal.open == (2,)


def test_a_call_that_was_in_flight_when_it_began_does_not_begin_once_more(
    journal: Journal, calls: InFlight
) -> None:
    calls.voting[1] = call(NOW - 1.0)
    journal.begin_with(calls)

    journal.begin(1, NOW)

    assert journal.take(calls, NOW) == []
    assert journal.open == (1,)


def test_of_calls_in_flight_when_it_begins_one_in_so_many_is_told(calls: InFlight) -> None:
    journal = Journal(4, 0)
    calls.voting.update({token: call() for token in range(1, 10_000)})

    journal.begin_with(calls)

    assert len(journal.open) == 512
    assert all(token % 4 == 0 for token in journal.open)
