"""Breaker: a clock and a lock around a circuit."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf
from random import random as default_random
from threading import RLock
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, TypeVarTuple, cast, final

from recloser import _with
from recloser._admission import UNGUARDED, Refused, Unguarded
from recloser._circuit import sentences
from recloser._circuit.in_flight import CallTimes
from recloser._circuit.machine import Circuit
from recloser._decorator import IS_LAZY, awaited, guarded
from recloser._errors import BreakerOpenError
from recloser._listeners import Listeners
from recloser._permit import LONGEST, NO_TOKEN, LoosePermit, Permit, voteless
from recloser._policy import Policy
from recloser._state import Mode, State

if TYPE_CHECKING:
    from recloser._metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
AnyPermit = TypeVar("AnyPermit", bound=Permit)

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _OBSERVE, _DISABLED = Mode.ENFORCE, Mode.OBSERVE, Mode.DISABLED
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


class WithinDecisionError(Exception):
    """A thread asks for a decision while it is at one: it was interrupted."""


@final
class Breaker:
    """The breaker of one key: guards calls, as a block, a decorator, or in two steps.

    `with breaker:`, `async with breaker:`, `@breaker` on functions, coroutine functions,
    generators and async generators, `breaker.call(f)`, or `permit = breaker.acquire()`. It never
    waits, and holds its lock over a few straight-line statements, never over the user's call.

    Args:
        key: What it guards.
        policy: When it opens; the default needs no tuning.
        clock: Monotonic seconds.
        random: Uniform in 0.0-1.0, for jitter.
        mode: Whether it refuses, only reports, or does nothing.

    Raises:
        TypeError: The key is no str, or the policy no Policy.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_circuit",
        "_clock",
        "_deciding",
        "_delivering",
        "_listeners",
        "_lock",
        "_mode",
        "_refused",
        "key",
        "policy",
    )

    def __init__(
        self,
        key: str,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        random: Callable[[], float] = default_random,
        mode: Mode | str = Mode.ENFORCE,
        _listeners: Listeners | None = None,
    ) -> None:
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, not {key!r}")
        if policy is None:
            policy = Policy()
        elif not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, not {policy!r}")
        self.key: str = key
        self.policy: Policy = policy
        self._clock = clock
        self._listeners = _listeners if _listeners is not None else Listeners(clock)
        self._circuit = Circuit(key, policy, random, self._listeners.stalls)
        self._calls = self._circuit.calls
        self._lock = RLock()
        self.mode = mode
        # Whether this lock is held to change the circuit.
        self._deciding = False
        self._delivering = False
        self._refused: Refused | None = None
        if _listeners is None:
            loose_breakers.add(self)

    def after_fork(self) -> None:
        """Start anew in a child process: nobody else here holds the lock, or ends a call."""
        self._lock = RLock()
        self._deciding = False
        self._delivering = False
        self._calls.give_up()

    def __copy__(self) -> Self:
        """A copy is the same breaker: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    # Admission

    def admit(self, kind: type[AnyPermit]) -> AnyPermit | Refused | Unguarded:
        """Answer whether one call may pass; see `recloser._admission` for the three answers.

        Args:
            kind: The class of the permit, for one with slots of its own; it is made without
                arguments. One that is no `LoosePermit` must be ended, or is in flight for ever.

        Returns:
            `UNGUARDED` where the breaker is disabled, or only observes and would have refused.
        """
        calls = self._calls
        in_flight = calls.in_flight  # before `check_at`: see `Calls`
        token = NO_TOKEN
        try:
            try:
                now = self._clock()
                is_quick = now < calls.check_at
                if not is_quick:
                    circuit = self._circuit
                    if circuit.state is _OPEN and now < circuit.look_at and self._mode is _ENFORCE:
                        # One number decides, so without the lock: threads that refuse at one moment
                        # may count as one.
                        calls.refused += 1
                        return self._refuse(now)
                token = next(calls.tokens)
            except Exception as error:
                # A fault of ours never refuses a call.
                self._listeners.fault("admission", error)
                return UNGUARDED
            permit = kind()
            permit.breaker = self
            permit.started = now
            permit.answered = inf
            permit._token = token
            call: CallTimes = permit
            if kind.is_loose:
                call = permit._twin = CallTimes()
                call.started = now
                call.answered = inf
            if not is_quick:
                return self._decide_admission(permit, call, now)
            in_flight[token] = call
        except BaseException:
            # A signal handler or a listener wants out: nobody will end this call.
            calls.in_flight.pop(token, None)
            raise
        return permit

    def _decide_admission(
        self, permit: AnyPermit, call: CallTimes, now: float
    ) -> AnyPermit | Refused | Unguarded:
        token, permit._token = permit._token, NO_TOKEN
        if self._mode is _DISABLED:
            return UNGUARDED
        try:
            keep_up = self._listeners.stalls.keep_up
            if keep_up is not None:
                keep_up(now)
            if self._decide(now, self._circuit.admit, token, call, now):
                permit._token = token
                return permit
        except WithinDecisionError:
            return UNGUARDED
        except Exception as error:
            # A fault of ours never refuses a call.
            self._listeners.fault("admission", error)
            self._calls.in_flight.pop(token, None)
            return UNGUARDED
        return self._refuse(now) if self._mode is _ENFORCE else UNGUARDED

    def _refuse(self, now: float) -> Refused:
        refused = self._refused
        if refused is None:
            refused = self._refused = Refused(self)
        refused.at = now
        return refused

    def _begin(self, kind: type[AnyPermit]) -> AnyPermit:
        """Ask for admission, and go on without a vote where nothing is guarded.

        Raises:
            BreakerOpenError: The call is refused.
        """
        admission = self.admit(kind)
        if isinstance(admission, Refused):
            raise admission.error()
        return voteless(self, kind) if isinstance(admission, Unguarded) else admission

    def acquire(self) -> Permit:
        """Ask for admission of one call.

        Raises:
            BreakerOpenError: The call is refused; nothing was sent.
        """
        return self._begin(LoosePermit)

    def try_acquire(self) -> Permit | None:
        """`acquire()` for who would rather have None than an error where the call is refused."""
        admission = self.admit(LoosePermit)
        if isinstance(admission, Refused):
            return None
        return voteless(self, LoosePermit) if isinstance(admission, Unguarded) else admission

    def _decide(self, now: float, decide: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Have the circuit decide under the lock, and hand out the events that this made.

        Raises:
            WithinDecisionError: This very thread is at a decision, and was interrupted by a
                finalizer or a signal handler.
        """
        circuit = self._circuit
        with self._lock:
            if self._deciding:
                raise WithinDecisionError
            self._deciding = True
            try:
                circuit.catch_up(now)
                decided = decide(*arguments)
            finally:
                self._deciding = False
                if self._mode is not _DISABLED:
                    circuit.settle(now)
        if circuit.events:
            self._deliver()
        return decided

    def refusal(self) -> BreakerOpenError:
        """The error of a call refused now."""
        now = self._clock()
        circuit = self._circuit
        with self._lock:
            state, reason, wait = circuit.state, circuit.reason, circuit.wait(now)
        if state is _CLOSED:  # by another call, a moment ago
            state = _HALF_OPEN
        return BreakerOpenError(self.key, state, reason, self._finite(wait))

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0.0 when one would be now.

        `Policy.max_open_for` when it was opened by hand until told otherwise.
        """
        return self._wait(self._clock()) if self._mode is _ENFORCE else 0.0

    def _wait(self, now: float) -> float:
        circuit = self._circuit
        if circuit.state is _OPEN:  # one number needs no lock
            return self._finite(max(0.0, circuit.look_at - now))
        with self._lock:
            return circuit.wait(now)

    def _finite(self, wait: float) -> float:
        return wait if wait < inf else self.policy.max_open_for

    def _lose(self, token: int, error: BaseException) -> None:
        """The end of a call could not be told: its permit comes back all the same.

        Raises:
            BaseException: The error, if a signal handler wants out.
        """
        self._calls.dropped.append(token)
        if not isinstance(error, Exception):
            raise error
        if not isinstance(error, WithinDecisionError):
            self._listeners.fault("bookkeeping", error)

    def _delay(self, permit: Permit, seconds: float, now: float) -> None:
        """Take a call to have begun later: for so long it waited, until now, for its own caller.

        Not for a `LoosePermit`.
        """
        with suppress(WithinDecisionError):
            self._decide(now, self._circuit.delay, permit, seconds)

    def record(self, latency: float, success: bool) -> None:
        """Count a call that was timed elsewhere.

        While closed it votes, while half-open it counts as a probe, while open it has no say.

        Args:
            latency: Seconds, >= 0; a negative, infinite or NaN one is ignored and counted.
            success: Whether the callee answered.
        """
        if self._mode is _DISABLED:
            return
        try:
            latency = float(latency)
        except (TypeError, ValueError, OverflowError):
            latency = -1.0
        if not 0.0 <= latency < LONGEST:
            self._listeners.strange_latencies += 1
            return
        now = self._clock()
        # A finalizer or signal handler that interrupts a decision is not heard.
        with suppress(WithinDecisionError):
            self._decide(now, self._circuit.record, latency, bool(success), now)

    # Whole calls

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function under guard; for a coroutine function the result is to be awaited.

        Raises:
            BreakerOpenError: The call is refused.
        """
        code = getattr(function, "__code__", None)
        is_class = isinstance(function, type)
        if not is_class and (code is None or code.co_flags & IS_LAZY):
            return guarded(self, function)(*args, **kwargs)
        permit = self._begin(Permit)
        try:
            result = function(*args, **kwargs)
            if type(result) is CoroutineType:
                return cast("T", awaited(permit, cast("Any", result)))
            permit.success()  # in here: a signal handler may raise on the way
        except BaseException as error:
            permit.end_by_error(error)
            raise
        return result

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Guard a function, coroutine function, generator or async generator function."""
        return guarded(self, function)

    def __enter__(self) -> Permit:
        permit = self.acquire()
        _with.enter(permit)
        return permit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit = _with.leave(self)
        if permit is not None:
            permit.end_by_error(error)

    async def __aenter__(self) -> Permit:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    # By hand

    def open(self, reason: str = "", for_: float | None = None) -> None:
        """Open now.

        Args:
            reason: Why, for the record.
            for_: Seconds until it looks again, >= 0; None until `half_open()` or `reset()`.

        Raises:
            TypeError: `for_` is no number.
            ValueError: `for_` is negative or NaN.
        """
        if for_ is not None and not isinstance(for_, (int, float)):
            raise TypeError(f"for_ must be seconds from 0, or None, not {for_!r}")
        try:
            wait = inf if for_ is None else float(for_)
        except OverflowError:
            wait = inf
        if not wait >= 0.0:
            raise ValueError(f"for_ must be seconds from 0, or None, not {for_!r}")
        now = self._clock()
        until = now + wait
        self._insist(
            now, self._circuit.open_by_hand, now, until, sentences.by_hand("manual", reason)
        )

    def half_open(self) -> None:
        """Let `Policy.half_open_requests` probes through at once: you vouch for the callee."""
        now = self._clock()
        self._insist(now, self._circuit.half_open_by_hand, now, sentences.by_hand("manual", ""))

    def reset(self) -> None:
        """Close, and forget all that was learned."""
        now = self._clock()
        self._insist(now, self._circuit.reset, now, sentences.by_hand("reset", ""))

    def _insist(self, now: float, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Decide, even within a decision: a signal handler may look, and an order is an order."""
        try:
            return self._decide(now, action, *arguments)
        except WithinDecisionError:
            return action(*arguments)

    # What others may see

    @property
    def state(self) -> State:
        """What is done with the next call. An open breaker half-opens at the next call."""
        return self._circuit.state

    @property
    def mode(self) -> Mode:
        """Whether it refuses, only reports, or does nothing."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        mode = Mode(mode)
        with self._lock:  # or a decision that goes on would be settled in the mode before
            self._mode = mode
            self._calls.close()

    def metrics(self) -> Metrics:
        """Counts and latencies, all of one moment."""
        now = self._clock()
        return self._insist(now, self._measure, now)

    def _measure(self, now: float) -> Metrics:
        # Here, because to make that class is a twentieth of what importing recloser costs.
        from recloser._metrics import measure

        wait = self._wait(now) if self._mode is _ENFORCE else 0.0
        return measure(self.key, self._mode, self._circuit, wait)

    def explain(self) -> str:
        """Say in one plain sentence what it does now, and which numbers decided."""
        from recloser._metrics import explain

        now = self._clock()
        return self._insist(now, explain, self._mode, self._circuit, self.policy, now)

    def z_score(self, latency: float) -> float:
        """How many standard deviations of log latency a latency (s) lies above the median."""
        return self._insist(self._clock(), self._circuit.baseline.z_score, latency)

    @property
    def slow_threshold(self) -> float:
        """Seconds above which a call is slow now; `Policy.slow_ceiling` until enough is known."""
        return self._insist(self._clock(), self._circuit.slow_threshold)

    def is_slow(self, latency: float) -> bool:
        """Whether a latency (s) would be an anomaly for this key."""
        return self.z_score(latency) > 0.0 and latency > self.slow_threshold

    def __repr__(self) -> str:
        return f"<Breaker {self.key!r} {self.explain()}>"

    # Events

    def _deliver(self) -> None:
        """Hand out events in order, one at a time, without the lock.

        Whoever is at it hands out what others add meanwhile, so that those need not wait.
        """
        circuit = self._circuit
        while True:
            with self._lock:
                if self._delivering or not circuit.events:
                    return
                self._delivering = True
                # One at a time: what a listener raises past us loses none of the others.
                # In two steps without a call: in one, a signal handler may add another event.
                transition = circuit.events[0]
                circuit.events = circuit.events[1:]
            try:
                self._listeners.deliver(transition)
            finally:
                self._delivering = False


# Breakers that no registry knows (any more), for what follows a fork.
loose_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


def _after_fork() -> None:
    for breaker in list(loose_breakers):
        breaker.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
