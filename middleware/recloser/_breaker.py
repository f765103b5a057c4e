"""Breaker: a clock and a lock around a circuit. Permit: one admitted call."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from math import inf
from random import random as default_random
from threading import Lock
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from recloser import _reasons
from recloser._circuit import Circuit
from recloser._errors import BreakerOpenError
from recloser._events import Mode, State
from recloser._guard import guarded
from recloser._hub import Hub
from recloser._metrics import Metrics, explain, measure
from recloser._outcome import Outcome
from recloser._policy import Policy

P = ParamSpec("P")
T = TypeVar("T")

# The permits of the `with breaker:` blocks around the code that runs now, innermost first. The
# breaker is shared, so the permit must be found by context, not on the breaker.
_entered: ContextVar[Permit | None] = ContextVar("recloser_entered", default=None)
_NO_TOKEN = 0
# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _OBSERVE, _DISABLED = Mode.ENFORCE, Mode.OBSERVE, Mode.DISABLED
_IGNORED = Outcome.IGNORED
_OPEN = State.OPEN


class Permit:
    """The right to one call, and the duty to say how it ended.

    Exactly one of `success`, `failure`, `throttled`, `ignore` and `cancel` ends it, on any
    thread; a second one does nothing. A permit that is dropped unended is cancelled. As a context
    manager, sync or async, it classifies what the block raised.

    Attributes:
        breaker: The breaker that gave it.
        started: When, in seconds of the breaker's clock.
    """

    __slots__ = ("_marked", "_outer", "_token", "breaker", "started")

    breaker: Breaker
    started: float
    _token: int
    _marked: float
    _outer: Permit | None

    # Made by Breaker.try_acquire() through __new__ and plain stores: an __init__ would cost each
    # call one more frame.

    def success(self) -> None:
        """The callee answered."""
        token, self._token = self._token, _NO_TOKEN
        if not token:
            return
        breaker = self.breaker
        now = breaker._clock()
        latency = (self._marked or now) - self.started
        if not 0.0 <= latency < inf:
            breaker._end(token, self, _IGNORED, None, None, "")
            return
        circuit = breaker._circuit
        try:
            breaker._lock.acquire()
            try:
                circuit.succeed(token, latency, now)
            finally:
                breaker._lock.release()
        except Exception as error:
            breaker._hub.fault("bookkeeping", error)
        if circuit.events:
            breaker._deliver()

    def failure(
        self, error: BaseException | str | None = None, *, retry_after: float | None = None
    ) -> None:
        """The callee failed.

        Args:
            error: What to name in the reason, should this open the breaker: `HTTP 502`.
            retry_after: Seconds for which it asked to be left alone, if it did. It stays open at
                least that long, should it open.
        """
        self._end(Outcome.FAILURE, error, retry_after, "retry_after")

    def throttled(self, retry_after: float | None = None, *, quota: bool = False) -> None:
        """The callee said "later": leave it alone until then, with no vote on its health.

        Args:
            retry_after: Seconds, capped by `Policy.max_retry_after`; None or <= 0 only counts.
            quota: Money or quota is used up, which will not heal soon: without `retry_after`
                leave it alone for `Policy.quota_open_for`.
        """
        self._end(Outcome.THROTTLED, None, retry_after, "quota" if quota else "retry_after")

    def ignore(self) -> None:
        """The call says nothing of the callee: the caller's own fault."""
        self._end(Outcome.IGNORED, None, None, "")

    def cancel(self) -> None:
        """The caller went away: no vote, unless the call had already been slow."""
        self._end(Outcome.CANCELLED, None, None, "")

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """End it with an outcome; the general form of the five above."""
        if outcome is Outcome.SUCCESS:
            self.success()
        else:
            self._end(outcome, error, retry_after, "retry_after")

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised, None if nothing, as the breaker classifies it."""
        if error is None:
            self.success()
        elif self._token:
            self._end(self.breaker._classify(error), error, None, "")

    def _end(
        self,
        outcome: Outcome,
        error: BaseException | str | None,
        retry_after: float | None,
        rule: str,
    ) -> None:
        token, self._token = self._token, _NO_TOKEN
        if token:
            self.breaker._end(token, self, outcome, error, retry_after, rule)

    def mark(self) -> None:
        """Take the latency here (the first byte); the verdict still comes at the end."""
        self._marked = self.breaker._clock()

    @property
    def ended(self) -> bool:
        """Whether the call has ended, or never had a vote (mode observe or disabled)."""
        return self._token == _NO_TOKEN

    @property
    def is_probe(self) -> bool:
        """Whether the call decides about a recovery."""
        return self.breaker._circuit.is_probe(self._token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_by_error(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_by_error(error)

    def __del__(self) -> None:
        # No lock here: the collector may run while this very thread holds it.
        if self._token:
            self.breaker._circuit.dropped.append(self._token)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "probe" if self.is_probe else "in flight"
        return f"<Permit {self.breaker.key!r} {state}>"


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
        "_circuit",
        "_clock",
        "_delivering",
        "_hub",
        "_lock",
        "_mode",
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
        _hub: Hub | None = None,
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
        self._hub = _hub if _hub is not None else Hub()
        self._circuit = Circuit(key, policy, random, self._hub.stalls)
        self.mode = mode
        self._delivering = False
        self._new_lock()

    def _new_lock(self) -> None:
        # acquire() and release() by name: half the price of `with lock` on every call's path.
        self._lock = Lock()

    def __copy__(self) -> Self:
        """A copy is the same breaker: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    # Admission

    def try_acquire(self) -> Permit | None:
        """Ask for admission of one call.

        Returns:
            The permit, or None if the call is refused: see `refusal()`.
        """
        now = self._clock()
        mode = self._mode
        token = _NO_TOKEN
        if mode is not _DISABLED:
            circuit = self._circuit
            try:
                self._lock.acquire()
                try:
                    token = circuit.admit(now)
                finally:
                    self._lock.release()
            except Exception as error:
                # A fault of ours never refuses a call.
                self._hub.fault("admission", error)
                mode = _OBSERVE
            if circuit.events:
                self._deliver()
            if not token and mode is _ENFORCE:
                return None
        permit = _new_permit(Permit)
        permit.breaker = self
        permit.started = now
        permit._marked = 0.0
        permit._token = token
        return permit

    def acquire(self) -> Permit:
        """Ask for admission of one call.

        Raises:
            BreakerOpenError: The call is refused; nothing was sent.
        """
        permit = self.try_acquire()
        if permit is None:
            raise self.refusal()
        return permit

    def refusal(self) -> BreakerOpenError:
        """The error of a call refused now."""
        circuit = self._circuit
        return BreakerOpenError(self.key, circuit.state, circuit.reason, self.retry_after)

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0.0 when one would be now."""
        now = self._clock()
        circuit = self._circuit
        if circuit.state is _OPEN:  # every refusal asks: one number needs no lock
            return max(circuit.look_at - now, 0.0)
        self._lock.acquire()
        try:
            return circuit.wait(now)
        finally:
            self._lock.release()

    # The end of a call

    def _end(
        self,
        token: int,
        permit: Permit,
        outcome: Outcome,
        error: BaseException | str | None,
        retry_after: float | None,
        rule: str,
    ) -> None:
        now = self._clock()
        waited = now - permit.started
        if not 0.0 <= waited < inf:
            self._hub.strange_latencies += 1
            now, waited = permit.started, 0.0
        wait = self._capped(retry_after, rule)
        what = _name(error) if outcome is Outcome.FAILURE else ""
        circuit = self._circuit
        try:
            self._lock.acquire()
            try:
                if outcome is Outcome.FAILURE:
                    circuit.fail(token, waited, now, what, wait)
                elif outcome is Outcome.THROTTLED:
                    circuit.throttle(token, now, wait, rule)
                else:
                    circuit.end_without_vote(token, outcome, waited, now)
            finally:
                self._lock.release()
        except Exception as fault:
            self._hub.fault("bookkeeping", fault)
        if circuit.events:
            self._deliver()

    def _capped(self, retry_after: float | None, rule: str) -> float:
        """The wait that an upstream may impose, in seconds; 0.0 for none."""
        policy = self.policy
        if retry_after is None:
            return policy.quota_open_for if rule == "quota" else 0.0
        if not retry_after > 0.0:  # NaN and negative: as if nothing was said
            return 0.0
        return min(retry_after, policy.max_retry_after)

    def _classify(self, error: BaseException) -> Outcome:
        if isinstance(error, self.policy.ignore_errors):
            return Outcome.IGNORED
        return Outcome.of_error(error)

    def record(self, latency: float, success: bool) -> None:
        """Count a call that was timed elsewhere.

        While closed it votes, while half-open it counts as a probe, while open it has no say.

        Args:
            latency: Seconds, >= 0; a negative, infinite or NaN one is ignored and counted.
            success: Whether the callee answered.
        """
        if self._mode is Mode.DISABLED:
            return
        if not 0.0 <= latency < inf:
            self._hub.strange_latencies += 1
            return
        now = self._clock()
        self._decide(lambda circuit: circuit.record(latency, success, now))

    # Whole calls

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function under guard; for a coroutine function the result is to be awaited.

        Raises:
            BreakerOpenError: The call is refused.
        """
        return guarded(self, function)(*args, **kwargs)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Guard a function, coroutine function, generator or async generator function."""
        return guarded(self, function)

    def __enter__(self) -> Permit:
        permit = self.acquire()
        permit._outer = _entered.get()
        _entered.set(permit)
        return permit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit = _entered.get()
        if permit is not None:
            _entered.set(permit._outer)
            permit._outer = None
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
            ValueError: `for_` is negative or NaN.
        """
        if for_ is not None and not for_ >= 0.0:
            raise ValueError(f"for_ must be seconds from 0, or None, not {for_!r}")
        now = self._clock()
        until = now + (inf if for_ is None else for_)
        self._decide(
            lambda circuit: circuit.open_by_hand(now, until, _reasons.by_hand("manual", reason))
        )

    def half_open(self) -> None:
        """Let `Policy.half_open_requests` probes through at once: you vouch for the callee."""
        now = self._clock()
        self._decide(lambda circuit: circuit.half_open_by_hand(now, _reasons.by_hand("manual", "")))

    def reset(self) -> None:
        """Close, and forget all that was learned."""
        now = self._clock()
        self._decide(lambda circuit: circuit.reset(now, _reasons.by_hand("reset", "")))

    def _decide(self, change: Callable[[Circuit], None]) -> None:
        self._lock.acquire()
        try:
            change(self._circuit)
        finally:
            self._lock.release()
        if self._circuit.events:
            self._deliver()

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
        self._mode = Mode(mode)

    def metrics(self) -> Metrics:
        """Counts and latencies, all of one moment."""
        now = self._clock()
        self._lock.acquire()
        try:
            return measure(self.key, self._mode, self._circuit, now)
        finally:
            self._lock.release()

    def explain(self) -> str:
        """Say in one plain sentence what it does now, and which numbers decided."""
        now = self._clock()
        self._lock.acquire()
        try:
            return explain(self._mode, self._circuit, self.policy, now)
        finally:
            self._lock.release()

    def z_score(self, latency: float) -> float:
        """How many standard deviations of log latency a latency (s) lies above the median."""
        self._lock.acquire()
        try:
            return self._circuit.baseline.z_score(latency)
        finally:
            self._lock.release()

    @property
    def slow_threshold(self) -> float:
        """Seconds above which a call is slow now; `Policy.slow_ceiling` until enough is known."""
        return self._circuit.baseline.threshold

    def is_slow(self, latency: float) -> bool:
        """Whether a latency (s) would be an anomaly for this key."""
        return self.z_score(latency) > 0.0 and latency > self._circuit.baseline.threshold

    def __repr__(self) -> str:
        return f"<Breaker {self.key!r} {self.explain()}>"

    # Events

    def _deliver(self) -> None:
        """Hand out events in order, one at a time, without the lock.

        Whoever is at it hands out what others add meanwhile, so that those need not wait.
        """
        circuit = self._circuit
        while True:
            self._lock.acquire()
            try:
                if self._delivering or not circuit.events:
                    return
                self._delivering = True
                events, circuit.events = circuit.events, []
            finally:
                self._lock.release()
            try:
                self._hub.deliver(events)
            finally:
                self._delivering = False


_new_permit = object.__new__


def _name(error: BaseException | str | None) -> str:
    """Name a failure in a reason: type and message, never the traceback and its frames."""
    if isinstance(error, BaseException):
        message = str(error)
        name = type(error).__name__
        return f"{name}: {message!r}"[:120] if message else name
    return repr(error)[1:-1][:120] if error else ""
