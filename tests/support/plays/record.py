"""What is noted of a play: every change of state, and the figures of the breaker at some moments.

Figures are rounded, so that another order of the terms of a sum changes none of them: Python 3.12 adds
up floats more exactly than 3.11 does.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from recloser import Breaker, Permit, Pieces, Reason, State, Transition

# The time-out of one permit in so many is asked for.
_ASKED_FOR = 4
# A time-out that is infinite counts as so many seconds.
_LONGEST = 1e6


def shown(value: float) -> str:
    """A number with six digits; noise far behind the point is none."""
    value = round(value, 7)
    return f"{value + 0.0:.6g}"  # no -0


class Record:
    """Notes what happens in a play; a listener.

    Args:
        name: Of the play.
        breaker: What is looked at.
        began: When the play begins, in seconds.

    Attributes:
        lines: What was noted.
        labels: Labels and sizes of which the time-outs are noted.
        pieces: Those of the latest stream; None before the first one.
    """

    def __init__(self, name: str, breaker: Breaker, began: float) -> None:
        self.lines: list[str] = [name]
        self.labels: list[tuple[str | None, float | None]] = []
        self.pieces: Pieces | None = None
        self._breaker = breaker
        self._began = began
        self._admitted = self._probes = 0
        # Sums: seconds that refused callers were told to wait, and time-outs of permits.
        self._told = self._timeouts = 0.0
        self._refused_at = 0.0
        self._reason: Reason | None = None
        # The figures when it was looked at last: only those that have changed are noted.
        self._before: dict[str, str] = {}

    def _since(self, now: float) -> str:
        return f"{shown(now - self._began):>9}"

    def on_transition(self, transition: Transition) -> None:
        reason = self._reason = transition.reason
        numbers = " ".join(f"{name}={shown(value)}" for name, value in reason.numbers.items())
        before, after = transition.before.value, transition.after.value
        self.lines.append(
            f"{self._since(transition.at)} {before} -> {after} ({reason.rule}) {numbers}".rstrip()
        )

    def say(self, text: str) -> None:
        """Note what begins now."""
        self.lines.append(f"{self._since(self._breaker.clock())} {text}")

    def admitted(self, permit: Permit) -> None:
        """A call was admitted."""
        self._admitted += 1
        if self._breaker.state is not State.CLOSED:
            self._probes += permit.is_probe
        if not self._admitted % _ASKED_FOR:
            self._timeouts += min(permit.timeout, _LONGEST)

    def refused(self) -> None:
        """A call was refused."""
        self._told += self._breaker.retry_after
        self._refused_at += self._breaker.clock() - self._began

    def look(self) -> None:
        """Note the figures of the breaker."""
        breaker = self._breaker
        metrics = breaker.metrics()
        counts = " ".join(
            f"{getattr(metrics, name)} {name}"
            for name in (
                "successes",
                "failures",
                "slow",
                "throttled",
                "ignored",
                "cancelled",
                "refused",
                "in_flight",
            )
            if getattr(metrics, name)
        )
        figures = {
            "slow above": metrics.slow_threshold,
            "p50": metrics.p50,
            "p90": metrics.p90,
            "p99": metrics.p99,
            "mean": metrics.mean,
            "bad": metrics.normal_bad_rate,
            "evidence": metrics.evidence,
            "next in": metrics.retry_after,
            "hopeless": breaker.timeout,
            "asked to wait": breaker.asked_pause,
            "probes": self._probes,
            "told": self._told,
            "refused at": self._refused_at,
            "time-outs": self._timeouts,
        }
        if self.pieces is not None:
            figures["piece"] = breaker.piece_timeout
        after = {name: shown(value) for name, value in figures.items()}
        changed = {
            name: text for name, text in after.items() if text != self._before.get(name, "0")
        }
        self._before = after
        text = ", ".join(f"{name} {value}" for name, value in changed.items())
        self.lines.append(f"{self._since(breaker.clock())} {metrics.state.value}: {counts}; {text}")
        if self.labels:
            self._note(", ".join(self._timeouts_by_kind()))
        if metrics.state is not State.CLOSED or metrics.evidence:
            self._note(self._explanation())

    def _note(self, text: str) -> None:
        self.lines.append(f"{'':9} {text}")

    def _timeouts_by_kind(self) -> Iterator[str]:
        for label, size in self.labels:
            timeout = self._breaker.timeout_for(label, size)
            if timeout < inf:
                yield f"{label or ''} {'' if size is None else shown(size)}: {shown(timeout)}"

    def _explanation(self) -> str:
        """What the breaker says, without what stands in the lines above already."""
        text = self._breaker.explain().split(": bad is failed")[0]
        return text if self._reason is None else text.replace(str(self._reason), self._reason.rule)

    def text(self) -> str:
        """All that was noted."""
        self._note(self._breaker.explain())
        return "\n".join([*self.lines, ""])
