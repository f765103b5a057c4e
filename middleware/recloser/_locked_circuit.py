"""A circuit with a clock and a lock: it decides safely on any thread, and delivers its changes."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf
from random import random as default_random
from typing import Any, Self, TypeVar, TypeVarTuple

from recloser._circuit.by_hand import SteeredCircuit
from recloser._circuit.in_flight import WAITING, CountedCall, InFlight
from recloser._circuit.kinds import NOTHING, Kind, kind_of
from recloser._circuit.votes import Ending
from recloser._delivery import Delivering
from recloser._environment import allowed
from recloser._listeners import Listeners
from recloser._locks import give_back, new_lock, owns, within
from recloser._outcome import Outcome
from recloser._overrides import Override, checked_share
from recloser._policies import check_policy
from recloser._policy import Policy
from recloser._race import how_it_left, note_end
from recloser._redaction import Raised, seen
from recloser._state import Mode, State
from recloser.hints import check_function, knows_names

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

NO_TOKEN = 0
"""The token of a call that has ended, or that no breaker counts."""
SPARED = -1
"""The token of all calls that are made although the breaker would refuse them: it only observes, or
their callers are not of the share that it refuses. They have no vote; how they end is counted."""
LONGEST = 1e9
"""Latencies of this many seconds or more are ignored: no caller waits 31 years, and the square of
this number is still finite."""
# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _DISABLED = Mode.ENFORCE, Mode.DISABLED
_CLOSED = State.CLOSED
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
_CANCELLED = Outcome.CANCELLED


class WithinDecisionError(Exception):
    """A finalizer or signal handler needs a decision while its own thread is making one."""


class LockedCircuit(Delivering):
    """A circuit whose decisions are safe on any thread. The base of `Breaker`.

    Args:
        key: The name of what it guards.
        policy: When it opens; the default needs no tuning.
        clock: Returns monotonic seconds.
        random: Returns uniform numbers in 0.0-1.0, for jitter.
        mode: Whether it refuses, only reports, or does nothing.
        enforce_share: The share of callers that it refuses, 0.0-1.0; see `recloser._callers`.

    Raises:
        TypeError: `key` is not a str, `policy` not a Policy, or `clock` or `random` not callable.
        ValueError: `mode` is unknown, or `enforce_share` is not in 0.0-1.0.

    Attributes:
        clock: Returns monotonic seconds.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_deciding",
        "_opened",
        "_refuses_all",
        "_share",
        "clock",
    )

    _calls: InFlight
    # Who opened it by hand last, and the generation that this began.
    _opened: tuple[int, Override] | None

    @knows_names
    def __init__(
        self,
        key: str,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        random: Callable[[], float] = default_random,
        mode: Mode | str = Mode.ENFORCE,
        enforce_share: float = 1.0,
        _listeners: Listeners | None = None,
    ) -> None:
        policy = policy if policy is not None else Policy()
        check_policy(key, policy)
        check_function("clock", clock)
        check_function("random", random)
        self.clock: Callable[[], float] = clock
        self._listeners = _listeners if _listeners is not None else Listeners(clock)
        fleet = self._listeners.fleet
        kind = SteeredCircuit if fleet is None else fleet.circuit_class
        self._circuit = kind(key, policy, random, self._listeners.stalls)
        self._calls = self._circuit.calls
        self._lock = new_lock()
        # Whether a decision is being made under the lock.
        self._deciding = False
        self._delivering = None
        if _listeners is None:  # a registry has asked the policy, and the environment, already
            mode = allowed(mode if policy.mode is None else policy.mode)
            share = policy.enforce_share
            enforce_share = enforce_share if share is None else share
        self._mode = Mode(mode)
        self._share = checked_share(enforce_share)
        self._refuses_all = self._mode is _ENFORCE and self._share == 1.0
        self._usual = self._override = self._opened = None
        if _listeners is None:
            loose_circuits.add(self)

    def after_fork(self) -> None:
        """Reset lock and calls in a child process, where only the thread that forked exists."""
        self._lock = new_lock()
        self._deciding = False
        self._delivering = None
        self._circuit.forget_calls()
        if self._circuit.explained is not None:
            self._circuit.explained.kinds.clear()

    def __copy__(self) -> Self:
        """A copy is the same breaker: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    # Decisions

    def _decide(self, now: float, decide: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Make a decision of the circuit under the lock, then deliver its events.

        The time for which the lock is held does not depend on history. It can depend on the number
        of calls in flight: if some are late, all are copied and checked.

        Raises:
            WithinDecisionError: This thread is making a decision already, and a finalizer or signal
                handler interrupted it.
        """
        circuit, lock = self._circuit, self._lock
        held = owns(lock)
        if held and self._deciding:
            raise WithinDecisionError
        try:
            # No `try` in this block: CPython could be interrupted at its first bytecode, which no
            # handler covers, and the lock would stay locked.
            with lock:
                self._deciding = True
                circuit.catch_up(now)
                decided = decide(*arguments)
                self._deciding = False
                if self._mode is not _DISABLED:
                    circuit.settle(now)
                    if self._listeners.on_call_end:
                        self._calls.quick_latency = -inf  # so that each end is told
                    if self._listeners.chaos is not None:
                        self._calls.quick_until = -inf  # so that each call may get a fault
                    fleet = self._listeners.fleet
                    if fleet is not None:
                        fleet.decided(circuit)
        except BaseException:
            if not held:
                give_back(lock)
            within(self._lock, self._end_decision, now)
            raise
        if circuit.events:
            self._deliver()
        return decided

    def _end_decision(self, now: float) -> None:
        """End a decision that raised."""
        self._deciding = False
        if self._mode is not _DISABLED:
            self._circuit.settle(now)

    def _take_back(self, token: int) -> None:
        """Let a call not be admitted after all, because something raised meanwhile."""
        self._calls.voting.pop(token, None)
        limit = self._circuit.limit
        if limit is not None:
            limit.forget(token)

    # The end of a call

    def end(
        self,
        call: CountedCall,
        outcome: Outcome,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        *,
        quota: bool = False,
    ) -> None:
        """End a call by a decision; a second end does nothing.

        A permit uses it for every end that needs a decision, see `in_flight.py`.

        Args:
            call: The call.
            outcome: Its outcome.
            error: For a failure: what to name in the reason if this end opens the breaker.
            retry_after: Seconds of the pause that the callee asked for; None for none.
            quota: Whether the call was throttled because money or quota is used up.

        Raises:
            BaseException: Only an exception that a signal handler raises meanwhile.
        """
        token = call.token
        if token <= NO_TOKEN:
            self._end_spared(call, outcome)
            return
        try:
            call.token = NO_TOKEN
            now = self.clock()
            threshold = self._circuit.detector.baseline.threshold
            if now - call.started > threshold or outcome is _CANCELLED:
                self._calls.excuse(call, token, threshold)
            answered = call.answered
            latency = (now if answered == WAITING else min(now, answered)) - call.started
            if not 0.0 <= latency < LONGEST:
                self._listeners.strange_latencies += 1
                now, latency = call.started, 0.0
                if outcome is _SUCCESS:
                    outcome = Outcome.IGNORED
            what: Raised | str = ""
            wait, rule = 0.0, "retry_after"
            if outcome is _FAILURE:
                what, wait = seen(error), self._capped(retry_after, 0.0)
            elif outcome is _THROTTLED:
                rule = "quota" if quota else rule
                wait = self._capped(
                    retry_after, self._circuit.policy.quota_open_for if quota else 0.0
                )
            elif outcome is _CANCELLED:
                what, rule = seen(error), how_it_left(self, error, call.started, now)
            note_end(self.clock, call.started, now, outcome)
            ending = Ending(token, outcome, latency, now, what, wait, rule)
            if outcome is not _SUCCESS or latency > threshold:
                ending.trace = self._listeners.trace_id()
            self._decide(now, self._circuit.end, ending)
            if self._listeners.on_call_end:
                self._listeners.tell_end(self.key, outcome, latency, now)
        except BaseException as fault:
            self.lose(token, fault)

    def _end_spared(self, call: CountedCall, outcome: Outcome) -> None:
        """End a call without a vote; if it has ended already, nothing happens."""
        if call.token == NO_TOKEN:
            return
        call.token = NO_TOKEN
        if outcome is _SUCCESS:
            within(self._lock, self._count_spared_good)
        if self._listeners.on_call_end:
            try:
                now = self.clock()
            except Exception as error:
                self.fault("clock", error)
                return
            latency = max(0.0, min(now, call.answered) - call.started)
            self._listeners.tell_end(self.key, outcome, latency, now, is_spared=True)

    def _count_spared_good(self) -> None:
        self._circuit.counts.spared_good += 1

    def _capped(self, retry_after: float | None, otherwise: float) -> float:
        """The wait that the callee asked for, limited by the policy, in seconds; 0.0 for none."""
        if retry_after is None:
            return otherwise
        try:
            wait = float(retry_after)
        except (TypeError, ValueError, OverflowError) as error:
            self.fault("retry_after", error)
            return 0.0
        # NaN and negative numbers count as no wait.
        return min(wait, self._circuit.policy.max_retry_after) if wait > 0.0 else 0.0

    def lose(self, token: int, error: BaseException) -> None:
        """End a call without a vote, because an error occurred while it was ended.

        Raises:
            BaseException: The error, if a signal handler raised it.
        """
        self.drop(token)
        if not isinstance(error, Exception):
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        if not isinstance(error, WithinDecisionError):
            self.fault("bookkeeping", error)

    def drop(self, token: int) -> None:
        """Note that a call cannot be ended any more, because its permit was garbage-collected."""
        # No lock here: the garbage collector may run while this thread holds it.
        if token > 0:
            self._calls.dropped.append(token)

    def delay(self, call: CountedCall, seconds: float, now: float) -> None:
        """Let a call begin later: for so many seconds until now it waited for its own caller.

        Args:
            call: The permit; no `LoosePermit`, which is not in the table of calls itself.
            seconds: The length of the wait, >= 0.
            now: Seconds.
        """
        with suppress(WithinDecisionError):
            self._decide(now, self._circuit.delay, call, seconds)

    # What is known of a call

    def note(
        self, call: CountedCall, label: str | None, size: float | None, *, begins: bool = False
    ) -> None:
        """Note what is known of a call, so that it explains a part of its latency.

        A label or size that is none is a fault in the caller, which never refuses a call.

        Args:
            call: The call. If it has ended, nothing happens.
            label: A name for calls that take about as long; None or "" for none.
            size: How much work it is, in any unit, >= 0; None if unknown.
            begins: Whether it begins just now, and is sure to end by a decision.
        """
        token, circuit = call.token, self._circuit
        if token <= 0:
            return
        try:
            kind = kind_of(label, size)
            if begins and kind != NOTHING:
                explained = circuit.explained
                if explained is None:
                    explained = within(self._lock, circuit.explain_any)
                explained.kinds[token] = kind  # one operation on a dict is atomic
            elif not begins:
                now = self.clock()
                self._decide(now, circuit.explain, token, kind, now)
        except WithinDecisionError:
            pass  # a finalizer; nothing is known of the call then
        except Exception as error:
            self.fault("label or size", error)

    def noted(self, call: CountedCall) -> Kind:
        """What is known of a call: its label, and the octave of its size."""
        explained = self._circuit.explained
        return NOTHING if explained is None else explained.kinds.get(call.token, NOTHING)

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault that must not reach the call; log it at most once a minute per place."""
        self._listeners.fault(where, error)

    # The present state

    @property
    def key(self) -> str:
        """The name of what it guards."""
        return self._circuit._key

    @property
    def state(self) -> State:
        """The present state. After its wait, an open breaker becomes half-open at the next call."""
        return self._circuit.state

    def is_probe(self, token: int) -> bool:
        """Whether a call is a probe."""
        return self._circuit.is_probe(token)


# Circuits in no registry, or no longer in one. They must be reset after a fork, too.
loose_circuits: weakref.WeakSet[LockedCircuit] = weakref.WeakSet()


def _after_fork() -> None:
    for circuit in list(loose_circuits):
        circuit.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
