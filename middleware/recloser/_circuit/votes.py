"""Votes: what the end of a call says about the callee, in whatever state the breaker is."""

from __future__ import annotations

import enum
from math import inf
from typing import cast

from recloser._circuit.counts import Counts
from recloser._circuit.in_flight import WAITING, InFlight, Timing
from recloser._outcome import Outcome
from recloser._redaction import Raised
from recloser._stall import StallWatch

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
_CANCELLED = Outcome.CANCELLED


class Vote(enum.Enum):
    """What one call says about the callee."""

    NONE = "none"
    """Nothing: the call had ended already, or has no vote."""
    ABSTAINED = "abstained"
    """It has a vote and says nothing: its caller left, or it was no call to the callee."""
    ALIVE = "alive"
    """It was answered in time, and that is all: a 4xx, or its caller left during the answer."""
    ALIVE_SLOW = "alive, but slow"
    """The same, but above the slow threshold."""
    UNKNOWN = "unknown"
    """The call was answered, but it is not known how long such calls take."""
    GOOD = "good"
    """The call was answered within the slow threshold."""
    SLOW = "slow"
    """The call was answered, but took longer than the slow threshold."""
    EXCUSED = "excused"
    """It answered above the slow threshold, because our own process stood still."""
    HUNG = "hung"
    """The call has no answer after the slow threshold, or had none when its caller gave up."""
    FAILED = "failed"
    """The call failed."""
    ANSWERING = "answering"
    """The answer to a probe began in time, and has not ended."""
    ASKED_TO_WAIT = "asked to wait"
    """The callee asked for a pause."""
    ASKED_LATE = "asked late"
    """The same by a call that has no vote any more."""
    CAME_BACK = "came back"
    """The call was counted as overdue, and was answered later."""
    OUTDATED = "outdated"
    """The call was answered, but was admitted before the last change of state."""
    LOST = "lost"
    """The call had no vote any more and was never answered: it failed, or its caller gave up."""


# The votes as plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
NONE = Vote.NONE
ABSTAINED = Vote.ABSTAINED
ALIVE = Vote.ALIVE
ALIVE_SLOW = Vote.ALIVE_SLOW
UNKNOWN = Vote.UNKNOWN
GOOD = Vote.GOOD
SLOW = Vote.SLOW
EXCUSED = Vote.EXCUSED
HUNG = Vote.HUNG
FAILED = Vote.FAILED
ANSWERING = Vote.ANSWERING
ASKED_TO_WAIT = Vote.ASKED_TO_WAIT
ASKED_LATE = Vote.ASKED_LATE
CAME_BACK = Vote.CAME_BACK
OUTDATED = Vote.OUTDATED
LOST = Vote.LOST

SILENT = (ABSTAINED, ALIVE, ALIVE_SLOW)
"""Votes without a verdict, see `silent_ends.py`."""

# How a call was cancelled, as a `rule` of `Ending`.
LEFT = "left"
"""The caller said that it does not wait any more."""
INTERRUPTED = "interrupted"
"""An exception that cancels was thrown into it."""
TIMED_OUT = "timed out"
"""The same, and that exception is known to be a time-out."""
OUTRUN = "outrun"
"""Another call had ended, see `_race.py`."""
OUTPACED = "outpaced"
"""A second attempt at the same work has answered first, and this one was cancelled for it."""

# Classes by which asyncio and trio cancel.
_CANCELS = frozenset({"CancelledError", "Cancelled"})


class Ending:
    """How a call ended.

    Attributes:
        token: The token of the call.
        outcome: Its outcome.
        latency: Seconds until the answer began, or until the end of the call. What is known of the
            call may have been taken into account, see `explained.py`.
        took: The same, as it was; of a failure, seconds until the end of the call.
        now: When it ended, in seconds.
        what: A description of the failure, for the reason of an opening.
        wait: Seconds of the pause that the callee asked for; 0.0 for none.
        rule: Why a throttled call was throttled: `retry_after` or `quota`. How a cancelled one was
            cancelled: `LEFT`, `INTERRUPTED`, `TIMED_OUT`, `OUTRUN` or `OUTPACED`.
        waited: Seconds for which the caller of a cancelled call waited for an answer in vain; 0.0
            where that says nothing.
        going_on: Whether the call goes on although its vote is counted now: it is a stream. A stall
            is evidence, however long ago the call began.
        trace: The id of the trace of the call, "" if it is not known.
    """

    __slots__ = (
        "going_on",
        "latency",
        "now",
        "outcome",
        "rule",
        "token",
        "took",
        "trace",
        "wait",
        "waited",
        "what",
    )

    def __init__(
        self,
        token: int,
        outcome: Outcome,
        latency: float,
        now: float,
        what: Raised | str = "",
        wait: float = 0.0,
        rule: str = "retry_after",
    ) -> None:
        self.token = token
        self.outcome = outcome
        self.latency = self.took = latency
        self.now = now
        self.what = what
        self.wait = wait
        self.rule = rule
        self.waited = 0.0
        self.going_on = False
        self.trace = ""


def way_of_leaving(error: object) -> str:
    """How a call was cancelled, by what it raised: `LEFT`, `INTERRUPTED` or `TIMED_OUT`.

    Time-outs of gevent and eventlet are no `Exception`, and cancel as asyncio and trio do. What is an
    `Exception`, or no error at all, was judged by the caller.
    """
    if not isinstance(error, BaseException) or isinstance(error, Exception):
        return LEFT
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        ways = {way_of_leaving(leaf) for leaf in group.exceptions}
        return ways.pop() if len(ways) == 1 else LEFT
    # Imported when it is first needed, to keep the import of recloser fast.
    from recloser._error_presets import is_time_out

    if is_time_out(error):
        return TIMED_OUT
    is_cancel = not _CANCELS.isdisjoint([kind.__name__ for kind in type(error).__mro__])
    return INTERRUPTED if is_cancel else LEFT


def vote_of(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    """End a call in flight, count it, and return its vote.

    Args:
        ending: How the call ended.
        calls: The calls in flight.
        counts: Where the call is counted.
        threshold: The slow threshold, in seconds.
        stalls: Reports for how long the process stood still.
    """
    outcome = ending.outcome
    if calls.streams is not None and not ending.going_on:
        calls.streams.end(ending.token, well=outcome is _SUCCESS, failed=outcome is _FAILURE)
    if outcome is _SUCCESS:
        return _of_success(ending, calls, counts, threshold, stalls)
    if outcome is _CANCELLED:
        return _of_cancelled(ending, calls, counts, threshold, stalls)
    token, latency = ending.token, ending.latency
    call = calls.take(token)
    has_vote = call is not None
    if not has_vote and not _take_without_vote(calls, token):
        return NONE
    if outcome is _FAILURE:
        counts.count(latency, success=False)
        if call is not None:
            ending.took = max(ending.took, ending.now - call.started)
        # A call that hung and then failed does not show that the callee is only slow.
        return FAILED if has_vote else LOST
    if outcome is _THROTTLED:
        counts.throttled += 1
        return ASKED_TO_WAIT if has_vote else ASKED_LATE
    counts.ignored += 1
    if call is None:
        return NONE
    if not WAITING < call.answered < inf:
        return ABSTAINED
    return ALIVE if latency <= threshold else ALIVE_SLOW


def _of_success(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    token, latency = ending.token, ending.latency
    call, vote = calls.take(token), SLOW
    if call is None:
        call, vote = calls.take_overdue(token), CAME_BACK
    if call is None:
        call, vote = calls.take_outdated(token), OUTDATED
    if call is None:
        return NONE
    counts.count(latency, success=True)
    slow = latency > threshold
    counts.slow += slow
    if not slow and vote is SLOW:
        return GOOD
    answered = call.answered if call.answered != WAITING else inf
    if is_excused(latency, call.started, ending.now, threshold, stalls, answered, id(calls)):
        return EXCUSED if vote is SLOW else NONE
    return vote


def _of_cancelled(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    token, latency = ending.token, ending.latency
    is_long = token in calls.answering
    call = calls.take(token)
    is_overdue = call is None and calls.take_overdue(token) is not None
    if call is None and not is_overdue and calls.take_outdated(token) is None:
        return NONE
    counts.cancelled += 1
    if is_overdue:
        return ABSTAINED if ending.rule == OUTPACED else LOST
    if call is None:
        return NONE
    if WAITING < call.answered < inf and (is_long or latency <= threshold):
        return ALIVE
    if is_long or ending.rule == OUTPACED:
        return ABSTAINED
    if latency > threshold:
        excused = is_excused(latency, call.started, ending.now, threshold, stalls, who=id(calls))
        return ABSTAINED if excused else HUNG
    if call.answered == inf:
        ending.waited = max(latency - stalls.lost(call.started, ending.now), 0.0)
    return ABSTAINED


def vote_of_overdue(
    token: int,
    call: Timing,
    now: float,
    calls: InFlight,
    threshold: float,
    stalls: StallWatch,
    *,
    serving: bool,
) -> Vote:
    """Move a call that has been in flight for `threshold` seconds, and return its vote.

    Args:
        token: The token of the call, which must have been removed from `calls.voting`.
        call: Its times.
        now: Seconds.
        calls: The calls in flight.
        threshold: The slow threshold, in seconds.
        stalls: Reports for how long the process stood still.
        serving: Whether the breaker is closed or limited.
    """
    started = call.started
    calls.excuse(call, token, threshold)
    if call.answered - started > threshold:
        calls.note_overdue(token, call)
        # The call that is being admitted may be in another loop or thread.
        lost = stalls.lost_anywhere(started, now)
        excused = lost > 0.0 and now - started - lost <= threshold
        return NONE if excused else HUNG
    if (
        serving
        or call.answered == WAITING
        or (calls.streams is not None and calls.streams.doubts(token))
    ):
        # Its vote is decided when it ends.
        calls.note_answering(token, call)
        return NONE
    # A probe counts as good now: an answer without end would keep the breaker half-open.
    calls.note_outdated(token, call)
    return ANSWERING


def of_streams(calls: InFlight, now: float, stalls: StallWatch) -> list[Ending]:
    """The endings of the streams whose votes are counted at `now` seconds, although they go on."""
    streams, endings = calls.streams, list[Ending]()
    if streams is None or now < streams.check_at:
        return endings
    streams.forget_ended(calls.__contains__)
    for token, latency, wait in streams.take_decided(now, stalls.lost):
        if wait is None:
            ending = Ending(token, _SUCCESS, latency, now)
        else:
            ending = Ending(token, _FAILURE, latency, now, f"stalled: no piece for {wait:.3g} s")
        ending.going_on = True
        endings.append(ending)
    return endings


def _take_without_vote(calls: InFlight, token: int) -> bool:
    """End a call that has no vote any more; return whether there was such a call."""
    return calls.take_overdue(token) is not None or calls.take_outdated(token) is not None


def is_excused(
    latency: float,
    started: float,
    now: float,
    threshold: float,
    stalls: StallWatch,
    answered: float = inf,
    who: int = 0,
) -> bool:
    """Whether a call that ends now was slow only because our own process stood still."""
    lost = stalls.lost(started, now, answered, who)
    return lost > 0.0 and latency - lost <= threshold
