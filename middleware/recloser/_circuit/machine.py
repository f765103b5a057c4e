"""The circuit of one key: the state machine that decides whether a call is admitted.

It has no clock, lock or thread: callers pass the time in, and `LockedCircuit` adds the lock. The
states and their changes are the table in `transitions.py`. Each change begins a generation. A call
that was admitted in an earlier generation has no vote any more, except for changes between closed
and limited.

While there is nothing to decide, calls begin and end without the circuit, see `in_flight.py`. A
caller that makes a decision must call `catch_up` before it and `settle` after it.

A circuit is one class, cut into files by topic. From the base up: `lifecycle`, `limited`,
`silent_ends`, `hardly_known`, this module, `by_hand`; then `following` or `pooled`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences, votes
from recloser._circuit.bad_calls import REMEMBERED
from recloser._circuit.explained import Explained
from recloser._circuit.hardly_known import HardlyKnown
from recloser._circuit.in_flight import NEVER, WAITING, CountedCall, Timing
from recloser._circuit.kinds import Kind
from recloser._circuit.late_calls import LATE, find_late
from recloser._circuit.limit import Limit
from recloser._circuit.recovery import Recovery, Step
from recloser._circuit.transitions import Cause
from recloser._circuit.votes import Ending, Vote, vote_of, vote_of_overdue
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._stall import StallWatch
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN
_SUCCESS, _FAILURE, _CANCELLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED
_THROTTLED = Outcome.THROTTLED
# Votes of successes that had a vote when they ended.
_TIMELY = (votes.GOOD, votes.SLOW, votes.EXCUSED)
# Votes of calls that say nothing about the latency.
_NO_ANSWER = (votes.NONE, votes.EXCUSED, votes.ASKED_TO_WAIT, votes.ASKED_LATE, *votes.SILENT)
# Threshold, shares and rate are refreshed after this many good calls or seconds, whichever is first.
_REFRESH_EVERY = 1024  # a refresh costs as much as about twenty calls
_REFRESH_WITHIN = 10.0
# After this many seconds or good calls, the next call is a decision, which then processes the calls
# that ended without one.
_CATCH_UP_WITHIN = 0.1
_CATCH_UP_EVERY = 1024


class Circuit(HardlyKnown):
    """The decisions about the calls of one key. `Lifecycle` has its state."""

    __slots__ = ("_catch_up_within", "_caught_up_at", "_refresh_due", "_stalls")

    def __init__(
        self, key: str, policy: Policy, random: Callable[[], float], stalls: StallWatch
    ) -> None:
        super().__init__(key, policy, random)
        self._stalls = stalls
        self._catch_up_within = _CATCH_UP_WITHIN
        self._caught_up_at = NEVER
        self._refresh_due = inf

    # Around each decision

    def catch_up(self, now: float) -> None:
        """Process the calls that ended without a decision until `now` seconds."""
        calls = self.calls
        while calls.dropped:
            self.end(Ending(calls.dropped.pop(), _CANCELLED, 0.0, now))
        if calls.streams is not None:
            for ending in votes.of_streams(calls, now, self._stalls):
                self.end(ending)
        if not calls.recent:
            return
        latencies = self.counts.take_successes(calls.recent)
        self._note_came_back(now)
        took = (now - self._caught_up_at) * _CATCH_UP_EVERY / len(latencies)
        self._catch_up_within = min(took, _CATCH_UP_WITHIN)
        self._caught_up_at = now
        if self.detector.pauses is not None:
            self.detector.pauses.served(len(latencies), now)
        self.detector.learn_quiet(latencies)
        if self.explained is not None:
            self.explained.learn_unlabelled(latencies, now)
        if self.counts.successes >= self._refresh_at:
            self._refresh(now)

    def settle(self, now: float) -> None:
        """Set which of the next calls need no decision."""
        baseline = self.detector.baseline
        if not baseline.known:
            return  # any call may be the one after which latency is judged
        quick_until = min(self._check_at, now + self._catch_up_within)
        pauses = self.detector.pauses
        # After a pause was asked for, it counts which calls began later.
        quick = self.detector.evidence.idle and not (pauses is not None and pauses.until)
        quick_latency = baseline.threshold if quick else -inf
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
            admitted = self._serves(token, now)
        elif self.state is _LIMITED:
            self._check_overdue(now)
            admitted = self._serves(token, now)
        else:
            admitted = self._admits_probe(now)
        if admitted:
            self.calls.voting[token] = call
        else:
            self.counts.refused += 1
        return admitted

    def _serves(self, token: int, now: float) -> bool:
        """Whether it is closed, or limited with room for one more call."""
        return self.recovery is None or self._is_below_limit(token, now)

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
        if self.state is not _HALF_OPEN:
            return False
        if recovery.tolerates_slowness:
            recovery.outlive(self.calls, now)
        calls, probes = self.calls, self.calls.probes
        if probes < recovery.places:
            recovery.peak = max(recovery.peak, probes + 1)
            recovery.giving_way.latest = now
            return True
        waiting = calls.waiting
        return probes - waiting < recovery.places and recovery.giving_way.let_through(
            waiting, recovery.good, now
        )

    def _is_below_limit(self, token: int, now: float) -> bool:
        limit, recovery = self.limit, self.recovery
        if limit is None or recovery is None:
            return False  # it is open
        self._count_answers(limit, recovery, now)
        if self.limit is not limit:  # an answer has ended it
            return self.recovery is None
        running = self.running - recovery.spare
        if running >= limit.size:
            running -= self._give_up_stuck(limit, now)
        if running >= limit.size:
            waiting = self.calls.waiting
            if recovery.giving_way.let_through(waiting, limit.latest, now, limit.size):
                running -= waiting
        if limit.admit(token, max(running, 0), now):
            return True
        known = self.detector.baseline.known
        if not known and self._looks_again(limit, token, max(running, 0), now):
            return True
        self._open_if_mute(limit, recovery, now)
        return False

    def _open_if_mute(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Open if a call was refused, and nothing comes back of those that are in flight."""
        calls, latest, threshold = self.calls, limit.latest, self.detector.baseline.threshold
        if not self.detector.baseline.known:
            threshold = self.hopeless
        else:
            # By how long answers take now: that may be much longer than before.
            threshold = max(threshold, recovery.answers.level)
            threshold *= 1.0 if self.explained is None else self.explained.longest
        if limit.has_long_silence(now, threshold):  # seldom, and only then it is worth counting
            newer = sum(
                token > latest and call.answered != WAITING
                for table in (calls.voting, calls.overdue)
                for token, call in table.copy().items()
            )
            if limit.is_mute(newer, now, threshold):
                self._open(now, recovery, sentences.mute(self.running, recovery, now))

    def notice(self, now: float) -> None:
        """Count the calls in flight that are overdue at `now` seconds."""
        if self.state is _CLOSED or self.state is _LIMITED:
            self._check_overdue(now)

    def _check_overdue(self, now: float) -> None:
        """Count calls that have no answer after the slow threshold as bad, before they end.

        So a probe takes its place in the window at most until it is overdue.
        """
        self.counts.watch_rate(now)
        if now >= self._refresh_due:
            self._refresh(now)
        calls, threshold, generation = self.calls, self.detector.baseline.threshold, self.generation
        again_at = inf
        recovery, explained = self.recovery, self.explained
        if recovery is not None and recovery.tolerates_slowness and self.state is _HALF_OPEN:
            threshold = max(threshold, self.detector.baseline.hopeless)
        if explained is not None:
            for token, call in explained.take_overdue(calls, now):
                self._count_overdue(token, call, now, explained.slow_after_token(token))
                if self.generation != generation:
                    return
            threshold = explained.slow_after(explained.patience)
        if not self.detector.baseline.known:
            threshold, again_at = self._overdue_at_first(now)
        self._check_at = now + threshold  # for calls that begin from now on
        while calls.voting:
            overdue = calls.take_next_overdue(threshold, now)
            if overdue is None:
                oldest = calls.oldest()
                self._check_at = threshold + (now if oldest is None else oldest[1].started)
                break
            token, call = overdue
            slow_after = threshold
            if explained is not None:
                if explained.may_take_longer(token, call, now):
                    explained.watch(token, call, calls)
                    continue
                slow_after = explained.slow_after_token(token)
            self._count_overdue(token, call, now, slow_after)
            if self.generation != generation:
                return
        if explained is not None and explained.check_at < self._check_at:
            self._check_at = explained.check_at
        if again_at < self._check_at:
            self._check_at = again_at

    def _count_overdue(self, token: int, call: Timing, now: float, threshold: float) -> None:
        serving = self.state is _CLOSED or self.state is _LIMITED
        vote = vote_of_overdue(
            token, call, now, self.calls, threshold, self._stalls, serving=serving
        )
        if not self._is_left_behind(call):
            self._count_vote(vote, Ending(token, _SUCCESS, now - call.started, now))

    def _check_late(self, next_token: int, now: float) -> None:
        """Open if the calls that are late, but not overdue yet, are enough evidence."""
        detector, voting, policy = self.detector, self.calls.voting, self.policy
        threshold, explained = detector.baseline.threshold, self.explained
        if explained is not None and explained.patience > 1.0:
            return
        if len(voting) < policy.min_failures:
            self._check_at = min(self._check_at, now + LATE * threshold)  # enough at the earliest
            return
        late = find_late(self.calls, next_token, threshold, policy, now, self._stalls.lost_anywhere)
        self._check_at = min(self._check_at, late.check_at)
        if explained is not None:
            late.calls = [each for each in late.calls if each[0] not in explained.kinds]
        if late.calls and detector.count_late(late, now):
            self._trip(now)

    def delay(self, call: CountedCall, seconds: float) -> None:
        """Let a call begin later: for `seconds` it waited for its own caller."""
        calls = self.calls
        has_vote = calls.take(call.token) is not None
        call.started += seconds
        if has_vote:
            # With a new token: the table of calls is in the order in which they began.
            before, call.token = call.token, calls.rename(call.token)
            calls.voting[call.token] = call
            if self.limit is not None:
                self.limit.rename(before, call.token)
            if self.explained is not None:
                self.explained.rename(before, call.token, calls)

    def explain(self, token: int, kind: Kind, now: float) -> None:
        """Note what is known of a call in flight, which its permit does not know."""
        explained = self.explain_any()
        explained.note_late(token, kind, self.calls, now)
        self._check_at = min(self._check_at, explained.check_at)

    def explain_any(self) -> Explained:
        """What is known of the calls; it is made when it is needed first."""
        if self.explained is None:
            self.explained = Explained(self.detector.baseline, self.policy)
        return self.explained

    # The end of a call

    def end(self, ending: Ending) -> Vote:
        """End a call; return what its end says."""
        explained, outcome = self.explained, ending.outcome
        if ending.rule == votes.TIMED_OUT:
            self._judge_time_out(ending)
        elif outcome is _SUCCESS or outcome is _THROTTLED:
            self._comes_back(ending)
        if explained is None:
            threshold = self.detector.baseline.threshold
            vote = vote_of(ending, self.calls, self.counts, threshold, self._stalls)
        else:
            calm = self.state is _CLOSED and self.detector.evidence.idle
            vote = explained.vote(ending, self.calls, self.counts, self._stalls, calm=calm)
            if vote is votes.UNKNOWN:
                vote = self._no_evidence(ending)
        if self.limit is not None and vote in _NO_ANSWER:
            self.limit.forget(ending.token)
        if vote in votes.SILENT:
            vote = self._judge_silent(vote, ending)
        if vote is votes.NONE:
            return vote
        if vote is votes.GOOD and self.recovery is None:  # the usual end, in two frames less
            self.detector.good(ending.token, ending.latency, ending.now, ending.took)
        elif vote is votes.ASKED_TO_WAIT or vote is votes.ASKED_LATE:
            self._pause(ending, voting=vote is votes.ASKED_TO_WAIT)
            if self._judge_asked(vote, ending) is votes.ALIVE:
                self._count_vote(votes.ALIVE, ending)
        else:
            if ending.outcome is _FAILURE:
                self.detector.last_failure = ending.what
            self._count_vote(vote, ending)
        if vote in _TIMELY:
            if (pauses := self.detector.pauses) is not None:
                pauses.served(1, ending.now)
                pauses.end(ending.token, ending.now - ending.took)
            if self.counts.successes >= self._refresh_at:
                self._refresh(ending.now)
        return vote

    def _count_vote(self, vote: Vote, ending: Ending) -> None:
        recovery, limit = self.recovery, self.limit
        if vote is votes.NONE or vote is votes.EXCUSED:
            return
        if vote in REMEMBERED:
            self._see_bad(vote, ending)
        if not self.detector.baseline.known and self._take_first_answer(vote, ending, recovery):
            return
        if recovery is None:
            if self.detector.vote(vote, ending, self.calls):
                self._trip(ending.now)
            return
        if limit is not None:
            self._count_limited(limit, recovery, vote, ending)
            return
        normal = self.detector.evidence.normal_bad_rate
        if vote is votes.FAILED and recovery.tolerates_slowness:
            recovery.outliving.note_failed(ending)
            recovery.outlive(self.calls, ending.now)
        step = recovery.vote(vote, ending, self.counts.concurrency, normal)
        if step is Step.RECOVERED:
            if recovery.bad and recovery.is_crowded:  # it is their number that made them fail
                reason = sentences.crowded(recovery, ending.now)
                self._limit_again(Cause.CROWDED, recovery, reason, ending.now)
                return
            if recovery.was_momentary(ending.now):
                self.detector.evidence.learn_run(ending.now)
            self._recover(recovery, ending.now)
            self.detector.expect_failed(recovery.share, ending.now)
        elif step is Step.UNDECIDED and recovery.was_slow and vote is not votes.HUNG:
            # From open, the load returns by a limit in any case, and the limit accepts the latency.
            if self.state is _OPEN or not self._accept_new_normal(recovery, ending.now):
                reason = sentences.comes_back(ending.latency, recovery, ending.now)
                self._limit_again(Cause.COMES_BACK, recovery, reason, ending.now)
        elif step is not Step.NOTHING and self.state is _HALF_OPEN:
            accepted = self._accept_new_normal(recovery, ending.now)
            if step is Step.LOST and not accepted:
                what = (ending.what or "failed") if vote is votes.FAILED else "slow"
                self._reopen(recovery, ending.now, what, ending.wait)

    # From time to time

    def _refresh_later(self, now: float, calls: int = _REFRESH_EVERY) -> None:
        """Refresh after `calls` more good calls, or `_REFRESH_WITHIN` seconds after `now`."""
        self._refresh_at = self.counts.successes + calls
        self._refresh_due = now + _REFRESH_WITHIN

    def _refresh(self, now: float) -> None:
        # At 30, 60, 120 ... calls, and then at constant intervals, or after some seconds.
        counts = self.counts
        self._refresh_later(now, min(counts.successes, _REFRESH_EVERY))
        if self.detector.refresh(now):
            kinds = () if self.explained is None else self.explained.kinds
            overdue = self.calls.note_all_overdue(self.detector.baseline.threshold, now, kinds)
            self.detector.expect_first_slow(overdue, now)
        self._check_at = NEVER  # the threshold may be lower now
        if self.state is _CLOSED and self.detector.evidence.idle:
            counts.measure_concurrency(len(self.calls.voting))
        self._measure_rate(now)
