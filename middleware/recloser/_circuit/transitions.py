"""The transitions of a circuit: every possible change of state, and its cause."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from recloser._state import State

# The rules of what a fleet has decided begin with it.
_FLEET = "fleet_"


class Cause(enum.Enum):
    """What makes a circuit change its state. The value is a label in the diagram of the docs."""

    EVIDENCE = "the evidence suffices"
    """So many calls were bad that it is not chance. Rules: `failures` and, from closed, `bad_calls`;
    from limited also `mute` and `failing`."""
    CALLS_SLOW = "so many calls are slow that it is not chance"
    """They may come back faster if there are fewer. Rule: `limited`."""
    EASED = "calls are fast, and nobody is refused"
    """Rules: `eased`, and `mixed` if some calls stay slow while others are as fast as ever."""
    ASKED_TO_WAIT = "the callee asks for a pause"
    """It sent a Retry-After, or a quota is used up. Rules: `retry_after`, `quota`."""
    TIME_TO_PROBE = "a call comes after the wait"
    """Rule: `look_again`."""
    PROBES_BAD = "too many probes are bad"
    """Rule: `probe_failed`."""
    PROBES_GOOD = "enough probes are good"
    """Rule: `recovered`."""
    PROBES_FAST = "enough probes are good after slow calls"
    """The load returns step by step. Rule: `recovered`."""
    NEW_NORMAL = "slow answers are the new normal"
    """Rule: `new_normal`."""
    COMES_BACK = "slow calls come back after all"
    """The callee answers, though slowly. Rule: `comes_back`."""
    CROWDED = "single probes are good, but most of several at a time fail"
    """There are too many calls. Rule: `crowded`."""
    OPENED = "open() by hand"
    """Rule: `manual`."""
    HALF_OPENED = "half_open() by hand"
    """Rule: `manual`."""
    CLOSED_BY_HAND = "close() by hand"
    """Rule: `manual`."""
    RESET = "reset() by hand"
    """Rule: `reset`."""
    FLEET_OPENS = "the fleet opens"
    """All workers do. Rule: `fleet_open`."""
    FLEET_LIMITS = "the fleet limits"
    """Rule: `fleet_limited`."""
    FLEET_PROBES = "the fleet sends probes"
    """Rule: `fleet_half_open`."""
    FLEET_CLOSES = "the fleet closes"
    """Rule: `fleet_closed`."""


RULES: Mapping[Cause, frozenset[str]] = {
    Cause.EVIDENCE: frozenset({"failures", "bad_calls", "mute", "failing"}),
    Cause.CALLS_SLOW: frozenset({"limited"}),
    Cause.EASED: frozenset({"eased", "mixed"}),
    Cause.ASKED_TO_WAIT: frozenset({"retry_after", "quota"}),
    Cause.TIME_TO_PROBE: frozenset({"look_again"}),
    Cause.PROBES_BAD: frozenset({"probe_failed"}),
    Cause.PROBES_GOOD: frozenset({"recovered"}),
    Cause.PROBES_FAST: frozenset({"recovered"}),
    Cause.NEW_NORMAL: frozenset({"new_normal"}),
    Cause.COMES_BACK: frozenset({"comes_back"}),
    Cause.CROWDED: frozenset({"crowded"}),
    Cause.OPENED: frozenset({"manual"}),
    Cause.HALF_OPENED: frozenset({"manual"}),
    Cause.CLOSED_BY_HAND: frozenset({"manual"}),
    Cause.RESET: frozenset({"reset"}),
    Cause.FLEET_OPENS: frozenset({"fleet_open"}),
    Cause.FLEET_LIMITS: frozenset({"fleet_limited"}),
    Cause.FLEET_PROBES: frozenset({"fleet_half_open"}),
    Cause.FLEET_CLOSES: frozenset({"fleet_closed"}),
}
"""The values of `Reason.rule` by cause. A rule says in more detail what the cause was."""


def rule_of_fleet(state: State) -> str:
    """The rule of a change to a state that a fleet has decided."""
    return f"{_FLEET}{state.value}"


def is_of_fleet(rule: str) -> bool:
    """Whether a rule is that of a change that a fleet has decided."""
    return rule.startswith(_FLEET)


TRANSITIONS: tuple[tuple[State, Cause, State], ...] = (
    (State.CLOSED, Cause.EVIDENCE, State.OPEN),
    (State.CLOSED, Cause.CALLS_SLOW, State.LIMITED),
    (State.CLOSED, Cause.ASKED_TO_WAIT, State.OPEN),
    (State.LIMITED, Cause.EVIDENCE, State.OPEN),
    (State.LIMITED, Cause.ASKED_TO_WAIT, State.OPEN),
    (State.LIMITED, Cause.EASED, State.CLOSED),
    (State.LIMITED, Cause.NEW_NORMAL, State.CLOSED),
    (State.OPEN, Cause.TIME_TO_PROBE, State.HALF_OPEN),
    (State.OPEN, Cause.COMES_BACK, State.LIMITED),
    (State.HALF_OPEN, Cause.COMES_BACK, State.LIMITED),
    (State.HALF_OPEN, Cause.CROWDED, State.LIMITED),
    (State.HALF_OPEN, Cause.PROBES_BAD, State.OPEN),
    (State.HALF_OPEN, Cause.ASKED_TO_WAIT, State.OPEN),
    (State.HALF_OPEN, Cause.PROBES_GOOD, State.CLOSED),
    (State.HALF_OPEN, Cause.PROBES_FAST, State.LIMITED),
    (State.HALF_OPEN, Cause.NEW_NORMAL, State.CLOSED),
    *((state, Cause.OPENED, State.OPEN) for state in State),
    *((state, Cause.HALF_OPENED, State.HALF_OPEN) for state in State),
    *((state, Cause.CLOSED_BY_HAND, State.CLOSED) for state in State),
    *((state, Cause.RESET, State.CLOSED) for state in State),
    *((state, Cause.FLEET_OPENS, State.OPEN) for state in State),
    *((state, Cause.FLEET_LIMITS, State.LIMITED) for state in State),
    *((state, Cause.FLEET_PROBES, State.HALF_OPEN) for state in State),
    *((state, Cause.FLEET_CLOSES, State.CLOSED) for state in State if state is not State.CLOSED),
)
"""Every transition: the state before, the cause, the state after. The circuit reads its changes
from this table, so no other change can happen. If both states are the same, only a new generation
begins.
"""

AFTER: Mapping[tuple[State, Cause], State] = {
    (before, cause): after for before, cause, after in TRANSITIONS
}
"""The state after, by the state before and the cause: the same table for look-up."""
