"""The circuit of one key: the state machine that decides whether a call is admitted.

It has no clock, lock or thread: callers pass the time in, and `LockedCircuit` adds the lock. The
states and their changes are the table in `transitions.py`. Each change begins a generation. A call
that was admitted in an earlier generation has no vote any more.

While there is nothing to decide, calls begin and end without the circuit, see `in_flight.py`. A
caller that makes a decision must call `catch_up` before it and `settle` after it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences, votes
from recloser._circuit.counts import Counts
from recloser._circuit.detector import Detector
from recloser._circuit.in_flight import CountedCall, InFlight, Timing
from recloser._circuit.late_calls import LATE, find_late
from recloser._circuit.new_normal import is_severe
from recloser._circuit.recovery import Recovery, Step
from recloser._circuit.transitions import AFTER, Cause
from recloser._circuit.votes import Ending, Vote, vote_of, vote_of_overdue
from recloser._events import Reason, Transition
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._stall import StallWatch
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
_SUCCESS, _FAILURE, _CANCELLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED
# Votes of successes that had a vote when they ended.
_TIMELY = (votes.GOOD, votes.SLOW, votes.EXCUSED)
# Threshold, shares and rate are refreshed after so many good calls or seconds, whichever is first.
_REFRESH_EVERY = 1024  # a refresh costs as much as about twenty calls
_REFRESH_WITHIN = 10.0
# After so many seconds or good calls, the next call is a decision, which then processes the calls
# that ended without one.
_CATCH_UP_WITHIN = 0.1
_CATCH_UP_EVERY = 1024


class Circuit:
    """The state of one key, and everything that changes it.

    Attributes:
        calls: The calls in flight.
        counts: Number of calls by outcome.
        detector: What is normal, and the evidence against it.
        state: What is done with the next call.
        generation: Number of generations that have begun after the first.
        reason: Why the last generation began.
        recovery: The present outage; None while closed, and only then.
        probe_at: When the next probe may pass, while open; seconds.
        events: Transitions that were not delivered yet, oldest first.
    """

    __slots__ = (
        "_catch_up_within",
        "_caught_up_at",
        "_check_at",
        "_key",
        "_last_recovery",
        "_policy",
        "_random",
        "_refresh_at",
        "_refresh_due",
        "_stalls",
        "calls",
        "counts",
        "detector",
        "events",
        "generation",
        "probe_at",
        "reason",
        "recovery",
        "state",
    )

    def __init__(
        self, key: str, policy: Policy, random: Callable[[], float], stalls: StallWatch
    ) -> None:
        self._key = key
        self._policy = policy
        self._random = random
        self._stalls = stalls
        self.calls = InFlight()
        self.counts = Counts()
        self.detector = Detector(policy)
        self.state = _CLOSED
        self.generation = 0
        self.reason: Reason | None = None
        self.recovery: Recovery | None = None
        self._last_recovery: Recovery | None = None
        self.probe_at = 0.0
        self.events: tuple[Transition, ...] = ()
        self._check_at = -inf  # when the oldest call in flight may be overdue
        self._catch_up_within = _CATCH_UP_WITHIN
        self._caught_up_at = -inf
        self._refresh_at = policy.min_history
        self._refresh_due = inf

    # Around each decision

    def catch_up(self, now: float) -> None:
        """Process the calls that ended without a decision until `now` seconds."""
        calls = self.calls
        while calls.dropped:
            token = calls.dropped.pop()
            self.end(Ending(token, _CANCELLED, 0.0, now))
        if not calls.recent:
            return
        latencies = self.counts.take_successes(calls.recent)
        took = (now - self._caught_up_at) * _CATCH_UP_EVERY / len(latencies)
        self._catch_up_within = min(took, _CATCH_UP_WITHIN)
        self._caught_up_at = now
        self.detector.learn_quiet(latencies)
        if self.counts.successes >= self._refresh_at:
            self._refresh(now)

    def settle(self, now: float) -> None:
        """Set which of the next calls need no decision."""
        baseline = self.detector.baseline
        if not baseline.known:
            return  # any call may be the one after which latency is judged
        quick_until = min(self._check_at, now + self._catch_up_within)
        quick_latency = baseline.threshold if self.detector.evidence.idle else -inf
        # Read the state last and call nothing after it: a signal handler may change it until then.
        if self.state is _CLOSED:
            self.calls.quick_until, self.calls.quick_latency = quick_until, quick_latency

    # Admission

    def admit(self, token: int, call: Timing, now: float) -> bool:
        """Admit a call at `now` seconds, or refuse it."""
        if self.state is _CLOSED:
            if now >= self._check_at:
                self._check_overdue(now)
                if self.state is _CLOSED and self.detector.evidence.is_settled:
                    self._check_late(token, now)
            admitted = self.state is _CLOSED
        else:
            admitted = self._admits_probe(now)
        if admitted:
            self.calls.voting[token] = call
        else:
            self.counts.refused += 1
        return admitted

    def _admits_probe(self, now: float) -> bool:
        recovery = self.recovery
        if self.state is _OPEN and recovery is not None:
            if not now >= self.probe_at:  # also where a user's clock returns NaN
                return False
            recovery.begin_round(1)
            self._change(Cause.TIME_TO_PROBE, now, sentences.look_again(recovery, now), recovery)
            if self._accept_new_normal(recovery, now):
                return True
        self._check_overdue(now)
        # An overdue probe may have closed it, if slow answers were accepted as the new normal.
        recovery = self.recovery
        if recovery is None:
            return True
        return self.state is _HALF_OPEN and len(self.calls.voting) < recovery.window

    def _check_overdue(self, now: float) -> None:
        """Count calls that have no answer after the slow threshold as bad, before they end.

        So a probe takes its place in the window at most until it is overdue.
        """
        self.counts.watch_rate(now)
        if now >= self._refresh_due:
            self._refresh(now)
        calls, threshold, generation = self.calls, self.detector.baseline.threshold, self.generation
        self._check_at = now + threshold  # for calls that begin from now on
        while calls.voting:
            overdue = calls.take_next_overdue(threshold, now)
            if overdue is None:
                oldest = calls.oldest()
                self._check_at = threshold + (now if oldest is None else oldest[1].started)
                return
            token, call = overdue
            closed = self.recovery is None
            vote = vote_of_overdue(token, call, now, calls, threshold, self._stalls, closed=closed)
            self._count_vote(vote, Ending(token, _SUCCESS, now - call.started, now))
            if self.generation != generation:
                return

    def _check_late(self, next_token: int, now: float) -> None:
        """Open if the calls that are late, but not overdue yet, are enough evidence."""
        detector, voting, policy = self.detector, self.calls.voting, self._policy
        threshold = detector.baseline.threshold
        if len(voting) < policy.min_failures:
            self._check_at = min(self._check_at, now + LATE * threshold)  # enough at the earliest
            return
        late = find_late(voting, next_token, threshold, policy, now, self._stalls.lost)
        self._check_at = min(self._check_at, late.check_at)
        if late.calls and detector.has_enough_late(late, now):
            self._trip(now)

    def delay(self, call: CountedCall, seconds: float) -> None:
        """Let a call begin later: for so many seconds it waited for its own caller."""
        calls = self.calls
        has_vote = calls.take(call.token) is not None
        call.started += seconds
        call.answered = inf
        if has_vote:
            # With a new token: the table of calls is in the order in which they began.
            call.token = token = next(calls.tokens)
            calls.voting[token] = call

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, >= 0; infinite if open until changed by hand."""
        recovery = self.recovery
        if recovery is None:
            return 0.0
        if self.state is _OPEN:
            return max(0.0, self.probe_at - now)
        oldest = self.calls.oldest()
        if oldest is None or len(self.calls.voting) < recovery.window:
            return 0.0
        # A probe takes its place at most until it is overdue, and usually for much less time.
        left = oldest[1].started + self.detector.baseline.threshold - now
        return max(0.0, min(left, self._policy.open_for))

    def is_probe(self, token: int) -> bool:
        """Whether a call is a probe."""
        return self.state is not _CLOSED and token in self.calls.voting

    # The end of a call

    def end(self, ending: Ending) -> None:
        """End a call."""
        threshold = self.detector.baseline.threshold
        vote = vote_of(ending, self.calls, self.counts, threshold, self._stalls)
        if vote is votes.NONE:
            return
        if ending.wait > 0.0:  # a longer wait is never shortened
            self.probe_at = max(self.probe_at, ending.now + ending.wait)
        if vote is votes.GOOD and self.recovery is None:  # the usual end, in two frames less
            self.detector.good(ending.token, ending.latency, ending.now)
        elif vote is votes.ASKED_TO_WAIT:
            self._pause(ending)
        else:
            if ending.outcome is _FAILURE:
                self.detector.last_failure = ending.what
            self._count_vote(vote, ending)
        if vote in _TIMELY and self.counts.successes >= self._refresh_at:
            self._refresh(ending.now)

    def _count_vote(self, vote: Vote, ending: Ending) -> None:
        recovery = self.recovery
        if vote is votes.NONE or vote is votes.EXCUSED:
            return
        if recovery is None:
            if self.detector.vote(vote, ending):
                self._trip(ending.now)
            return
        normal = self.detector.evidence.normal_bad_rate
        step = recovery.vote(vote, ending, self.counts.concurrency, normal)
        if step is Step.RECOVERED:
            if recovery.was_momentary(ending.now):
                self.detector.evidence.learn_run(ending.now)
            self._close(Cause.PROBES_GOOD, ending.now, sentences.recovered(recovery, ending.now))
        elif step is not Step.NOTHING and self.state is _HALF_OPEN:
            accepted = self._accept_new_normal(recovery, ending.now)
            if step is Step.LOST and not accepted:
                what = (ending.what or "failed") if vote is votes.FAILED else "slow"
                self._reopen(recovery, ending.now, what)

    def record(self, latency: float, success: bool, now: float) -> None:
        """Count a call that was timed elsewhere. It has a vote unless the circuit is open."""
        if self.state is _OPEN:
            self.counts.count(latency, success=success)
            return
        call = Timing()
        call.started = call.answered = now
        token = next(self.calls.tokens)
        self.calls.voting[token] = call
        self.end(Ending(token, _SUCCESS if success else _FAILURE, latency, now))

    def _pause(self, ending: Ending) -> None:
        if ending.wait > 0.0 and self.state is not _OPEN:
            recovery = self.recovery or self._new_recovery(ending.now)
            reason = sentences.told_to_wait(ending.wait, ending.rule)
            self._change(Cause.ASKED_TO_WAIT, ending.now, reason, recovery)

    def _reopen(self, recovery: Recovery, now: float, what: str) -> None:
        reason = sentences.probe_failed(recovery, what, now)
        self._measure_rate(now)
        wait = self._jittered(recovery.time_to_next_probe(now, self.counts.rate))
        self.probe_at = max(self.probe_at, now + wait)
        self._change(Cause.PROBES_BAD, now, reason, recovery)

    def _accept_new_normal(self, recovery: Recovery, now: float) -> bool:
        detector = self.detector
        before = detector.baseline.reference
        missing = self.calls.missing(recovery.first_token)
        level = recovery.new_normal(now, before, missing, self.counts.rate)
        if level is None:
            return False
        severe = is_severe(level, before)
        detector.accept_latency(level, recovery.answers.share_above, now, severe=severe)
        self._refresh_at = self.counts.successes + 1
        reason = sentences.new_normal(level, before, recovery, now)
        self._close(Cause.NEW_NORMAL, now, reason)
        return True

    # From time to time

    def _refresh(self, now: float) -> None:
        # At 30, 60, 120 ... calls, and then at constant intervals, or after some seconds.
        counts = self.counts
        self._refresh_at = counts.successes + min(counts.successes, _REFRESH_EVERY)
        self._refresh_due = now + _REFRESH_WITHIN
        if self.detector.refresh(now):
            overdue = self.calls.note_all_overdue(self.detector.baseline.threshold, now)
            self.detector.expect_first_slow(overdue, now)
        self._check_at = -inf  # the threshold may be lower now
        counts.measure_concurrency(len(self.calls.voting))
        self._measure_rate(now)

    def _measure_rate(self, now: float) -> None:
        if self.counts.measure_rate(self.asked, now):
            self.detector.note_rate(self.counts.rate)

    @property
    def asked(self) -> int:
        """All calls so far, including refused ones and those in flight."""
        return self.counts.asked + len(self.calls.recent) + len(self.calls)

    def _jittered(self, wait: float) -> float:
        # A user's `random` may return any number; the wait must stay near its value all the same.
        chance = min(max(0.0, self._random()), 1.0)
        return wait * (1.0 + self._policy.jitter * (2.0 * chance - 1.0))

    # Changes of state

    def _trip(self, now: float) -> None:
        detector, evidence = self.detector, self.detector.evidence
        reason, recovery = detector.open_reason(), self._new_recovery(now, run=evidence.bad)
        recovery.answers.begin_with(detector.take_held(), failed=evidence.bad - evidence.slow)
        self.probe_at = max(self.probe_at, now + self._jittered(self._policy.open_for))
        self._change(Cause.EVIDENCE, now, reason, recovery)

    def _new_recovery(self, now: float, run: int = 0) -> Recovery:
        before = self.recovery or self._last_recovery
        return Recovery(self._policy, now, self.detector.evidence.since, run, before)

    def _close(self, cause: Cause, now: float, reason: Reason) -> None:
        self.detector.clear()
        if self.recovery is not None:
            self.recovery.ended = now
            self._last_recovery = self.recovery
        self.calls.give_up_overdue()
        self._change(cause, now, reason, None)
        if self.recovery is None:
            self.probe_at = 0.0

    def _change(self, cause: Cause, now: float, reason: Reason, recovery: Recovery | None) -> None:
        # Calls admitted before the change say nothing about the callee after it.
        self.calls.end_generation()
        self._check_at = -inf
        if (after := AFTER.get((self.state, cause))) is None:
            return  # a signal handler changed the state by hand meanwhile, and that holds
        # No function call in these lines: a signal handler could change the state during one.
        before = self.state
        self.generation += 1
        self.state, self.reason, self.recovery = after, reason, recovery
        if before is not after:
            transition = Transition(self._key, before, after, reason, self.generation, now)
            # No function call here either: a signal handler could add an event during one.
            self.events += (transition,)

    # By hand

    def open_by_hand(self, now: float, until: float, reason: Reason) -> None:
        """Open until `until` seconds, whatever the evidence."""
        # This is a new outage: what is known about a present one does not apply to it.
        recovery = self._new_recovery(now)
        self.probe_at = until
        self._change(Cause.OPENED, now, reason, recovery)

    def half_open_by_hand(self, now: float, reason: Reason) -> None:
        """Admit `half_open_requests` probes at once: the operator expects the callee to work."""
        recovery = self.recovery or self._new_recovery(now)
        recovery.begin_round(self._policy.half_open_requests)
        # From now on, an earlier wait that the callee or an operator set no longer applies.
        self.probe_at = now
        self._change(Cause.HALF_OPENED, now, reason, recovery)

    def reset(self, now: float, reason: Reason) -> None:
        """Close and forget everything that was learned."""
        self._close(Cause.RESET, now, reason)
        self.detector.reset()
        self._last_recovery = None
        self._refresh_at = self.counts.successes + self._policy.min_history
        self.counts.forget_pace()
