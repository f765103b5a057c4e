"""The last five minutes of one key, in steps of five seconds."""

from __future__ import annotations

from array import array
from math import inf, isnan, nan

from recloser import Metrics, State

STEP = 5.0
"""Seconds of one step."""
STEPS = 60
_STATES = list(State)
# Counts begin anew in each step; levels go on until they are measured again.
_COUNTS: tuple[str, ...] = ("good", "bad", "refused", "answered", "seconds")
_LEVELS: tuple[str, ...] = ("slow_threshold", "evidence", "in_flight", "limit", "state")


class History:
    """What happened to one key, by step.

    It is told the totals of the key now and then; what has been added to them since is what happened.

    Args:
        step: The number of the present step.
        is_new: Whether the key is new in this step.
    """

    __slots__ = ("_columns", "_seen", "_step")

    def __init__(self, step: int, is_new: bool = False) -> None:
        self._columns = {name: array("f", [0.0]) * STEPS for name in _COUNTS}
        self._columns |= {name: array("f", [nan]) * STEPS for name in _LEVELS}
        self._step = step
        # Of a new key all totals are of this moment. Of others nobody knows when it happened.
        self._seen = dict.fromkeys(_COUNTS, 0.0) if is_new else None

    def add(self, step: int, metrics: Metrics) -> None:
        """Take over the figures of a key, which were measured in a step."""
        self.move_to(step)
        totals: dict[str, float] = {
            "good": metrics.successes - metrics.slow,
            "bad": metrics.failures + metrics.slow + metrics.throttled,
            "refused": metrics.refused,
            "answered": metrics.count,
            "seconds": metrics.mean * metrics.count,
        }
        seen, self._seen = self._seen or totals, totals
        for name, total in totals.items():
            # A breaker that was evicted and made anew begins at 0 again.
            self._columns[name][-1] += max(0.0, total - seen[name])
        levels = {
            "slow_threshold": metrics.slow_threshold,
            "evidence": metrics.evidence,
            "in_flight": metrics.in_flight,
            "limit": nan if metrics.limit == inf else metrics.limit,
            "state": _STATES.index(metrics.state),
        }
        for name, level in levels.items():
            self._columns[name][-1] = level

    def move_to(self, step: int) -> None:
        """Go on to a step; nothing happened in those that are skipped."""
        new = min(step - self._step, STEPS)
        if new <= 0:
            return
        self._step = step
        for name, column in self._columns.items():
            last = column[-1] if name in _LEVELS else 0.0
            del column[:new]
            column.extend([last] * new)

    def signature(self) -> tuple[bytes, ...]:
        """What changes if `strip` or `latency` does."""
        return tuple(self._columns[name].tobytes() for name in _COUNTS)

    def strip(self) -> dict[str, list[int]]:
        """Good, bad and refused calls of each step, the oldest first."""
        return {
            name: [int(count) for count in self._columns[name]]
            for name in ("good", "bad", "refused")
        }

    def latency(self) -> float | None:
        """Mean latency in this step and the one before, in seconds; None if nothing was answered."""
        answered = sum(self._columns["answered"][-2:])
        return sum(self._columns["seconds"][-2:]) / answered if answered else None

    def steps(self) -> list[dict[str, object]]:
        """All that is known of each step, the oldest first; None is unknown, or no limit."""
        columns = self._columns
        steps: list[dict[str, object]] = []
        for at in range(STEPS):
            state, answered = columns["state"][at], columns["answered"][at]
            step: dict[str, object] = {
                name: int(columns[name][at]) for name in ("good", "bad", "refused")
            }
            step["latency"] = _short(columns["seconds"][at] / answered) if answered else None
            for name in ("slow_threshold", "evidence", "in_flight", "limit"):
                level = columns[name][at]
                step[name] = None if isnan(level) else _short(level)
            step["state"] = _STATES[int(state)].value if not isnan(state) else None
            steps.append(step)
        return steps


def _short(value: float) -> float:
    return float(f"{value:.4g}")
