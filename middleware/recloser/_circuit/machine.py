"""The state machine: everything that decides whether a call may pass begins here.

It is handed the time and owns no clock, no lock and no thread; `Breaker` adds those. Three states:

    CLOSED    -> OPEN       the evidence is enough, or the callee asked to be left alone
    OPEN      -> HALF_OPEN  at the next call asked for once it is time to look again
    HALF_OPEN -> OPEN       too many probes were bad
    HALF_OPEN -> CLOSED     enough probes were good, and as many at a time as there used to be;
                            or slow answers for so long that they are the new normal
    any       -> any        by hand

Each change begins a generation. A call admitted in an earlier one has no vote any more.

Calls that come and go while there is nothing to decide do so without it (see `Calls`). Whoever
asks for a decision calls `catch_up` before it and `settle` after it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import ceil, inf
from typing import TYPE_CHECKING

from recloser._circuit import sentences
from recloser._circuit.baseline import Baseline
from recloser._circuit.evidence import OVERDUE, SLOW_ONLY, VERY_SLOW, Evidence
from recloser._circuit.in_flight import WAITING, Calls, CallTimes
from recloser._circuit.late_calls import foresee
from recloser._circuit.recovery import Outage
from recloser._events import Reason, Transition
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._stall import StallWatch
from recloser._state import State

if TYPE_CHECKING:
    from recloser._permit import Permit

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
_CANCELLED = Outcome.CANCELLED
# Good calls, and seconds, between two looks at threshold, weights and rate, whichever is first: a
# look costs as much as some twenty calls.
_REFRESH_EVERY = 1024
_REFRESH_WITHIN = 10.0
# Seconds, and good calls, after which the next call is a decision, so that what ended without one
# is taken in.
_CATCH_UP_WITHIN = 0.1
_CATCH_UP_EVERY = 1024
# Latencies that the baseline learns each time. Where more calls ended a sample tells as much.
_SAMPLE = 64
# Silence is long from this many usual gaps between two calls on.
_LONG_SILENCE = 10.0
# Very slow is slower than this many thresholds. 1.5 and 3 told real faults from everyday slowness
# less well.
_VERY_SLOW_RATIO = 2.0
# In flight for longer than this share of the slow threshold, a call is late. From 0.5 on the first
# second after an idle night, twice as slow, opened it three times as often.
_LATE = 0.6
# Shares of the threshold between two looks at late calls.
_LOOK_EVERY = 1.0 / 32.0
# A latency that was accepted hovers at the threshold: this many more slow calls than were seen
# when it was accepted are still no news. Without the margin a lasting 3.5x step flapped.
_HOVERING = 0.15


class Circuit:
    """States, evidence and baseline of one key.

    Attributes:
        calls: The permits given out, and what ended without a decision.
        state: What is done with the next call.
        generation: Changes of state so far.
        reason: Why the last change of state was made.
        look_at: When the next probe may pass, while open; seconds.
        events: Transitions not yet taken by the breaker, oldest first.
        held: Latencies of good calls held back from the baseline while something is suspicious.
    """

    __slots__ = (
        "_catch_up_within",
        "_caught_up_at",
        "_check_at",
        "_key",
        "_last_failure",
        "_outage",
        "_policy",
        "_random",
        "_refresh_at",
        "_refresh_due",
        "_stalls",
        "baseline",
        "calls",
        "events",
        "evidence",
        "generation",
        "held",
        "look_at",
        "reason",
        "state",
    )

    def __init__(
        self, key: str, policy: Policy, random: Callable[[], float], stalls: StallWatch
    ) -> None:
        self._key = key
        self._policy = policy
        self._random = random
        self._stalls = stalls
        self.calls = Calls()
        self.baseline = Baseline(policy)
        self.evidence = Evidence(policy)
        self.state = _CLOSED
        self.generation = 0
        self.reason: Reason | None = None
        self.look_at = 0.0
        self.events: tuple[Transition, ...] = ()
        self._outage: Outage | None = None
        self.held: tuple[float, ...] = ()
        self._check_at = -inf
        self._catch_up_within = _CATCH_UP_WITHIN
        self._caught_up_at = -inf
        self._last_failure = ""
        self._refresh_at = policy.min_history
        self._refresh_due = inf

    # Before and after each decision

    def catch_up(self, now: float) -> None:
        """Take in what happened without a decision until `now` seconds."""
        calls = self.calls
        while calls.dropped:
            token = calls.dropped.pop()
            self.end_without_vote(token, _CANCELLED, 0.0, now)
        if not calls.recent:
            return
        latencies = calls.take_recent()
        took = (now - self._caught_up_at) * _CATCH_UP_EVERY / len(latencies)
        self._catch_up_within = min(took, _CATCH_UP_WITHIN)
        self._caught_up_at = now
        self.evidence.quiet += len(latencies)
        # An odd step: calls of two kinds may take turns.
        sample = latencies[:: ceil(len(latencies) / _SAMPLE) | 1]
        self.baseline.learn(sample, len(latencies) / len(sample))
        if self.calls.successes >= self._refresh_at:
            self._refresh(now)

    def settle(self, now: float) -> None:
        """Say which of the next calls need no decision."""
        if not self.baseline.known:
            return  # each call may be the one from which on latency is judged
        check_at = min(self._check_at, now + self._catch_up_within)
        good_until = self.baseline.threshold if self.evidence.idle else -inf
        # Asked last, with no call after it: a signal handler may have changed the state until here.
        if self.state is _CLOSED:
            self.calls.check_at, self.calls.good_until = check_at, good_until

    # Admission

    def admit(self, token: int, call: CallTimes, now: float) -> bool:
        """Admit a call at `now` seconds, or refuse it."""
        if self.state is _CLOSED:
            if now >= self._check_at:
                self._count_overdue(now)
                if self.state is _CLOSED and self.evidence.is_settled:
                    self._foresee(token, now)
            admitted = self.state is _CLOSED
        else:
            admitted = (now >= self.look_at or self.state is _HALF_OPEN) and self._admits_probe(now)
        if admitted:
            self.calls.in_flight[token] = call
        else:
            self.calls.refused += 1
        return admitted

    def _admits_probe(self, now: float) -> bool:
        if self.state is _OPEN:
            outage = self._present_outage()
            outage.look(1)
            self._change(_HALF_OPEN, now, sentences.look_again(now - outage.began))
            if self._accept_new_normal(now):
                return True
        self._count_overdue(now)
        if self.state is _HALF_OPEN:
            return len(self.calls.in_flight) < self._present_outage().window
        # A lease that ran out may have been the last sign of a new normal.
        return self.state is _CLOSED

    def _count_overdue(self, now: float) -> None:
        """Count calls in flight past the slow threshold as bad now, once; not when they end.

        This is what makes a probe a lease: overdue, it was bad and its slot is free again.
        """
        self.calls.watch_rate(now)
        if now >= self._refresh_due:
            self._refresh(now)
        calls, threshold, generation = self.calls, self.baseline.threshold, self.generation
        # A call that starts from now on is overdue no sooner than this.
        self._check_at = now + threshold
        while (oldest := calls.oldest()) is not None:
            token, call = oldest
            overdue_at = call.started + threshold
            if overdue_at > now:
                self._check_at = overdue_at
                return
            if calls.in_flight.pop(token, None) is None:
                continue  # it ended meanwhile
            self._judge_overdue(token, call, now)
            if self.generation != generation:
                return

    def _foresee(self, token: int, now: float) -> None:
        """Weigh the calls that are late, though not overdue yet, and tell when to do so again.

        Args:
            token: The next call; all that have a lower one have begun.
            now: Seconds.
        """
        threshold = self.baseline.threshold
        in_flight = [*self.calls.in_flight.copy().items()]
        few = self._policy.min_failures
        # Fewer late calls than this say nothing.
        last_of_few = in_flight[few - 1][1].started if len(in_flight) >= few else now
        late_at = last_of_few + _LATE * threshold
        self._check_at = min(self._check_at, max(late_at, now + _LOOK_EVERY * threshold))
        if late_at > now or self._stalls.lost(in_flight[0][1].started, now):
            return
        late = [*takewhile(lambda each: each[1].started + _LATE * threshold <= now, in_flight)]
        began_since = token - 1 - late[-1][0]
        came_back = began_since - (len(in_flight) - len(late))
        ages = [(each, now - call.started) for each, call in late if call.answered == inf]
        slow = foresee(self.evidence, self._policy, ages, came_back, self.baseline.history)
        if slow and self.evidence.take_for_slow(slow, now):
            self._trip(now)

    def _judge_overdue(self, token: int, call: CallTimes, now: float) -> None:
        started = call.started
        if call.answered - started > self.baseline.threshold:
            self.calls.note_overdue(token, call)
            if not self._is_excused(now - started, started, now):
                self._vote_slow(token, now, OVERDUE)
        elif self.state is _CLOSED or call.answered == WAITING:
            # The verdict comes at its end.
            self.calls.note_answering(token, call)
        else:
            # As a probe that has to do: an answer without end would never let us close.
            self.calls.note_older(token, call)
            self._vote_good_probe(now)

    def delay(self, permit: Permit, seconds: float) -> None:
        """Take a call to have begun later: it waited for its own caller, which is over."""
        token, calls = permit._token, self.calls
        has_vote = calls.take(token) is not None
        permit.started += seconds
        permit.answered = inf
        if has_vote:
            # As one that has just come: what is in flight is in the order in which it began.
            permit._token = next(calls.tokens)
            calls.in_flight[permit._token] = permit

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, >= 0; infinite when only a hand changes that."""
        if self.state is _OPEN:
            return max(0.0, self.look_at - now)
        outage, oldest = self._outage, self.calls.oldest()
        if outage is None or self.state is _CLOSED or oldest is None:
            return 0.0
        if len(self.calls.in_flight) < outage.window:
            return 0.0
        # A probe takes as long as its lease at most, and usually a small part of that.
        lease = oldest[1].started + self.baseline.threshold - now
        return max(0.0, min(lease, self._policy.open_for))

    def is_probe(self, token: int) -> bool:
        """Whether a call decides about a recovery."""
        return self.state is not _CLOSED and token in self.calls.in_flight

    # The end of a call

    def succeed(self, token: int, latency: float, now: float) -> None:
        """A call answered after `latency` seconds."""
        call = self.calls.take(token)
        if call is None:
            self._succeed_late(token, latency, now)
            return
        self.calls.count_success(latency)
        evidence = self.evidence
        if latency > self.baseline.threshold:
            self._succeed_slowly(token, call.started, latency, now)
        elif self.state is not _CLOSED:
            self._present_outage().answered(latency, now)
            self._vote_good_probe(now)
        elif evidence.idle:
            evidence.quiet += 1
            self.baseline.learn((latency,))
        elif token < evidence.since:
            # It began before the suspicion did, so it says nothing about it.
            self.baseline.learn((latency,))
        else:
            self.held += (latency,)
            if evidence.vote_good(now):
                self._learn_held()
        if self.calls.successes >= self._refresh_at:
            self._refresh(now)

    def _succeed_slowly(self, token: int, started: float, latency: float, now: float) -> None:
        self.calls.slow += 1
        if self._is_excused(latency, started, now):
            return
        if self.state is _CLOSED:
            self.held += (latency,)
        else:
            self._present_outage().answered(latency, now)
        self._vote_slow(token, now, self._how_slow(latency))

    def _is_excused(self, latency: float, started: float, now: float) -> bool:
        """Whether a call was slow only because our own process stood still."""
        lost = self._stalls.lost(started, now)
        return lost > 0.0 and latency - lost <= self.baseline.threshold

    def _how_slow(self, latency: float) -> int:
        return VERY_SLOW if latency > _VERY_SLOW_RATIO * self.baseline.threshold else SLOW_ONLY

    def _succeed_late(self, token: int, latency: float, now: float) -> None:
        """A call without a vote succeeded; how long it took may still be worth knowing."""
        call = self.calls.take_overdue(token)
        voted = call is not None
        if call is None:
            call = self.calls.take_older(token)
            if call is None:
                return
        self.calls.count_success(latency)
        self.calls.slow += latency > self.baseline.threshold
        if self._is_excused(latency, call.started, now):
            return
        if self.state is not _CLOSED:
            # Slow, not dead: what was overdue, or in flight when it opened, came back.
            if token >= self._present_outage().first_token:
                self._present_outage().answered(latency, now)
                if self.state is _HALF_OPEN:
                    self._accept_new_normal(now)
        elif voted:
            self._learn_overdue(token, latency, now)

    def _learn_overdue(self, token: int, latency: float, now: float) -> None:
        # Its vote was cast when it was overdue; how slow it was in the end is news.
        evidence = self.evidence
        held = not evidence.idle and token >= evidence.since
        if held:
            self.held += (latency,)
        else:
            self.baseline.learn((latency,))
        if evidence.came_back(self._how_slow(latency), held=held):
            self._trip(now)

    def fail(self, token: int, latency: float, now: float, what: str, hold: float) -> None:
        """A call failed for the reason `what`, and asked to be left alone for `hold` seconds."""
        votes = self.calls.take(token) is not None
        if not votes and not self._take_late(token):
            return
        self.calls.count_failure(latency)
        self._last_failure = what
        if hold > 0.0:
            self.look_at = max(self.look_at, now + hold)
        if votes:
            self._vote_failed(token, now)
        else:
            # It hung, and then failed: not slow, sick.
            self._note_lost(token, now)

    def _note_lost(self, token: int, now: float) -> None:
        outage = self._outage
        if outage is not None and self.state is not _CLOSED and token >= outage.first_token:
            outage.answered(inf, now)

    def end_without_vote(self, token: int, outcome: Outcome, latency: float, now: float) -> None:
        """A call ended in a way that says nothing, unless it was cancelled when already slow."""
        calls = self.calls
        is_long = token in calls.answering
        call = calls.take(token)
        hung = call is None and calls.take_overdue(token) is not None
        if call is None and not hung and calls.take_older(token) is None:
            return
        if outcome is not _CANCELLED:
            self.calls.ignored += 1
            return
        self.calls.cancelled += 1
        if hung:
            self._note_lost(token, now)
        elif (
            call is not None
            and not is_long
            and latency > self.baseline.threshold
            and not self._is_excused(latency, call.started, now)
        ):
            self._vote_slow(token, now, OVERDUE)

    def throttle(self, token: int, now: float, wait: float, rule: str) -> None:
        """The callee asked to be left alone for `wait` seconds; its health is not in question."""
        if self.calls.take(token) is None and not self._take_late(token):
            return
        self.calls.throttled += 1
        if wait > 0.0:
            # A longer wait is never shortened.
            self.look_at = max(self.look_at, now + wait)
            if self.state is not _OPEN:
                if self.state is _CLOSED:
                    self._begin_outage(now)
                self._open(now, self.look_at, sentences.told_to_wait(wait, rule))

    def _take_late(self, token: int) -> bool:
        """End a call that has no vote any more; tell whether there was one."""
        calls = self.calls
        return calls.take_overdue(token) is not None or calls.take_older(token) is not None

    def record(self, latency: float, success: bool, now: float) -> None:
        """A call timed elsewhere: votes when closed, and as a probe when half-open."""
        if self.state is not _OPEN:
            call = CallTimes()
            call.started = call.answered = now
            token = next(self.calls.tokens)
            self.calls.in_flight[token] = call
            if success:
                self.succeed(token, latency, now)
            else:
                self.fail(token, latency, now, "", 0.0)
            return
        if success:
            self.calls.count_success(latency)
        else:
            self.calls.count_failure(latency)

    # Votes

    def _vote_failed(self, token: int, now: float) -> None:
        if self.state is not _CLOSED:
            self._present_outage().answered(inf, now)
            self._vote_bad_probe(now, self._last_failure or "failed")
        elif self._suspects(token) and self.evidence.vote_failed(now):
            self._trip(now)

    def _vote_slow(self, token: int, now: float, how: int) -> None:
        if self.state is not _CLOSED:
            self._vote_bad_probe(now, "slow")
        elif self._suspects(token) and self.evidence.vote_slow(now, how):
            self._trip(now)

    def _suspects(self, token: int) -> bool:
        """Whether a bad call has a say: it begins a suspicion, or began after the one there is."""
        evidence = self.evidence
        if evidence.idle:
            evidence.since = token
        return token >= evidence.since

    def _trip(self, now: float) -> None:
        evidence = self.evidence
        reason = sentences.tripped(evidence, self.baseline, self._policy, self._last_failure)
        outage = self._begin_outage(now, run=evidence.bad)
        outage.answers.extend([*self.held, *[inf] * (evidence.bad - evidence.slow)])
        self.held = ()  # an outage is never learned
        self._open(now, max(self.look_at, now + self._jittered(self._policy.open_for)), reason)

    def _vote_good_probe(self, now: float) -> None:
        outage = self._present_outage()
        if outage.vote_good(self.calls.concurrency, self.evidence.normal_bad_rate):
            if outage.was_momentary(now):
                self.evidence.learn_run(now)
            self._close(now, sentences.recovered(outage.good, outage.bad, now - outage.began))

    def _vote_bad_probe(self, now: float, what: str) -> None:
        outage = self._present_outage()
        lost = outage.vote_bad(self.evidence.normal_bad_rate)
        if not self._accept_new_normal(now) and lost:
            reason = sentences.probe_failed(outage.good, outage.bad, what, now - outage.began)
            self._measure_rate(now)
            wait = self._jittered(outage.time_to_next_look(now, self.calls.rate))
            self._open(now, max(self.look_at, now + wait), reason)

    def _accept_new_normal(self, now: float) -> bool:
        outage = self._present_outage()
        before = self.baseline.reference
        missing = self.calls.missing(outage.first_token)
        level = outage.new_normal(now, before, missing, self.calls.rate)
        if level is None:
            return False
        if outage.is_severe(level, before):
            self.baseline.shift(level / self.baseline.median, now)
        else:
            # The baseline follows by itself; until then slow calls are normal.
            self._expect_slow(outage.share_above, now, _HOVERING)
        self._refresh_at = self.calls.successes + 1
        self._close(now, sentences.new_normal(level, before, now - outage.began))
        return True

    def _expect_slow(
        self, share_above: Callable[[float], float], now: float, margin: float = 0.0
    ) -> None:
        threshold = self.baseline.threshold
        slow = min(share_above(threshold) + margin, 1.0)
        self.evidence.expect_slow(slow, share_above(_VERY_SLOW_RATIO * threshold), now)

    def _expect_first_slow(self, now: float) -> None:
        """The first threshold is known: how many calls would have been slow so far?

        Those in flight belong to them. Of the first calls to end the fast ones are far too many.
        """
        baseline, calls = self.baseline, self.calls
        overdue = 0
        for token, call in calls.in_flight.copy().items():
            if (
                call.started + baseline.threshold <= now
                and calls.in_flight.pop(token, None) is not None
            ):
                calls.note_overdue(token, call)
                overdue += 1
        total = baseline.count + overdue
        self._expect_slow(
            lambda latency: (baseline.share_above(latency) * baseline.count + overdue) / total,
            now,
        )

    def _learn_held(self) -> None:
        self.baseline.learn(self.held)
        self.held = ()

    # Now and then

    def _refresh(self, now: float) -> None:
        # At 30, 60, 120 ... calls, and then at even distances; or after some seconds.
        self._refresh_at = self.calls.successes + min(self.calls.successes, _REFRESH_EVERY)
        self._refresh_due = now + _REFRESH_WITHIN
        known = self.baseline.known
        self.baseline.refresh(now)
        if self.baseline.known and not known:
            self._expect_first_slow(now)
        else:
            self.evidence.refresh(now)
        self._check_at = -inf  # the threshold may have come down
        self.calls.measure_concurrency()
        self._measure_rate(now)

    def _measure_rate(self, now: float) -> None:
        if self.calls.measure_rate(now):
            gaps = _LONG_SILENCE / self.calls.rate
            self.evidence.half_life = max(self._policy.evidence_half_life, gaps)

    def _jittered(self, wait: float) -> float:
        # Whatever the source of chance answers, a wait stays near what it was.
        chance = min(max(0.0, self._random()), 1.0)
        return wait * (1.0 + self._policy.jitter * (2.0 * chance - 1.0))

    # Changes of state

    def _present_outage(self) -> Outage:
        if self._outage is None:
            raise RuntimeError("not closed, yet there is no outage")
        return self._outage

    def _begin_outage(self, now: float, run: int = 0) -> Outage:
        self._outage = outage = Outage(self._policy, now, self.evidence.since, run, self._outage)
        return outage

    def _open(self, now: float, until: float, reason: Reason) -> None:
        self.look_at = until
        self._change(_OPEN, now, reason)

    def _close(self, now: float, reason: Reason) -> None:
        self.evidence.clear()
        self.held = ()
        self.look_at = 0.0
        if self._outage is not None:
            self._outage.ended = now
        self.calls.give_up_overdue()
        self._change(_CLOSED, now, reason)

    def _change(self, state: State, now: float, reason: Reason) -> None:
        # What was admitted before describes a service that no longer exists.
        self.calls.end_generation()
        self._check_at = -inf
        self.generation += 1
        before, self.state, self.reason = self.state, state, reason
        if before is not state:
            transition = Transition(self._key, before, state, reason, self.generation, now)
            # No call while it is read and stored: in one, a signal handler may add another event.
            self.events += (transition,)

    # By hand

    def open_by_hand(self, now: float, until: float, reason: Reason) -> None:
        """Open until `until` seconds, whatever the evidence."""
        # A new outage: what is known of one that went on says nothing about this.
        self._begin_outage(now)
        self._open(now, until, reason)

    def half_open_by_hand(self, now: float, reason: Reason) -> None:
        """Let `half_open_requests` probes through at once: someone vouches for the callee."""
        if self._outage is None or self.state is _CLOSED:
            self._begin_outage(now)
        self._present_outage().look(self._policy.half_open_requests)
        # Whatever it was to wait for, even for a hand, does not bind the looks after this one.
        self.look_at = now
        self._change(_HALF_OPEN, now, reason)

    def reset(self, now: float, reason: Reason) -> None:
        """Close and forget everything learned."""
        self._close(now, reason)
        self.baseline.reset()
        self.evidence = Evidence(self._policy)
        self._outage = None
        self._last_failure = ""
        self._refresh_at = self.calls.successes + self._policy.min_history
        self.calls.forget_pace()

    # What others may see

    def slow_threshold(self) -> float:
        """Seconds above which a call is slow."""
        return self.baseline.threshold

    @property
    def probes(self) -> tuple[int, int, int]:
        """Good probes, bad probes, and how many are let through at a time."""
        outage = self._outage
        return (outage.good, outage.bad, outage.window) if outage is not None else (0, 0, 1)
