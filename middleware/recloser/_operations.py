"""The operator's side of a breaker: metrics and explanations, and changes by hand."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, cast

from recloser._circuit import sentences
from recloser._circuit.hopeless import CUT_OFF_IF_FEW, time_limit_of
from recloser._circuit.kinds import kind_of
from recloser._circuit.lost_calls import lost_calls
from recloser._errors import BreakerOpenError
from recloser._events import Transition
from recloser._locked_circuit import LONGEST, WithinDecisionError, loose_circuits
from recloser._locks import within
from recloser._overrides import Override, check_texts, end_of
from recloser._state import Mode, State
from recloser._streaming_circuit import StreamingCircuit

if TYPE_CHECKING:
    from collections.abc import Callable

    from recloser._events import Reason
    from recloser._metrics import Metrics

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE = Mode.ENFORCE
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


class OperableCircuit(StreamingCircuit):
    """A circuit that an operator can inspect, open and close. The base of `Breaker`."""

    __slots__ = ()

    def _drop_lost(self) -> None:
        """End the calls that nobody can end any more; see `recloser._circuit.lost_calls`."""
        self._calls.dropped.extend(lost_calls(self._circuit))

    # By hand

    def open(self, reason: str = "", for_: float | None = None, by: str = "") -> None:
        """Open now.

        Args:
            reason: Why; it is shown in the reason of the transition.
            for_: Seconds until the next probe, >= 0. With None, it stays open until `half_open()`,
                `close()` or `reset()`.
            by: Who says so.

        Raises:
            TypeError: `reason` or `by` is not a str, or `for_` is not a number.
            ValueError: `for_` is negative or NaN.
        """
        check_texts(reason, by)
        now = self.clock()
        until = end_of(now, for_)
        override = Override(since=now, until=until, state=_OPEN, reason=reason, by=by)
        why = sentences.by_hand("manual", reason, by)
        before = self._circuit.state
        self._decide_anyway(now, self._open_by_hand, now, why, override)
        self._tell_fleet(before, why, now)

    def _open_by_hand(self, now: float, why: Reason, override: Override) -> None:
        self._circuit.open_by_hand(now, override.until, why)
        self._opened = (self._circuit.generation, override)

    def half_open(self, reason: str = "", by: str = "") -> None:
        """Admit `Policy.half_open_requests` probes at once, since you expect the callee to work.

        Args:
            reason: Why.
            by: Who says so.

        Raises:
            TypeError: An argument is not a str.
        """
        self._do_by_hand(self._circuit.half_open_by_hand, "manual", reason, by)

    def close(self, reason: str = "", by: str = "") -> None:
        """Let all calls through again. What was learned is kept, so it opens again if they fail.

        To keep it closed, override its mode: `override("observe", for_=600)`.

        Args:
            reason: Why.
            by: Who says so.

        Raises:
            TypeError: An argument is not a str.
        """
        self._do_by_hand(self._circuit.close_by_hand, "manual", reason, by)

    def reset(self, reason: str = "", by: str = "") -> None:
        """Close, and forget everything that was learned.

        Args:
            reason: Why.
            by: Who says so.

        Raises:
            TypeError: An argument is not a str.
        """
        self._do_by_hand(self._circuit.reset, "reset", reason, by)

    def _do_by_hand(
        self, do: Callable[[float, Reason], None], rule: str, reason: str, by: str
    ) -> None:
        check_texts(reason, by)
        now, before = self.clock(), self._circuit.state
        why = sentences.by_hand(rule, reason, by)
        self._decide_anyway(now, do, now, why)
        self._tell_fleet(before, why, now)

    def _tell_fleet(self, before: State, why: Reason, now: float) -> None:
        """Tell the fleet of what listeners are not told: a reset while closed, a longer time open."""
        fleet, circuit = self._listeners.fleet, self._circuit
        if fleet is not None and circuit.state is before:
            fleet.changed(Transition(self.key, before, before, why, circuit.generation, now))

    def record(self, latency: float, success: bool) -> None:
        """Count a call that was timed elsewhere.

        The call has a vote if the breaker is closed, and is a probe if it is half-open. If the
        breaker is open, the call is only counted.

        Args:
            latency: Seconds, >= 0. A negative, infinite or NaN latency is ignored, and counted in
                `Registry.strange_latencies`.
            success: Whether the callee answered.
        """
        if self._mode is Mode.DISABLED:
            return
        try:
            latency = float(latency)
        except (TypeError, ValueError, OverflowError):
            latency = -1.0
        if not 0.0 <= latency < LONGEST:
            self._listeners.strange_latencies += 1
            return
        now = self.clock()
        # If a finalizer or signal handler calls this within a decision, the call is not counted.
        with suppress(WithinDecisionError):
            self._decide(now, self._circuit.record, latency, bool(success), now)

    # Inspection

    def metrics(self) -> Metrics:
        """Counts and latencies, all of the same moment."""
        self._drop_lost()
        now = self.clock()
        self.end_if_over(now)
        return self._decide_anyway(now, self._measure, now)

    def _measure(self, now: float) -> Metrics:
        # Imported here: creating that class takes a twentieth of the import time of recloser.
        from recloser._metrics import measure

        wait = self._wait(now) if self._mode is _ENFORCE else 0.0
        return measure(self.key, self._mode, self._share, self._circuit, wait, now)

    def explain(self) -> str:
        """Describe in one plain sentence what it does now, and which numbers decided that."""
        from recloser._metrics import explain

        self._drop_lost()
        now = self.clock()
        self.end_if_over(now)
        chaos = "".join(each.told(self.key, now) for each in self._listeners.chaos_now)
        return chaos + self._decide_anyway(
            now, explain, self._mode, self._circuit, self.policy, now
        )

    def z_score(self, latency: float) -> float:
        """Distance of a latency (s) from the median, in standard deviations of log latency.

        It is 0.0 until enough is known, and minus infinity for a latency of 0.
        """
        baseline = self._circuit.detector.baseline
        return self._decide_anyway(self.clock(), baseline.z_score, latency)

    @property
    def slow_threshold(self) -> float:
        """Seconds above which a call is slow; `Policy.slow_ceiling` until enough is known."""
        return self._decide_anyway(self.clock(), self._threshold)

    def _threshold(self) -> float:
        return self._circuit.detector.baseline.threshold

    def is_slow(self, latency: float) -> bool:
        """Whether a latency (s) is slow for this key; False until enough is known."""
        return self.z_score(latency) > 0.0 and latency > self.slow_threshold

    @property
    def timeout(self) -> float:
        """Seconds after which an answer is hopeless: hardly any call of this key takes longer.

        It is learned: two slow thresholds, or 1.5 times what one in a thousand remembered calls
        exceeds if that is longer. It is never above `Policy.slow_ceiling`. Before
        `Policy.min_history` answers are known, it is far above the longest of them, and never below
        45 s; before the first it is the ceiling. To cut a call off, use `Permit.timeout`.
        """
        circuit = self._circuit
        if circuit.detector.baseline.known:
            return circuit.detector.baseline.hopeless
        return min(max(circuit.hopeless, CUT_OFF_IF_FEW), self.policy.slow_ceiling)

    @property
    def last_undecided(self) -> float:
        """Latency (s) of the last good call that ended just now, without a decision; infinite if none."""
        return (inf, *self._calls.recent[-1:])[-1]

    def others(self) -> list[OperableCircuit]:
        """The breakers of its registry, and those of none."""
        registry = self._listeners.registry()
        try:
            return [*(() if registry is None else registry), *cast("Any", loose_circuits)]
        except RuntimeError:  # another thread makes a breaker
            return []

    def notice(self) -> None:
        """Count the calls in flight that are overdue, without waiting for the next call."""
        with suppress(WithinDecisionError):
            now = self.clock()
            self._decide(now, self._circuit.notice, now)

    def timeout_for(self, label: str | None, size: float | None) -> float:
        """`timeout` for calls of a kind; infinite while it is not known how long such calls take."""
        if not self.knows_latency:
            return inf
        explained, ratio = self._circuit.explained, 1.0
        if explained is not None and (label is not None or size is not None):
            try:
                ratio = explained.ratio(kind_of(label, size))
            except (TypeError, ValueError):  # a fault of the caller, told when the call begins
                return inf
        return self.timeout * ratio

    @property
    def knows_latency(self) -> bool:
        """Whether so many answers are known that latency is judged (`Policy.min_history`)."""
        return self._circuit.detector.baseline.known

    def timeout_of(self, token: int) -> float:
        """Seconds that the call with a token may take; see `Permit.timeout`."""
        if token <= 0 or not self.may_cut_off:
            return inf
        circuit, outage = self._circuit, 0.0
        if circuit.explained is not None and circuit.explained.is_long_poll(token):
            return inf
        recovery, limit = circuit.recovery, circuit.limit
        # A limit lets many calls through. Where most are fast, those that hang would take all threads.
        fast = limit is not None and 0.0 < limit.level <= circuit.detector.baseline.threshold
        if recovery is not None and not fast:
            try:
                outage = self.clock() - recovery.began
            except Exception as error:
                self.fault("clock", error)
        return time_limit_of(
            self.timeout * self.ratio_of(token), token, self.policy.slow_ceiling, outage
        )

    def ratio_of(self, token: int) -> float:
        """By how much the call with a token may take longer than others; infinite if unknown.

        It is 1.0 where nothing is known of the call and of all others, and while so little is known
        of the key that `timeout` holds for calls of all kinds.
        """
        explained = self._circuit.explained
        if explained is None or not self._circuit.detector.baseline.known:
            return 1.0
        return explained.ratio_in_flight(token)

    # What a refused caller is told

    def refusal(self) -> BreakerOpenError:
        """The error for a call that is refused now."""
        state, reason, wait = within(self._lock, self._refusing, self.clock())
        if state is _CLOSED:  # another call has closed it since the refusal
            state = _HALF_OPEN
        return BreakerOpenError(self.key, state, reason, self._finite(wait))

    def _refusing(self, now: float) -> tuple[State, Reason | None, float]:
        circuit = self._circuit
        return circuit.state, circuit.reason, circuit.wait(now)

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0.0 if one would be admitted now.

        It is `Policy.max_open_for` if the breaker was opened by hand without a time.
        """
        return self._wait(self.clock()) if self._mode is _ENFORCE else 0.0

    @property
    def asked_pause(self) -> float:
        """Seconds of the pause that is left, if the callee asked for one and served no call since.

        It refuses nobody: only evidence opens a breaker. It is for callers with another callee.
        """
        pauses = self._circuit.detector.pauses
        if pauses is None or not pauses.until or self._mode is not _ENFORCE:
            return 0.0
        return max(0.0, pauses.until - self.clock())

    def _wait(self, now: float) -> float:
        circuit = self._circuit
        if circuit.state is _OPEN:  # a single number can be read without the lock
            return self._finite(max(0.0, circuit.probe_at - now))
        return within(self._lock, circuit.wait, now)

    def _finite(self, wait: float) -> float:
        return wait if wait < inf else self.policy.max_open_for

    # What a registry asks that is short of places

    def is_spare(self, now: float) -> bool:
        """Whether it can be dropped at `now` seconds: nobody would miss it.

        No call is in flight, its mode is the usual one, and it is closed, or was left alone for `Policy.max_open_for`.
        """
        circuit = self._circuit
        self.end_if_over(now)
        if self._override is not None:
            return False
        if len(self._calls):
            self._drop_lost()
            if len(self._calls):
                return False
        if circuit.state is _CLOSED:
            return True
        if circuit.state is _OPEN:
            left_alone_at = circuit.probe_at  # who asks later gets a probe, and it is half-open
        else:
            # Each admission sets the first one to a time not long after it. A refresh, which sets
            # the second one likewise, takes the first one back.
            began = -inf if circuit.recovery is None else circuit.recovery.began
            times = (circuit._check_at, circuit._refresh_due, began)
            left_alone_at = max(time for time in times if time < inf)
        return now - left_alone_at > self.policy.max_open_for

    @property
    def asked(self) -> int:
        """All calls since it was made, including refused ones and those in flight."""
        return self._circuit.asked

    def __repr__(self) -> str:
        return f"<Breaker {self.key!r} {self.explain()}>"
