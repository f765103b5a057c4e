"""What operators see of a breaker, and what they do to it by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from recloser._circuit import sentences
from recloser._locked_circuit import LONGEST, LockedCircuit, WithinDecisionError
from recloser._state import Mode

if TYPE_CHECKING:
    from recloser._metrics import Metrics

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class OperableCircuit(LockedCircuit):
    """A circuit that can be looked at, opened and closed. The base of `Breaker`."""

    __slots__ = ()

    # By hand

    def open(self, reason: str = "", for_: float | None = None) -> None:
        """Open now.

        Args:
            reason: Why, for the record.
            for_: Seconds until it probes again, >= 0; None until `half_open()` or `reset()`.

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
        now = self.clock()
        until, why = now + wait, sentences.by_hand("manual", reason)
        self._decide_anyway(now, self._circuit.open_by_hand, now, until, why)

    def half_open(self) -> None:
        """Let `Policy.half_open_requests` probes through at once: you say that the callee is well."""
        now = self.clock()
        why = sentences.by_hand("manual", "")
        self._decide_anyway(now, self._circuit.half_open_by_hand, now, why)

    def reset(self) -> None:
        """Close, and forget all that was learned."""
        now = self.clock()
        self._decide_anyway(now, self._circuit.reset, now, sentences.by_hand("reset", ""))

    def record(self, latency: float, success: bool) -> None:
        """Count a call that was timed elsewhere.

        While closed it votes, while half-open it counts as a probe, while open it has no say.

        Args:
            latency: Seconds, >= 0; a negative, infinite or NaN one is ignored and counted.
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
        # A finalizer or signal handler that interrupts a decision is not heard.
        with suppress(WithinDecisionError):
            self._decide(now, self._circuit.record, latency, bool(success), now)

    # What it shows

    def metrics(self) -> Metrics:
        """Counts and latencies, all of one moment."""
        now = self.clock()
        return self._decide_anyway(now, self._measure, now)

    def _measure(self, now: float) -> Metrics:
        # Here, because to make that class is a twentieth of what importing recloser costs.
        from recloser._metrics import measure

        wait = self._wait(now) if self._mode is Mode.ENFORCE else 0.0
        return measure(self.key, self._mode, self._circuit, wait)

    def explain(self) -> str:
        """Say in one plain sentence what it does now, and which numbers decided."""
        from recloser._metrics import explain

        now = self.clock()
        return self._decide_anyway(now, explain, self._mode, self._circuit, self.policy, now)

    def z_score(self, latency: float) -> float:
        """How many standard deviations of log latency a latency (s) lies above the median."""
        baseline = self._circuit.detector.baseline
        return self._decide_anyway(self.clock(), baseline.z_score, latency)

    @property
    def slow_threshold(self) -> float:
        """Seconds above which a call is slow now; `Policy.slow_ceiling` until enough is known."""
        return self._decide_anyway(self.clock(), self._threshold)

    def _threshold(self) -> float:
        return self._circuit.detector.baseline.threshold

    def is_slow(self, latency: float) -> bool:
        """Whether a latency (s) would be an anomaly for this key."""
        return self.z_score(latency) > 0.0 and latency > self.slow_threshold

    def _decide_anyway(self, now: float, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Decide, even within a decision: for operators, also where a signal handler is one."""
        try:
            return self._decide(now, action, *arguments)
        except WithinDecisionError:
            return action(*arguments)

    def __repr__(self) -> str:
        return f"<Breaker {self.key!r} {self.explain()}>"
