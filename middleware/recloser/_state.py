"""The states of a breaker, and its modes: whether its decisions take effect."""

from __future__ import annotations

import enum

from recloser.hints import meant


class State(enum.Enum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    """Every call is admitted."""
    LIMITED = "limited"
    """So many calls may be in flight, because the callee is slow; all other calls are refused."""
    OPEN = "open"
    """Every call is refused until it is time to send a probe."""
    HALF_OPEN = "half_open"
    """A few probes are admitted; all other calls are refused."""


class Mode(enum.Enum):
    """Whether the decisions of a breaker take effect."""

    ENFORCE = "enforce"
    """Refuse calls when open."""
    OBSERVE = "observe"
    """Decide and report, but refuse nothing. Recommended for the first days of a roll-out."""
    DISABLED = "disabled"
    """Admit everything, learn nothing."""

    @classmethod
    def _missing_(cls, value: object) -> Mode:
        known = ", ".join(each.value for each in cls)
        hint = meant(value, [each.value for each in cls])
        raise ValueError(f"mode must be one of {known}, not {value!r}{hint}")
