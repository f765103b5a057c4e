"""Admission of the calls of one key: each gets a permit, is refused, or is not guarded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any, cast

from recloser._admission import UNGUARDED, Injected, Refused, Unguarded
from recloser._callers import is_enforced
from recloser._decorator import loosened
from recloser._hooks import Refusal
from recloser._locked_circuit import NO_TOKEN, SPARED, WithinDecisionError, loose_circuits
from recloser._locks import within
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

    def admit(
        self, kind: type[AnyLoosePermit], *, enforces: bool = True, injects: bool = False
    ) -> AnyLoosePermit | Refused | Unguarded:
        """Answer whether one call may pass; see `recloser._admission` for the three answers.

        Args:
            kind: The class of the permit, for one with slots of its own; it is made without
                arguments.
            enforces: Whether the call may be refused. If not, the breaker only observes for it.
            injects: Whether the caller can let a fault happen that is injected on purpose: then the
                answer may be an `Injected`.

        Returns:
            `UNGUARDED` where the breaker is disabled. A call that it would have refused, if it only
            observes, gets a permit without a vote.
        """
        admission: Permit | Refused | Unguarded = UNGUARDED
        try:
            admission = self.admit_strict(Permit, enforces=enforces)
            if type(admission) is not Permit:
                if isinstance(admission, Injected):
                    return self._with_fault(admission, kind, injects=injects)
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

    def _with_fault(
        self, injected: Injected, kind: type[AnyLoosePermit], *, injects: bool
    ) -> AnyLoosePermit | Injected:
        """The fault of a call, or only its permit for who cannot let it happen."""
        loose = loosened(injected.permit, kind)
        injected.permit = loose
        return injected if injects else loose

    def admit_strict(
        self, kind: type[AnyPermit], *, enforces: bool = True
    ) -> AnyPermit | Refused | Unguarded:
        """The same, with a permit that must be ended: until then its call counts as in flight.

        This is the only place where calls are admitted, besides the quick case that `Gate.admit`
        has written out.

        Args:
            kind: The class of the permit. It must not be a `LoosePermit`.
            enforces: As for `admit`.
        """
        calls = self._calls
        voting = calls.voting  # before `quick_until`: see `in_flight.py`
        token = NO_TOKEN
        try:
            try:
                clock = self.clock
                now = clock()
                if now >= calls.quick_until:
                    return self.admit_by_decision(kind, now, enforces=enforces)
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
        self,
        kind: type[AnyPermit],
        now: float,
        request: Mapping[str, Any] | None = None,
        enforces: bool = True,
    ) -> AnyPermit | Refused | Unguarded:
        """`admit_strict` for a call that may begin only by a decision.

        Args:
            kind: The class of the permit.
            now: Seconds.
            request: The web request that the call is; None for another call.
            enforces: As for `admit`.
        """
        circuit = self._circuit
        token = NO_TOKEN
        try:
            if circuit.state is _OPEN and now < circuit.probe_at and self._refuses_all and enforces:
                # Without the lock, because one number decides. Refusals at the same moment in several
                # threads may be counted once.
                circuit.counts.refused += 1
                return self._refuse(now)
            if self._override is not None:
                self.end_if_over(now)
            token = next(self._calls.tokens)
            permit = kind()
            permit.breaker = self
            permit.started = now
            permit.answered = inf
            permit.token = NO_TOKEN  # until it is admitted
            admission = self._decide_admission(permit, token, now)
            if admission is None:
                if enforces and self._refuses(request):
                    return self._refuse(now)
                self._spare(now)
                permit.token = SPARED
                return permit
        except BaseException:
            # A signal handler or a listener raised: the caller will not get the permit.
            self._take_back(token)
            raise
        if self._listeners.chaos is not None and type(admission) is kind:
            return self._listeners.inject(admission, now)  # type: ignore[no-any-return]  # see there
        return admission

    def _decide_admission(
        self, permit: AnyPermit, token: int, now: float
    ) -> AnyPermit | Unguarded | None:
        """The permit or `UNGUARDED`; None where the circuit refuses."""
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
        return None

    def _refuses(self, request: Mapping[str, Any] | None) -> bool:
        """Whether a refusal holds for the present caller."""
        if self._refuses_all:
            return True
        return self._mode is _ENFORCE and is_enforced(self._share, request)

    def _spare(self, now: float) -> None:
        """Note a call that is made although it would be refused."""
        within(self._lock, self._count_spared)
        if self._listeners.on_refuse:
            self._tell_refusal(now, is_enforced=False)

    def _count_spared(self) -> None:
        self._circuit.counts.spared += 1

    def _tell_refusal(self, now: float, *, is_enforced: bool) -> None:
        circuit, listeners = self._circuit, self._listeners
        try:
            wait, state = self._wait(now), circuit.state
            refusal = Refusal(
                self.key, state, self._mode, is_enforced, circuit.reason, self._finite(wait), now
            )
        except Exception as error:
            self.fault("refusal", error)
            return
        listeners.tell(listeners.on_refuse, refusal)

    def _refuse(self, now: float) -> Refused:
        if self._listeners.on_refuse:
            self._tell_refusal(now, is_enforced=True)
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
