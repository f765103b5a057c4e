"""The lifecycle of a circuit: its state, and every change of it.

`Circuit` decides when the state changes, and this module carries the change out. What the answers under
a limit lead to is in `limited.py`. The states and their changes are the table in `transitions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences
from recloser._circuit.bad_calls import SeenCall, seen_last
from recloser._circuit.counts import Counts
from recloser._circuit.detector import Detector
from recloser._circuit.enough import enough_good
from recloser._circuit.evidence import PRIOR_CALLS
from recloser._circuit.in_flight import NEVER, InFlight
from recloser._circuit.limit import Limit
from recloser._circuit.new_normal import Usual
from recloser._circuit.recovery import Recovery
from recloser._circuit.transitions import AFTER, Cause
from recloser._circuit.votes import Ending, Vote
from recloser._events import Reason, Transition
from recloser._policy import Policy
from recloser._redaction import Raised
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN
# Changes between these states take the vote from no call: the callee is still the same.
_SERVING = (_CLOSED, _LIMITED)
# A limit ends after `_CALM` seconds without a refusal. If it had begun within `_AGAIN` seconds of
# the one before, twice as many are needed, so that a lasting overload does not make it flap.
_CALM, _LONGEST_CALM = 20.0, 60.0
_AGAIN = 30.0
# In flight for this many typical latencies, a call is stuck if later ones came back.
_STUCK = 2.0
# The smallest first limit; and the first limit where calls are hardly slow, which is as good as none.
_LEAST_LIMIT, _WIDE = 2.0, 10_000.0


class Lifecycle:
    """The state of one key, and everything that changes it.

    Attributes:
        calls: The calls in flight.
        counts: Number of calls by outcome.
        detector: What is normal, and the evidence against it.
        policy: The limits; `SteeredCircuit.adopt` replaces them.
        random: Returns random numbers, 0.0-1.0.
        state: What is done with the next call.
        generation: Number of generations that have begun after the first.
        reason: Why the last generation began.
        limit: How many calls may be in flight, while limited; None otherwise.
        recovery: The present trouble, from the first suspicious call on; None while closed, and
            only then.
        probe_at: When the next probe may pass, while open; seconds.
        changed_at: When the state changed last, in seconds; minus infinity if it never did.
        bad_calls: The last bad calls, those of a new suspicion alone.
        events: Transitions that were not delivered yet, oldest first.
    """

    __slots__ = (
        "_calm",
        "_check_at",
        "_key",
        "_last_recovery",
        "_refresh_at",
        "bad_calls",
        "calls",
        "changed_at",
        "counts",
        "detector",
        "events",
        "generation",
        "limit",
        "policy",
        "probe_at",
        "random",
        "reason",
        "recovery",
        "state",
    )

    def __init__(self, key: str, policy: Policy, random: Callable[[], float]) -> None:
        self._key = key
        self.policy = policy
        self.random = random
        self.calls = InFlight()
        self.counts = Counts()
        self.detector = Detector(policy)
        self.state = _CLOSED
        self.generation = 0
        self.reason: Reason | None = None
        self.limit: Limit | None = None
        self.recovery: Recovery | None = None
        self._last_recovery: Recovery | None = None
        self._calm = _CALM
        self.probe_at = 0.0
        self.changed_at = NEVER
        self.bad_calls: tuple[SeenCall, ...] = ()
        self.events: tuple[Transition, ...] = ()
        self._check_at = NEVER  # when the oldest call in flight may be overdue
        self._refresh_at = policy.min_history

    # What the votes lead to

    def _trip(self, now: float) -> None:
        """Limit or open: the evidence suffices that the callee is not as usual."""
        detector, evidence = self.detector, self.detector.evidence
        recovery = self._new_recovery(now, run=evidence.bad)
        recovery.was_slow = evidence.is_slow
        if detector.suspicion is not None:
            recovery.outliving.longest = detector.suspicion.outliving.longest
        # Read before `take_held` removes the latencies that it is judged by.
        wide = _WIDE if detector.is_hardly_slow else 0.0
        recovery.answers.begin_with(detector.take_held(), failed=evidence.bad - evidence.slow)
        if recovery.was_slow:
            size = max(self._at_first(now), _LEAST_LIMIT, self.counts.concurrency, wide)
            self._begin_limit(size, now, recovery)
        else:
            detector.suspicion = None
            self._open(now, recovery, detector.open_reason())

    def _at_first(self, now: float) -> int:
        """How many calls may be in flight when a limit begins, at least: as many as are.

        But if none comes back, they have piled up. A callee of which this worker usually has less than
        one call (Little's law) may have many workers: if each let in as many, none would come back.
        """
        rate, detector = self.counts.rate, self.detector
        many = not rate or rate * detector.baseline.median >= 1.0
        return self.running if many or detector.is_alive(now) else 0

    def _begin_limit(self, size: float, now: float, recovery: Recovery) -> None:
        before = self._last_recovery
        again = before is not None and now - before.ended < _AGAIN
        self._calm = min(2.0 * self._calm, _LONGEST_CALM) if again else _CALM
        detector = self.detector
        mute = None if detector.is_alive(now) else self.calls.voting.copy()
        limit = self._new_limit(size, now)
        limit.begin_suspicious(mute, is_first=not again, piled_up=self.known_running)
        reason = detector.limit_reason(limit.size)
        self._change(Cause.CALLS_SLOW, now, reason, recovery, limit)
        detector.restart()

    def _new_limit(self, size: float, now: float) -> Limit:
        usual = self.detector.baseline.usual(now)
        return Limit(size, self._calm, usual, next(self.calls.tokens), now)

    def _open(self, now: float, recovery: Recovery, reason: Reason) -> None:
        """Open: calls fail, or a limit is no help."""
        recovery.waits.forget()  # until now, calls were served
        self._wait_until(now + self._jittered(self.policy.open_for))
        self._change(Cause.EVIDENCE, now, reason, recovery)

    def _reopen(self, recovery: Recovery, now: float, what: Raised | str, asked: float) -> None:
        if recovery.is_crowded:
            self._limit_again(Cause.CROWDED, recovery, sentences.crowded(recovery, now), now)
            return
        reason = sentences.probe_failed(recovery, what, now)
        self._measure_rate(now)
        believed = recovery.believe(asked, now)
        self._wait_until(now + self._time_to_next_probe(recovery, now), now + believed)
        self._change(Cause.PROBES_BAD, now, reason, recovery)

    def _time_to_next_probe(self, recovery: Recovery, now: float) -> float:
        return self._jittered(recovery.time_to_next_probe(now, self.counts.rate))

    def _accept_new_normal(self, recovery: Recovery, now: float) -> bool:
        usual = self.detector.baseline.usual(now)
        limit, patience, answer_takes, before = self.limit, None, 0.0, inf
        if limit is not None:
            # Calls come back. Those that may do so in a moment are not missing: on a busy key, they
            # are more than the answers that are remembered.
            before = self._stuck_before(limit, now)
            patience = limit.patience
            # Not later than after the patience, all calls are let through again.
            answer_takes = recovery.answers.slowest if limit.is_pausing else 0.0
            answer_takes += limit.return_takes(self.counts.rate)
        missing, rate = self.calls.missing(recovery.first_token, before), self.counts.rate
        level = recovery.new_normal(
            now, usual, missing, rate, patience, answer_takes, limited=limit is not None
        )
        if level is None:
            return False
        self._accept(level, usual, recovery, now)
        return True

    def _accept(self, level: float, usual: Usual, recovery: Recovery, now: float) -> None:
        self.detector.accept_latency(level, usual, recovery.answers.share_above, now)
        self._refresh_at = self.counts.successes + 1
        reason = sentences.new_normal(level, usual.median, recovery, now)
        limit = self.limit
        if limit is None or not limit.return_takes(self.counts.rate):
            self._close(Cause.NEW_NORMAL, now, reason)
            return
        # The calls of others may be what is slow. So the load returns step by step.
        self.reason = reason
        recovery.slow_since = now
        recovery.answers.forget()
        limit.accept(self.detector.baseline.usual(now), next(self.calls.tokens), now)

    def _wait_until(self, *times: float) -> None:
        """Send no probe before the latest of these times; a wait is never shortened."""
        self.probe_at = max(self.probe_at, *times)

    def _recover(self, recovery: Recovery, now: float) -> None:
        """Close, or let the load return by a limit if calls were slow."""
        reason = sentences.recovered(recovery, now)
        if recovery.was_slow:
            # Calls that began later came back. The others may never do, and would fill the limit.
            self.calls.give_up_overdue()
            self._limit_again(Cause.PROBES_FAST, recovery, reason, now)
        else:
            self._close(Cause.PROBES_GOOD, now, reason)

    def _limit_again(self, cause: Cause, recovery: Recovery, reason: Reason, now: float) -> None:
        """Let the load return step by step."""
        # The calls with a vote lose it in this change. The overdue ones still take their places.
        overdue = float(len(self.calls.overdue))
        limit = self._new_limit(max(overdue, _LEAST_LIMIT, recovery.window), now)
        limit.failures.are_crowding = cause is Cause.CROWDED
        self._change(cause, now, reason, recovery, limit)
        self.detector.clear()

    def _new_recovery(self, now: float, run: int = 0) -> Recovery:
        before = self.recovery or self._last_recovery
        since, enough = self.detector.evidence.since, self.enough_probes
        return Recovery(self.policy, now, since, run, before, enough)

    @property
    def enough_probes(self) -> float:
        """The share of good probes that is just enough, 0.0-1.0."""
        known, normal = self.detector.evidence.known, self.detector.evidence.normal_bad_rate
        # Stricter than while closed (`Suspicion.begin_test`): why is in docs/decisions.md, rule 9.
        return enough_good(self.policy, normal, lenient=known < PRIOR_CALLS)

    def _close(self, cause: Cause, now: float, reason: Reason) -> None:
        self.detector.clear()
        if self.recovery is not None:
            self.recovery.ended = now
            self._last_recovery = self.recovery
        self.calls.give_up_overdue()
        self._change(cause, now, reason, None)
        if self.recovery is None:
            self.probe_at = 0.0

    def _change(
        self,
        cause: Cause,
        now: float,
        reason: Reason,
        recovery: Recovery | None,
        limit: Limit | None = None,
    ) -> None:
        after = AFTER.get((self.state, cause))
        if self.state in _SERVING and after in _SERVING and cause is not Cause.RESET:
            self.calls.stop_quick()
        else:
            # Calls admitted before the change say nothing about the callee after it.
            self.calls.end_generation()
        self._check_at = NEVER
        if (after := AFTER.get((self.state, cause))) is None:
            return  # a signal handler changed the state by hand meanwhile, and that holds
        # No function call in these lines: a signal handler could change the state during one.
        before, generation = self.state, self.generation + 1
        try:
            self.generation = generation
            self.state, self.reason, self.recovery, self.limit = after, reason, recovery, limit
            if before is not after:
                self.changed_at = now
                transition = Transition(self._key, before, after, reason, generation, now)
                # No function call here either: a signal handler could add an event during one.
                self.events += (transition,)
        except BaseException:
            # Interrupted: the change is made whole, unless it was changed by hand once more.
            if self.generation == generation:
                self.state, self.reason, self.recovery, self.limit = after, reason, recovery, limit
                if before is not after and generation not in {e.generation for e in self.events}:
                    self.events += (Transition(self._key, before, after, reason, generation, now),)
            raise

    def _see_bad(self, vote: Vote, ending: Ending) -> None:
        """Note a bad call, for those who are told of a change of state."""
        is_first = self.recovery is None and self.detector.evidence.idle
        self.bad_calls = seen_last(() if is_first else self.bad_calls, vote, ending)

    def _measure_rate(self, now: float) -> None:
        if self.counts.measure_rate(self.asked, now):
            self.detector.note_rate(self.counts.rate)

    @property
    def asked(self) -> int:
        """All calls so far, including refused ones and those in flight."""
        return self.counts.asked + len(self.calls.recent) + len(self.calls)

    def _jittered(self, wait: float) -> float:
        # A user's `random` may return any number; the wait must stay near its value all the same.
        chance = min(max(0.0, self.random()), 1.0)
        return wait * (1.0 + self.policy.jitter * (2.0 * chance - 1.0))

    def _give_up_stuck(self, limit: Limit, now: float) -> int:
        """Give up overdue calls that later ones have overtaken; return their number."""
        before = self._stuck_before(limit, now)
        stuck = [
            token
            for token, call in self.calls.overdue.items()
            if token < limit.latest and call.started < before
        ]
        for token in stuck:
            limit.forget(token)
        return self.calls.give_up(stuck)

    def _stuck_before(self, limit: Limit, now: float) -> float:
        return now - _STUCK * max(limit.level, self.detector.baseline.threshold)

    @property
    def running(self) -> int:
        """Number of calls that wait for an answer, as far as is known."""
        return self.known_running

    @property
    def known_running(self) -> int:
        """Number of the calls in flight here that wait for an answer.

        Calls that have begun to answer are not among them: a stream lasts as long as it lasts.
        """
        return len(self.calls.voting) + len(self.calls.overdue)

    def forget_calls(self) -> None:
        """Forget the calls in flight: after a fork they continue in the parent."""
        self.counts.cancelled += self.calls.forget_all()
        if self.limit is not None:
            self.limit.forget_all(next(self.calls.tokens))

    # What it is like

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, >= 0; infinite if open until changed by hand."""
        recovery = self.recovery
        if recovery is None:
            return 0.0
        if self.state is _OPEN:
            return max(0.0, self.probe_at - now)
        if self.limit is not None:
            return min(self.limit.wait(self.running, now), self.policy.max_open_for)
        oldest = self.calls.oldest()
        if oldest is None or self.calls.probes < recovery.places:
            return 0.0
        # A probe takes its place at most until it is overdue, and usually for much less time.
        left = oldest[1].started + self.detector.baseline.threshold - now
        if waiting := self.calls.waiting:
            left = min(left, recovery.giving_way.next_at(waiting) - now)
        return max(0.0, min(left, self.policy.open_for))

    def is_probe(self, token: int) -> bool:
        """Whether a call is a probe."""
        probing = self.state is _OPEN or self.state is _HALF_OPEN
        return probing and token in self.calls.voting
