"""The transitions of a circuit: every change of state that there is, and what may cause it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from recloser._state import State


class Cause(enum.Enum):
    """What makes a circuit change its state. The value is the label in the diagram of the docs."""

    EVIDENCE = "the evidence suffices"
    """Too many calls were bad to be chance. Rules: `failures`, `slow`, `bad_calls`."""
    ASKED_TO_WAIT = "the callee asks for a pause"
    """By Retry-After, or because a quota is used up. Rules: `retry_after`, `quota`."""
    TIME_TO_PROBE = "a call comes after the wait"
    """Rule: `look_again`."""
    PROBES_BAD = "too many probes are bad"
    """Rule: `probe_failed`."""
    PROBES_GOOD = "enough probes are good"
    """Rule: `recovered`."""
    NEW_NORMAL = "slow answers are the new normal"
    """Rule: `new_normal`."""
    OPENED = "open() by hand"
    """Rule: `manual`."""
    HALF_OPENED = "half_open() by hand"
    """Rule: `manual`."""
    RESET = "reset() by hand"
    """Rule: `reset`."""


RULES: Mapping[Cause, frozenset[str]] = {
    Cause.EVIDENCE: frozenset({"failures", "slow", "bad_calls"}),
    Cause.ASKED_TO_WAIT: frozenset({"retry_after", "quota"}),
    Cause.TIME_TO_PROBE: frozenset({"look_again"}),
    Cause.PROBES_BAD: frozenset({"probe_failed"}),
    Cause.PROBES_GOOD: frozenset({"recovered"}),
    Cause.NEW_NORMAL: frozenset({"new_normal"}),
    Cause.OPENED: frozenset({"manual"}),
    Cause.HALF_OPENED: frozenset({"manual"}),
    Cause.RESET: frozenset({"reset"}),
}
"""The `Reason.rule` that a transition has by its cause: the cause in finer detail."""


TRANSITIONS: tuple[tuple[State, Cause, State], ...] = (
    (State.CLOSED, Cause.EVIDENCE, State.OPEN),
    (State.CLOSED, Cause.ASKED_TO_WAIT, State.OPEN),
    (State.OPEN, Cause.TIME_TO_PROBE, State.HALF_OPEN),
    (State.HALF_OPEN, Cause.PROBES_BAD, State.OPEN),
    (State.HALF_OPEN, Cause.ASKED_TO_WAIT, State.OPEN),
    (State.HALF_OPEN, Cause.PROBES_GOOD, State.CLOSED),
    (State.HALF_OPEN, Cause.NEW_NORMAL, State.CLOSED),
    *((state, Cause.OPENED, State.OPEN) for state in State),
    *((state, Cause.HALF_OPENED, State.HALF_OPEN) for state in State),
    *((state, Cause.RESET, State.CLOSED) for state in State),
)
"""Every transition: the state before, the cause, the state after. The circuit looks its changes up
here; what is not here cannot happen. Where both states are the same, only a new generation begins.
"""

AFTER: Mapping[tuple[State, Cause], State] = {
    (before, cause): after for before, cause, after in TRANSITIONS
}
"""The same table, to look up the state after a cause."""
