"""What listeners are told of: a change of state and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from recloser._state import State


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a breaker changed its state.

    Attributes:
        rule: The rule that decided: `failures`, `slow`, `bad_calls` (some of both), `probe_failed`,
            `recovered`, `new_normal`, `retry_after`, `quota`, `look_again`, `manual` or `reset`.
        sentence: The same in plain words, numbers included.
        numbers: What the rule compared, by name. Times are seconds, ratios lie in 0.0-1.0.
    """

    rule: str
    sentence: str
    # A plain dict, for what is pickled, copied or made JSON: a BreakerOpenError carries it.
    numbers: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[type[Reason], tuple[str, str, dict[str, float]]]:
        # A refusal may cross processes with its reason, and a mapping proxy cannot be pickled.
        return Reason, (self.rule, self.sentence, dict(self.numbers))


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state of one breaker.

    Attributes:
        key: The breaker's key.
        before: The state it left.
        after: The state it entered; never equal to `before`.
        reason: Why.
        generation: Number of the generation that began, counted per breaker. A call admitted in
            an earlier one no longer has a vote.
        at: When, in seconds of the registry's clock.
    """

    key: str
    before: State
    after: State
    reason: Reason
    generation: int
    at: float

    def __str__(self) -> str:
        return f"{self.key!r} {self.before.value} -> {self.after.value}: {self.reason}"


class Listener(Protocol):
    """Something that wants to know of changes; see `Registry.subscribe`."""

    def on_transition(self, transition: Transition) -> None:
        """Take note of a transition.

        Called on the thread of the call that caused it, after the breaker's lock was released,
        in order and one at a time per breaker. It may use the breaker. What it raises is counted
        and logged, and goes no further.
        """
