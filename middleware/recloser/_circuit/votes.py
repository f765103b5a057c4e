"""What the end of a call says about the callee, whatever state the breaker is in."""

from __future__ import annotations

import enum

from recloser._circuit.counts import Counts
from recloser._circuit.in_flight import WAITING, InFlight, Timing
from recloser._outcome import Outcome
from recloser._stall import StallWatch

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
_CANCELLED = Outcome.CANCELLED


class Vote(enum.Enum):
    """What one call says."""

    NONE = "none"
    """Nothing: it was ignored, or had ended already."""
    GOOD = "good"
    """It answered in time."""
    SLOW = "slow"
    """It answered above the slow threshold."""
    HUNG = "hung"
    """It is above the slow threshold and has not answered, or had not when its caller gave up."""
    FAILED = "failed"
    """It failed."""
    ANSWERING = "answering"
    """It began to answer in time, and goes on."""
    ASKED_TO_WAIT = "asked to wait"
    """The callee asked to be left alone."""
    CAME_BACK = "came back"
    """It was counted as overdue, and answered after all."""
    OUTDATED = "outdated"
    """It answered, and was admitted before the last change of state."""
    LOST = "lost"
    """It has no vote any more, and did not come back: it failed, or its caller gave up."""


class Ending:
    """How a call ended.

    Attributes:
        token: The call.
        outcome: How it ended.
        latency: Seconds until it answered, or until its end.
        now: When it ended, in seconds.
        what: What failed, for the reason of an opening.
        wait: Seconds for which the callee asked to be left alone; 0.0 if it did not.
        rule: For a throttled call why: `retry_after` or `quota`.
    """

    __slots__ = ("latency", "now", "outcome", "rule", "token", "wait", "what")

    def __init__(
        self,
        token: int,
        outcome: Outcome,
        latency: float,
        now: float,
        what: str = "",
        wait: float = 0.0,
        rule: str = "retry_after",
    ) -> None:
        self.token = token
        self.outcome = outcome
        self.latency = latency
        self.now = now
        self.what = what
        self.wait = wait
        self.rule = rule


def vote_of(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    """Take a call out of those in flight, count it, and tell what it says.

    Args:
        ending: How it ended.
        calls: The calls in flight.
        counts: Where it is counted.
        threshold: The slow threshold, in seconds.
        stalls: Tells for how long the process stood still.
    """
    outcome = ending.outcome
    if outcome is _SUCCESS:
        return _of_success(ending, calls, counts, threshold, stalls)
    if outcome is _CANCELLED:
        return _of_cancelled(ending, calls, counts, threshold, stalls)
    token, latency = ending.token, ending.latency
    has_vote = calls.take(token) is not None
    if not has_vote and not _take_late(calls, token):
        return Vote.NONE
    if outcome is _FAILURE:
        counts.count(latency, success=False)
        # One that hung and then failed is no sign of a slow callee, but of a sick one.
        return Vote.FAILED if has_vote else Vote.LOST
    if outcome is _THROTTLED:
        counts.throttled += 1
        return Vote.ASKED_TO_WAIT
    counts.ignored += 1
    return Vote.NONE


def _of_success(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    token, latency = ending.token, ending.latency
    call, vote = calls.take(token), Vote.SLOW
    if call is None:
        call, vote = calls.take_overdue(token), Vote.CAME_BACK
    if call is None:
        call, vote = calls.take_outdated(token), Vote.OUTDATED
    if call is None:
        return Vote.NONE
    counts.count(latency, success=True)
    if latency > threshold:
        counts.slow += 1
        if is_excused(latency, call.started, ending.now, threshold, stalls):
            return Vote.NONE
    elif vote is Vote.SLOW:
        return Vote.GOOD
    return vote


def _of_cancelled(
    ending: Ending, calls: InFlight, counts: Counts, threshold: float, stalls: StallWatch
) -> Vote:
    token, latency = ending.token, ending.latency
    is_long = token in calls.answering
    call = calls.take(token)
    is_overdue = call is None and calls.take_overdue(token) is not None
    if call is None and not is_overdue and calls.take_outdated(token) is None:
        return Vote.NONE
    counts.cancelled += 1
    if is_overdue:
        return Vote.LOST
    if call is None or is_long or latency <= threshold:
        return Vote.NONE
    excused = is_excused(latency, call.started, ending.now, threshold, stalls)
    return Vote.NONE if excused else Vote.HUNG


def vote_of_overdue(
    token: int,
    call: Timing,
    now: float,
    calls: InFlight,
    threshold: float,
    stalls: StallWatch,
    *,
    closed: bool,
) -> Vote:
    """Put aside a call that has been in flight for `threshold` seconds, and tell what it says.

    Args:
        token: The call, which was taken out of `calls.voting`.
        call: Its times.
        now: Seconds.
        calls: The calls in flight.
        threshold: The slow threshold, in seconds.
        stalls: Tells for how long the process stood still.
        closed: Whether the breaker is closed.
    """
    started = call.started
    if call.answered - started > threshold:
        calls.note_overdue(token, call)
        excused = is_excused(now - started, started, now, threshold, stalls)
        return Vote.NONE if excused else Vote.HUNG
    if closed or call.answered == WAITING:
        # How its end counts is decided at its end.
        calls.note_answering(token, call)
        return Vote.NONE
    # For a probe that has to do: an answer without end would keep the breaker half-open.
    calls.note_outdated(token, call)
    return Vote.ANSWERING


def _take_late(calls: InFlight, token: int) -> bool:
    """End a call that has no vote any more; tell whether there was one."""
    return calls.take_overdue(token) is not None or calls.take_outdated(token) is not None


def is_excused(
    latency: float, started: float, now: float, threshold: float, stalls: StallWatch
) -> bool:
    """Whether a call was slow only because our own process stood still."""
    lost = stalls.lost(started, now)
    return lost > 0.0 and latency - lost <= threshold
