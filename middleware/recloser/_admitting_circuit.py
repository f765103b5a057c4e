"""Admission of the calls of one key: each gets a permit, is refused, or is not guarded."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import cast

from recloser._admission import UNGUARDED, Refused, Unguarded
from recloser._locked_circuit import NO_TOKEN, WithinDecisionError, loose_circuits
from recloser._operations import OperableCircuit
from recloser._permit import AnyLoosePermit, AnyPermit, Permit
from recloser._state import Mode, State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _DISABLED = Mode.ENFORCE, Mode.DISABLED
_OPEN = State.OPEN


class AdmittingCircuit(OperableCircuit):
    """A circuit that decides whether a call may pass. The base of `Breaker`."""

    __slots__ = ("_refused",)

    _refused: Refused

    def admit(self, kind: type[AnyLoosePermit]) -> AnyLoosePermit | Refused | Unguarded:
        """Answer whether one call may pass; see `recloser._admission` for the three answers.

        Args:
            kind: The class of the permit, for one with slots of its own; it is made without
                arguments.

        Returns:
            `UNGUARDED` where the breaker is disabled, or only observes and would have refused.
        """
        admission: Permit | Refused | Unguarded = UNGUARDED
        try:
            admission = self.admit_strict(Permit)
            if type(admission) is not Permit:
                return cast("Refused | Unguarded", admission)
            # loosened() of `_decorator`, without its frame.
            loose = kind()
            loose.breaker = self
            loose.started = admission.started
            loose.answered = inf
            loose.timing = admission
            loose.token, admission.token = admission.token, NO_TOKEN
        except BaseException:
            # A signal handler raised: the caller will not get the permit.
            if type(admission) is Permit:
                admission.cancel()
            raise
        return loose

    def admit_strict(self, kind: type[AnyPermit]) -> AnyPermit | Refused | Unguarded:
        """The same, with a permit that must be ended: until then its call counts as in flight.

        This is the only place where calls are admitted, besides the quick case that `Gate.admit`
        has written out.

        Args:
            kind: The class of the permit. It must not be a `LoosePermit`.
        """
        calls = self._calls
        voting = calls.voting  # before `quick_until`: see `in_flight.py`
        token = NO_TOKEN
        try:
            try:
                clock = self.clock
                now = clock()
                if now >= calls.quick_until:
                    return self.admit_by_decision(kind, now)
                token = next(calls.tokens)
            except Exception as error:
                # A fault in recloser never refuses a call.
                self.fault("admission", error)
                return UNGUARDED
            permit = kind()
            permit.breaker = self
            permit.started = now
            permit.answered = inf
            permit.token = token
            voting[token] = permit
            return permit
        except BaseException:
            # A signal handler raised: the caller will not get the permit.
            self._take_back(token)
            raise

    def admit_by_decision(
        self, kind: type[AnyPermit], now: float
    ) -> AnyPermit | Refused | Unguarded:
        """`admit_strict` for a call that may begin only by a decision, at a time in seconds."""
        circuit = self._circuit
        token = NO_TOKEN
        try:
            if circuit.state is _OPEN and now < circuit.probe_at and self._mode is _ENFORCE:
                # Without the lock, because one number decides. Refusals at the same moment in several
                # threads may be counted once.
                circuit.counts.refused += 1
                return self._refuse(now)
            token = next(self._calls.tokens)
            permit = kind()
            permit.breaker = self
            permit.started = now
            permit.answered = inf
            permit.token = NO_TOKEN  # until it is admitted
            return self._decide_admission(permit, token, now)
        except BaseException:
            # A signal handler or a listener raised: the caller will not get the permit.
            self._take_back(token)
            raise

    def _decide_admission(
        self, permit: AnyPermit, token: int, now: float
    ) -> AnyPermit | Refused | Unguarded:
        if self._mode is _DISABLED:
            return UNGUARDED
        try:
            keep_up = self._listeners.stalls.keep_up
            if keep_up is not None:
                keep_up(now)
            if self._decide(now, self._circuit.admit, token, permit, now):
                permit.token = token
                return permit
        except WithinDecisionError:
            return UNGUARDED
        except Exception as error:
            # A fault in recloser never refuses a call.
            self.fault("admission", error)
            self._take_back(token)
            return UNGUARDED
        return self._refuse(now) if self._mode is _ENFORCE else UNGUARDED

    def _refuse(self, now: float) -> Refused:
        try:
            refused = self._refused
        except AttributeError:  # the first refusal
            refused = self._refused = Refused(self)
        refused.at, refused.probe_at = now, self._circuit.probe_at
        return refused

    def detach(self) -> None:
        """Let the registry drop it: nothing refers to itself then, and a fork still reaches it."""
        loose_circuits.add(self)
        with suppress(AttributeError):
            del self._refused  # it refers to this breaker
