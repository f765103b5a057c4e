"""The states of a breaker, and how much of its decisions is carried out."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    """Every call is admitted."""
    OPEN = "open"
    """Every call is refused until it is time to look again."""
    HALF_OPEN = "half_open"
    """A few probes are admitted; the rest is refused."""


class Mode(enum.Enum):
    """How much a breaker may do with its verdict."""

    ENFORCE = "enforce"
    """Refuse when open."""
    OBSERVE = "observe"
    """Decide and report, but refuse nothing: day one of every roll-out."""
    DISABLED = "disabled"
    """Admit everything, learn nothing."""

    @classmethod
    def _missing_(cls, value: object) -> Mode:
        known = ", ".join(each.value for each in cls)
        raise ValueError(f"mode must be one of {known}, not {value!r}")
