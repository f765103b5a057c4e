"""Votes: what the end of a call says, by its outcome, its latency and where it was in flight."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from recloser import Outcome
from recloser._circuit.counts import Counts
from recloser._circuit.in_flight import WAITING, InFlight, Timing
from recloser._circuit.votes import (
    INTERRUPTED,
    LEFT,
    TIMED_OUT,
    Ending,
    Vote,
    is_excused,
    vote_of,
    vote_of_overdue,
    way_of_leaving,
)
from recloser._stall import StallWatch

TOKEN = 7
THRESHOLD = 1.0
STARTED = 100.0
FAST, LIMIT, SLOW = 0.5, THRESHOLD, 1.5

SUCCESS, FAILURE, THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
IGNORED, CANCELLED = Outcome.IGNORED, Outcome.CANCELLED


def timing(answered: float = inf) -> Timing:
    call = Timing()
    call.started, call.answered = STARTED, answered
    return call


def in_flight(where: str) -> InFlight:
    """One call, in the table that is named."""
    calls = InFlight()
    if where == "voting":
        calls.voting[TOKEN] = timing()
    elif where == "answering":
        calls.note_answering(TOKEN, timing())
    elif where == "overdue":
        calls.note_overdue(TOKEN, timing())
    elif where == "outdated":
        calls.note_outdated(TOKEN, timing())
    return calls


def counted(counts: Counts) -> dict[str, int]:
    names = ("successes", "failures", "slow", "throttled", "ignored", "cancelled")
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


def end(
    calls: InFlight,
    counts: Counts,
    outcome: Outcome,
    latency: float,
    stalls: StallWatch | None = None,
) -> Vote:
    ending = Ending(TOKEN, outcome, latency, STARTED + latency)
    return vote_of(ending, calls, counts, THRESHOLD, stalls or StallWatch())


def stall(*, ended: float, seconds: float) -> StallWatch:
    """The process stood still for some seconds until a time."""
    watch = StallWatch()
    watch.beat(ended - seconds - 0.02)
    watch.beat(ended)
    watch.stop()
    return watch


ENDS = [
    # A success is good or slow if it has a vote. Else it only tells that the callee answers.
    ("voting", SUCCESS, FAST, Vote.GOOD, {"successes": 1}),
    ("voting", SUCCESS, LIMIT, Vote.GOOD, {"successes": 1}),
    ("voting", SUCCESS, SLOW, Vote.SLOW, {"successes": 1, "slow": 1}),
    ("answering", SUCCESS, FAST, Vote.GOOD, {"successes": 1}),
    ("answering", SUCCESS, SLOW, Vote.SLOW, {"successes": 1, "slow": 1}),
    ("overdue", SUCCESS, FAST, Vote.CAME_BACK, {"successes": 1}),
    ("overdue", SUCCESS, SLOW, Vote.CAME_BACK, {"successes": 1, "slow": 1}),
    ("outdated", SUCCESS, FAST, Vote.OUTDATED, {"successes": 1}),
    ("outdated", SUCCESS, SLOW, Vote.OUTDATED, {"successes": 1, "slow": 1}),
    # A failure counts however long it took.
    ("voting", FAILURE, FAST, Vote.FAILED, {"failures": 1}),
    ("voting", FAILURE, SLOW, Vote.FAILED, {"failures": 1}),
    ("answering", FAILURE, SLOW, Vote.FAILED, {"failures": 1}),
    ("overdue", FAILURE, SLOW, Vote.LOST, {"failures": 1}),
    ("outdated", FAILURE, FAST, Vote.LOST, {"failures": 1}),
    # A call of an older generation says nothing new, but the wait that was asked for is noted.
    ("voting", THROTTLED, FAST, Vote.ASKED_TO_WAIT, {"throttled": 1}),
    ("answering", THROTTLED, SLOW, Vote.ASKED_TO_WAIT, {"throttled": 1}),
    ("overdue", THROTTLED, SLOW, Vote.ASKED_LATE, {"throttled": 1}),
    ("outdated", THROTTLED, FAST, Vote.ASKED_LATE, {"throttled": 1}),
    # Nothing shows that an ignored call had an answer; see below for one that had.
    ("voting", IGNORED, SLOW, Vote.ABSTAINED, {"ignored": 1}),
    ("answering", IGNORED, SLOW, Vote.ABSTAINED, {"ignored": 1}),
    ("overdue", IGNORED, SLOW, Vote.NONE, {"ignored": 1}),
    ("outdated", IGNORED, FAST, Vote.NONE, {"ignored": 1}),
    # Who gave up on a call that was slow already may have done so because of it.
    ("voting", CANCELLED, FAST, Vote.ABSTAINED, {"cancelled": 1}),
    ("voting", CANCELLED, LIMIT, Vote.ABSTAINED, {"cancelled": 1}),
    ("voting", CANCELLED, SLOW, Vote.HUNG, {"cancelled": 1}),
    ("answering", CANCELLED, SLOW, Vote.ABSTAINED, {"cancelled": 1}),
    ("overdue", CANCELLED, SLOW, Vote.LOST, {"cancelled": 1}),
    ("outdated", CANCELLED, SLOW, Vote.NONE, {"cancelled": 1}),
]


@pytest.mark.parametrize(("where", "outcome", "latency", "vote", "expected"), ENDS)
def test_the_end_of_a_call_is_counted_once_and_says_one_thing(
    where: str, outcome: Outcome, latency: float, vote: Vote, expected: dict[str, int]
) -> None:
    calls, counts = in_flight(where), Counts()

    assert end(calls, counts, outcome, latency) is vote
    assert counted(counts) == expected
    assert len(calls) == 0

    # Who ends it a second time is too late.
    assert end(calls, counts, outcome, latency) is Vote.NONE
    assert counted(counts) == expected


def test_the_table_of_ends_is_whole() -> None:
    tables = {"voting", "answering", "overdue", "outdated"}

    assert {(where, outcome) for where, outcome, *_ in ENDS} == {
        (where, outcome) for where in tables for outcome in Outcome
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_a_call_that_is_in_no_table_says_nothing(outcome: Outcome) -> None:
    counts = Counts()

    assert end(in_flight("none"), counts, outcome, SLOW) is Vote.NONE
    assert counted(counts) == {}


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE])
def test_what_answered_or_failed_is_counted_with_its_latency(outcome: Outcome) -> None:
    counts = Counts()

    end(in_flight("voting"), counts, outcome, SLOW)

    assert counts.latency_sum == SLOW


@pytest.mark.parametrize("outcome", [THROTTLED, IGNORED, CANCELLED])
def test_the_latency_of_other_calls_is_not_counted(outcome: Outcome) -> None:
    counts = Counts()

    end(in_flight("voting"), counts, outcome, SLOW)

    assert counts.latency_sum == 0.0


# A call that was answered, but not by what it was for


@pytest.mark.parametrize(
    ("where", "outcome", "latency", "vote"),
    [
        ("voting", IGNORED, FAST, Vote.ALIVE),
        ("voting", IGNORED, LIMIT, Vote.ALIVE),
        ("voting", IGNORED, SLOW, Vote.ALIVE_SLOW),
        ("voting", CANCELLED, FAST, Vote.ALIVE),  # its client left during the answer
        ("voting", CANCELLED, LIMIT, Vote.ALIVE),
        ("voting", CANCELLED, SLOW, Vote.HUNG),
        ("answering", CANCELLED, SLOW, Vote.ALIVE),  # the answer was in time, and is long
        ("overdue", IGNORED, SLOW, Vote.NONE),
        ("outdated", IGNORED, FAST, Vote.NONE),
    ],
)
def test_an_answer_shows_that_the_callee_is_alive(
    where: str, outcome: Outcome, latency: float, vote: Vote
) -> None:
    calls = in_flight(where)
    (call,) = calls.all()
    call.answered = STARTED + latency

    assert end(calls, Counts(), outcome, latency) is vote


@pytest.mark.parametrize("answered", [inf, WAITING, STARTED + FAST])
def test_only_who_waits_for_an_answer_waits_in_vain(answered: float) -> None:
    calls = in_flight("voting")
    calls.voting[TOKEN].answered = answered
    ending = Ending(TOKEN, CANCELLED, FAST, STARTED + FAST)

    vote_of(ending, calls, Counts(), THRESHOLD, StallWatch())

    assert ending.waited == (FAST if answered == inf else 0.0)


def test_who_waits_while_the_process_stands_still_waits_for_the_process() -> None:
    calls = in_flight("voting")
    ending = Ending(TOKEN, CANCELLED, 0.9, STARTED + 0.9)

    vote_of(ending, calls, Counts(), THRESHOLD, stall(ended=STARTED + 0.8, seconds=0.6))

    assert ending.waited == pytest.approx(0.3)


class Timeout(BaseException):
    """Like those of gevent and eventlet."""


class Cancelled(BaseException):
    """Like that of trio."""


class Killed(BaseException):
    """Like gevent.GreenletExit."""


@pytest.mark.parametrize(
    ("error", "way"),
    [
        (Timeout(), TIMED_OUT),
        (type("OurTimeout", (Timeout,), {})(), TIMED_OUT),
        (Cancelled(), INTERRUPTED),
        (asyncio.CancelledError(), INTERRUPTED),
        (BaseExceptionGroup("", [Cancelled(), BaseExceptionGroup("", [Cancelled()])]), INTERRUPTED),
        (BaseExceptionGroup("", [Cancelled(), Killed()]), LEFT),
        (BaseExceptionGroup("", [Cancelled(), Timeout()]), LEFT),
        (Killed(), LEFT),
        (GeneratorExit(), LEFT),
        (KeyboardInterrupt(), LEFT),
        (TimeoutError(), LEFT),  # its outcome was decided by somebody who knows more
        ("a message", LEFT),
        (None, LEFT),
    ],
)
def test_the_error_tells_how_a_call_was_cancelled(error: object, way: str) -> None:
    assert way_of_leaving(error) == way


# A process that stood still


@pytest.mark.parametrize(
    ("where", "outcome", "expected"),
    [
        ("voting", SUCCESS, {"successes": 1, "slow": 1}),
        ("overdue", SUCCESS, {"successes": 1, "slow": 1}),
        ("outdated", SUCCESS, {"successes": 1, "slow": 1}),
        ("voting", CANCELLED, {"cancelled": 1}),
    ],
)
def test_a_call_that_was_slow_through_our_own_fault_has_no_vote(
    where: str, outcome: Outcome, expected: dict[str, int]
) -> None:
    counts = Counts()
    stalls = stall(ended=STARTED + 1.2, seconds=0.6)

    of_voting = {SUCCESS: Vote.EXCUSED, CANCELLED: Vote.ABSTAINED}
    vote = of_voting[outcome] if where == "voting" else Vote.NONE
    assert end(in_flight(where), counts, outcome, SLOW, stalls) is vote
    assert counted(counts) == expected


def test_a_stall_excuses_no_failure() -> None:
    stalls = stall(ended=STARTED + 1.2, seconds=0.6)

    assert end(in_flight("voting"), Counts(), FAILURE, SLOW, stalls) is Vote.FAILED


@pytest.mark.parametrize(
    ("latency", "seconds", "excused"),
    [(1.5, 0.6, True), (1.5, 0.4, False), (1.5, 0.0, False), (0.5, 0.0, False)],
)
def test_a_stall_excuses_no_more_than_it_took(
    latency: float, seconds: float, excused: bool
) -> None:
    stalls = stall(ended=STARTED + 1.2, seconds=seconds)

    assert is_excused(latency, STARTED, STARTED + latency, THRESHOLD, stalls) is excused


@pytest.mark.parametrize(
    ("answered", "vote"), [(inf, Vote.EXCUSED), (WAITING, Vote.EXCUSED), (STARTED + 0.4, Vote.SLOW)]
)
def test_a_stall_excuses_what_had_no_answer_yet(answered: float, vote: Vote) -> None:
    """Neither had a call that waits for its own caller."""
    calls = InFlight()
    calls.voting[TOKEN] = timing(answered)

    told = end(calls, Counts(), SUCCESS, SLOW, stall(ended=STARTED + 1.2, seconds=0.6))

    assert told is vote


class Asked(StallWatch):
    """Notes whose calls it was asked about."""

    who: int = 0

    def lost(self, started: float, now: float, until: float = inf, who: int = 0) -> float:
        self.who = who
        return super().lost(started, now, until, who)


@pytest.mark.parametrize("outcome", [SUCCESS, CANCELLED])
def test_who_may_have_held_the_process_itself_is_told_by_its_key(outcome: Outcome) -> None:
    calls, stalls = in_flight("voting"), Asked()

    end(calls, Counts(), outcome, SLOW, stalls)

    assert stalls.who == id(calls)


def test_a_stall_before_the_call_excuses_nothing() -> None:
    stalls = stall(ended=STARTED - 0.1, seconds=5.0)

    assert not is_excused(SLOW, STARTED, STARTED + SLOW, THRESHOLD, stalls)


# Calls that are overdue


@pytest.mark.parametrize(
    ("answered", "closed", "vote", "table"),
    [
        (inf, True, Vote.HUNG, "overdue"),
        (inf, False, Vote.HUNG, "overdue"),
        # It began to answer, but too late.
        (STARTED + 1.1, True, Vote.HUNG, "overdue"),
        (STARTED + 1.1, False, Vote.HUNG, "overdue"),
        # It began to answer in time. While closed its end decides.
        (STARTED + 1.0, True, Vote.NONE, "answering"),
        (STARTED + 0.5, True, Vote.NONE, "answering"),
        # Of a probe that has to do.
        (STARTED + 0.5, False, Vote.ANSWERING, "outdated"),
        # It waits for its own caller.
        (WAITING, True, Vote.NONE, "answering"),
        (WAITING, False, Vote.NONE, "answering"),
    ],
)
def test_a_call_in_flight_past_the_threshold_is_put_aside(
    answered: float, closed: bool, vote: Vote, table: str
) -> None:
    calls, call = InFlight(), timing(answered)

    told = vote_of_overdue(
        TOKEN, call, STARTED + SLOW, calls, THRESHOLD, StallWatch(), serving=closed
    )

    assert told is vote
    tables = {"overdue": calls.overdue, "answering": calls.answering}
    tables["outdated"] = calls.outdated[0] if calls.outdated else {}
    assert {name for name, entries in tables.items() if entries == {TOKEN: call}} == {table}
    assert len(calls) == 1


def test_a_call_that_hangs_through_our_own_fault_is_overdue_and_has_no_vote() -> None:
    calls = InFlight()
    stalls = stall(ended=STARTED + 1.2, seconds=0.6)

    told = vote_of_overdue(TOKEN, timing(), STARTED + SLOW, calls, THRESHOLD, stalls, serving=True)

    assert told is Vote.NONE
    assert calls.overdue


@pytest.mark.parametrize(
    ("seconds", "vote"), [(0.0, Vote.HUNG), (0.4, Vote.HUNG), (0.6, Vote.NONE)]
)
def test_a_stall_excuses_a_call_that_hangs_for_no_more_than_it_took(
    seconds: float, vote: Vote
) -> None:
    """A process that stands still for a moment now and then still sees a callee that is mute."""
    calls, stalls = InFlight(), stall(ended=STARTED + 1.2, seconds=seconds)

    told = vote_of_overdue(TOKEN, timing(), STARTED + SLOW, calls, THRESHOLD, stalls, serving=True)

    assert told is vote


def test_nothing_is_known_of_an_end_but_what_was_told() -> None:
    ending = Ending(TOKEN, SUCCESS, FAST, STARTED)

    assert (ending.trace, ending.waited, ending.going_on) == ("", 0.0, False)


def test_a_call_that_waits_for_its_own_caller_shows_no_life() -> None:
    calls = InFlight()
    calls.voting[TOKEN] = timing(WAITING)

    assert end(calls, Counts(), IGNORED, FAST) is Vote.ABSTAINED
