"""The lifecycle of a circuit: its state, and every change of it.

`Circuit` decides when the state changes. This module carries the change out. The states and their
changes are the table in `transitions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences
from recloser._circuit.counts import Counts
from recloser._circuit.detector import Detector
from recloser._circuit.in_flight import InFlight
from recloser._circuit.limit import Limit
from recloser._circuit.recovery import Recovery
from recloser._circuit.transitions import AFTER, Cause
from recloser._events import Reason, Transition
from recloser._policy import Policy
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
# Changes between these states take the vote from no call: the callee is still the same.
_SERVING = (_CLOSED, _LIMITED)
# A limit ends after so many seconds without a refusal. If it had begun within `_AGAIN` seconds of
# the one before, twice as many are needed, so that a lasting overload does not make it flap.
_CALM, _LONGEST_CALM = 5.0, 60.0
_AGAIN = 30.0
# A limit is never less at first than this.
_LEAST_LIMIT = 2.0


class Lifecycle:
    """The state of one key, and everything that changes it.

    Attributes:
        calls: The calls in flight.
        counts: Number of calls by outcome.
        detector: What is normal, and the evidence against it.
        state: What is done with the next call.
        generation: Number of generations that have begun after the first.
        reason: Why the last generation began.
        limit: How many calls may be in flight, while limited; None otherwise.
        recovery: The present trouble, from the first suspicious call on; None while closed, and
            only then.
        probe_at: When the next probe may pass, while open; seconds.
        events: Transitions that were not delivered yet, oldest first.
    """

    __slots__ = (
        "_calm",
        "_check_at",
        "_key",
        "_last_recovery",
        "_policy",
        "_random",
        "_refresh_at",
        "calls",
        "counts",
        "detector",
        "events",
        "generation",
        "limit",
        "probe_at",
        "reason",
        "recovery",
        "state",
    )

    def __init__(self, key: str, policy: Policy, random: Callable[[], float]) -> None:
        self._key = key
        self._policy = policy
        self._random = random
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
        self.events: tuple[Transition, ...] = ()
        self._check_at = -inf  # when the oldest call in flight may be overdue
        self._refresh_at = policy.min_history

    # What the votes lead to

    def _trip(self, now: float) -> None:
        """Limit or open: the evidence suffices that the callee is not as usual."""
        detector, evidence = self.detector, self.detector.evidence
        slow = evidence.slow * 2 >= evidence.bad
        recovery = self.recovery
        if recovery is None:
            recovery = self._new_recovery(now, run=evidence.bad)
            recovery.was_slow = slow
            recovery.answers.begin_with(detector.held, failed=evidence.bad - evidence.slow)
        if slow and self.limit is None:
            self._begin_limit(max(self.running, _LEAST_LIMIT, self.counts.concurrency), now, recovery)
            return
        reason = detector.open_reason()
        self._wait_until(now + self._jittered(self._policy.open_for), detector.take_asked_wait())
        self._change(Cause.EVIDENCE, now, reason, recovery)
        detector.take_held()

    def _begin_limit(self, size: float, now: float, recovery: Recovery) -> None:
        before = self._last_recovery
        again = before is not None and now - before.ended < _AGAIN
        self._calm = min(2.0 * self._calm, _LONGEST_CALM) if again else _CALM
        detector = self.detector
        mute = None if detector.is_alive(now) else self.calls.voting.copy()
        self._change(Cause.CALLS_SLOW, now, detector.limit_reason(size), recovery)
        if self.state is _LIMITED:
            self.limit = self._new_limit(size, now)
            self.limit.begin_suspicious(mute, is_first=not again)
        detector.restart()

    def _new_limit(self, size: float, now: float) -> Limit:
        usual = self.detector.baseline.usual(now)
        return Limit(size, self._calm, usual, next(self.calls.tokens), now)

    def _open_anyway(self, now: float, recovery: Recovery, reason: Reason) -> None:
        """Open: a limit is no help."""
        self._wait_until(now + self._jittered(self._policy.open_for), 0.0)
        self._change(Cause.EVIDENCE, now, reason, recovery)

    def _wait_until(self, probe_at: float, asked_until: float) -> None:
        self.probe_at = max(self.probe_at, probe_at, asked_until)

    def _recover(self, recovery: Recovery, now: float) -> None:
        """Close, or let the load return by a limit if calls were slow."""
        reason = sentences.recovered(recovery, now)
        if recovery.was_slow:
            self._limit_again(Cause.PROBES_FAST, recovery, reason, now)
        else:
            self._close(Cause.PROBES_GOOD, now, reason)

    def _limit_again(self, cause: Cause, recovery: Recovery, reason: Reason, now: float) -> None:
        """Let the load return step by step."""
        self._change(cause, now, reason, recovery)
        if self.state is _LIMITED:
            self.limit = self._new_limit(max(float(self.running), _LEAST_LIMIT), now)
        self.detector.clear()

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
        after = AFTER.get((self.state, cause))
        if self.state in _SERVING and after in _SERVING:
            self.calls.stop_quick()
        else:
            # Calls admitted before the change say nothing about the callee after it.
            self.calls.end_generation()
        self._check_at = -inf
        if (after := AFTER.get((self.state, cause))) is None:
            return  # a signal handler changed the state by hand meanwhile, and that holds
        # No function call in these lines: a signal handler could change the state during one.
        before = self.state
        self.generation += 1
        self.state, self.reason, self.recovery, self.limit = after, reason, recovery, None
        if before is not after:
            transition = Transition(self._key, before, after, reason, self.generation, now)
            # No function call here either: a signal handler could add an event during one.
            self.events += (transition,)

    def _jittered(self, wait: float) -> float:
        # A user's `random` may return any number; the wait must stay near its value all the same.
        chance = min(max(0.0, self._random()), 1.0)
        return wait * (1.0 + self._policy.jitter * (2.0 * chance - 1.0))

    @property
    def running(self) -> int:
        """Calls that the callee is working on, as far as is known."""
        calls = self.calls
        return len(calls.voting) + len(calls.overdue) + len(calls.answering)

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
