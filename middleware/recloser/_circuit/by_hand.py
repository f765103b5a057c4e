"""What operators do with a circuit by hand: change its state, or its policy."""

from __future__ import annotations

from recloser._circuit.in_flight import Timing
from recloser._circuit.machine import Circuit
from recloser._circuit.transitions import Cause
from recloser._circuit.votes import Ending
from recloser._events import Reason
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_OPEN = State.OPEN
_SUCCESS, _FAILURE = Outcome.SUCCESS, Outcome.FAILURE


class SteeredCircuit(Circuit):
    """A circuit that operators can change. What they say holds, whatever the evidence is."""

    __slots__ = ()

    def open_by_hand(self, now: float, until: float, reason: Reason) -> None:
        """Open until `until` seconds."""
        # This is a new outage: what is known about a present one does not apply to it.
        recovery = self._new_recovery(now)
        self.probe_at = until
        self._change(Cause.OPENED, now, reason, recovery)

    def half_open_by_hand(self, now: float, reason: Reason) -> None:
        """Admit `half_open_requests` probes at once: the operator expects the callee to work."""
        recovery = self.recovery or self._new_recovery(now)
        recovery.begin_round(self.policy.half_open_requests)
        # From now on, an earlier wait that the callee or an operator set no longer applies.
        self.probe_at = now
        self._end_pause()
        self._change(Cause.HALF_OPENED, now, reason, recovery)

    def close_by_hand(self, now: float, reason: Reason) -> None:
        """Let all calls through again, and keep what was learned."""
        self._end_pause()
        self._close(Cause.CLOSED_BY_HAND, now, reason)

    def _end_pause(self) -> None:
        if self.detector.pauses is not None:
            self.detector.pauses.until = 0.0

    def reset(self, now: float, reason: Reason) -> None:
        """Close and forget everything that was learned."""
        self._close(Cause.RESET, now, reason)
        self.detector.reset()
        if self.calls.streams is not None:
            self.calls.streams.forget()
        self._last_recovery = None
        self._refresh_at = self.counts.successes + self.policy.min_history
        self.counts.forget_pace()
        self.given_up = None
        if self.explained is not None:
            self.explained.forget()

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

    def adopt(self, policy: Policy, now: float) -> None:
        """Go on by another policy, and keep what was learned.

        It holds for all that is decided from now on. The wait for the next probe, and a limit, stay
        as they are. A suspicion is dropped: it was judged by the policy before.
        """
        self.policy = policy
        if self.recovery is None:
            self.detector.clear()
        self.detector.adopt(policy)
        if self.explained is not None:
            self.explained.policy = policy
        if self.recovery is not None:
            self.recovery.adopt(policy, self.enough_probes)
        if self.calls.streams is not None:
            self.calls.streams.adopt(policy)
        self._refresh(now)
        self.calls.stop_quick()
