"""A circuit with a clock and a lock: makes decisions safe on any thread, and tells of changes."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf
from random import random as default_random
from threading import RLock
from typing import Any, Protocol, Self, TypeVar, TypeVarTuple

from recloser._circuit import sentences
from recloser._circuit.in_flight import WAITING, Timing
from recloser._circuit.machine import Circuit
from recloser._circuit.votes import Ending
from recloser._errors import BreakerOpenError
from recloser._listeners import Listeners
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._state import Mode, State

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

NO_TOKEN = 0
"""The token of a call that has ended, or that no breaker counts."""
LONGEST = 1e9
"""Latencies from this many seconds on are ignored: nobody waits 31 years, and the square of this
number is still finite."""
# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _DISABLED = Mode.ENFORCE, Mode.DISABLED
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED


class WithinDecisionError(Exception):
    """A thread wants a decision while it makes one: a finalizer or signal handler interrupted it."""


class CallInFlight(Protocol):
    """What the end of a call is decided from.

    Attributes:
        token: Its number among the calls of its breaker, `NO_TOKEN` once it has ended.
        started: When it began, in seconds of the breaker's clock.
        answered: When it began to answer, in the same seconds.
    """

    token: int
    started: float
    answered: float


class LockedCircuit:
    """A circuit that any thread may ask for decisions. The base of `Breaker`.

    Args:
        key: What it guards.
        policy: When it opens; the default needs no tuning.
        clock: Monotonic seconds.
        random: Uniform in 0.0-1.0, for jitter.
        mode: Whether it refuses, only reports, or does nothing.

    Raises:
        TypeError: The key is no str, or the policy no Policy.

    Attributes:
        key: What it guards.
        policy: When it opens.
        clock: Monotonic seconds.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_circuit",
        "_deciding",
        "_delivering",
        "_listeners",
        "_lock",
        "_mode",
        "clock",
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
        policy = policy if policy is not None else Policy()
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, not {key!r}")
        if not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, not {policy!r}")
        for name, function in (("clock", clock), ("random", random)):
            if not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        self.key = key
        self.policy = policy
        self.clock = clock
        self._listeners = _listeners if _listeners is not None else Listeners(clock)
        self._circuit = Circuit(key, policy, random, self._listeners.stalls)
        self._calls = self._circuit.calls
        # Reentrant: a finalizer or signal handler may come by while this thread holds it.
        self._lock = RLock()
        # Whether this lock is held to change the circuit.
        self._deciding = False
        self._delivering = False
        self.mode = mode
        if _listeners is None:
            loose_circuits.add(self)

    def after_fork(self) -> None:
        """Start anew in a child process: nobody else here holds the lock, or ends a call."""
        self._lock = RLock()
        self._deciding = False
        self._delivering = False
        self._circuit.counts.cancelled += self._calls.forget_all()

    def __copy__(self) -> Self:
        """A copy is the same breaker: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    # Decisions

    def _decide(self, now: float, decide: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Have the circuit decide under the lock, and hand out the events that this made.

        What the lock is held for does not depend on history, but may on the calls in flight: when
        some are late, all are looked at.

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

    def _deliver(self) -> None:
        """Hand out events in order, one at a time, without the lock.

        One thread does it for all: others that add events meanwhile need not wait.
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

    # The end of a call

    def end(
        self,
        call: CallInFlight,
        outcome: Outcome,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        *,
        quota: bool = False,
    ) -> None:
        """End a call; all that a permit can say of its end comes here. A second end does nothing.

        Args:
            call: The call.
            outcome: How it ended.
            error: For a failure: what to name in the reason, should this open the breaker.
            retry_after: Seconds for which the callee asked to be left alone, if it did.
            quota: Whether it was throttled because money or quota is used up.

        Raises:
            BaseException: Only what a signal handler raises meanwhile.
        """
        token, call.token = call.token, NO_TOKEN
        if not token:
            return
        try:
            now = self.clock()
            answered = call.answered
            latency = (now if answered == WAITING else min(now, answered)) - call.started
            if not 0.0 <= latency < LONGEST:
                self._listeners.strange_latencies += 1
                now, latency = call.started, 0.0
                if outcome is _SUCCESS:
                    outcome = Outcome.IGNORED
            what, wait, rule = "", 0.0, "retry_after"
            if outcome is _FAILURE:
                what, wait = sentences.name_of(error), self._capped(retry_after, 0.0)
            elif outcome is _THROTTLED:
                rule = "quota" if quota else rule
                wait = self._capped(retry_after, self.policy.quota_open_for if quota else 0.0)
            ending = Ending(token, outcome, latency, now, what, wait, rule)
            self._decide(now, self._circuit.end, ending)
        except BaseException as fault:
            self.lose(token, fault)

    def _capped(self, retry_after: float | None, otherwise: float) -> float:
        """The wait that a callee may impose, in seconds; 0.0 for none."""
        if retry_after is None:
            return otherwise
        try:
            wait = float(retry_after)
        except (TypeError, ValueError, OverflowError) as error:
            self.fault("retry_after", error)
            return 0.0
        # NaN and negative: as if nothing was said.
        return min(wait, self.policy.max_retry_after) if wait > 0.0 else 0.0

    def lose(self, token: int, error: BaseException) -> None:
        """End a call whose end could not be told, without a vote.

        Raises:
            BaseException: The error, if a signal handler raised it.
        """
        self._calls.dropped.append(token)
        if not isinstance(error, Exception):
            raise error
        if not isinstance(error, WithinDecisionError):
            self.fault("bookkeeping", error)

    def drop(self, token: int) -> None:
        """Note that nobody can end a call any more: its permit was garbage-collected."""
        # No lock here: the collector may run while this very thread holds it.
        self._calls.dropped.append(token)

    def delay(self, call: Timing, token: int, seconds: float, now: float) -> int:
        """Take a call to have begun later: so many seconds until now it waited for its own caller.

        Args:
            call: The object that is in the table of calls in flight, thus not a `LoosePermit`.
            token: The call's token.
            seconds: >= 0.
            now: Seconds.

        Returns:
            The token that it has from now on.
        """
        with suppress(WithinDecisionError):
            token = self._decide(now, self._circuit.delay, token, call, seconds)
        return token

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault that must not reach the call; log it, once a minute per place."""
        self._listeners.fault(where, error)

    # What it does now

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
            self._calls.stop_quick()

    def refusal(self) -> BreakerOpenError:
        """The error of a call refused now."""
        now = self.clock()
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
        return self._wait(self.clock()) if self._mode is _ENFORCE else 0.0

    def _wait(self, now: float) -> float:
        circuit = self._circuit
        if circuit.state is _OPEN:  # one number needs no lock
            return self._finite(max(0.0, circuit.probe_at - now))
        with self._lock:
            return circuit.wait(now)

    def _finite(self, wait: float) -> float:
        return wait if wait < inf else self.policy.max_open_for

    def is_probe(self, token: int) -> bool:
        """Whether a call decides about a recovery."""
        return self._circuit.is_probe(token)

    @property
    def is_spare(self) -> bool:
        """Whether it can be dropped: it is closed, and no call is in flight."""
        return self._circuit.state is _CLOSED and not len(self._calls)

    @property
    def asked(self) -> int:
        """Calls asked for since it was made."""
        return self._circuit.asked


# Circuits that no registry knows (any more), for what follows a fork.
loose_circuits: weakref.WeakSet[LockedCircuit] = weakref.WeakSet()


def _after_fork() -> None:
    for circuit in list(loose_circuits):
        circuit.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
