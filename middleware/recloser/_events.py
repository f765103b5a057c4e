"""What a change of state is: its reason, and the bad calls before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recloser._state import Mode, State


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a breaker changed its state.

    Attributes:
        rule: The rule that decided: `failures`, `bad_calls` (failed and slow ones), `limited`,
            `eased`, `mixed`, `mute`, `failing`, `probe_failed`, `crowded`, `recovered`,
            `new_normal`, `comes_back`, `retry_after`, `quota`, `look_again`, `manual` or `reset`;
            where a fleet decided, `fleet_open`, `fleet_limited`, `fleet_half_open` or
            `fleet_closed`. While limited, also `sick`, which changes no state. Empty where only the
            sentence is known.
        sentence: The same in plain words, with the numbers.
        numbers: The numbers that the rule compared, by name. Times are seconds, ratios lie in
            0.0-1.0.
        by: Who changed it by hand; "" if nobody did, or it is not known.
    """

    rule: str
    sentence: str
    # A plain dict, because a BreakerOpenError with it may be pickled, copied or made JSON.
    numbers: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    by: str = ""

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[type[Reason], tuple[str, str, dict[str, float], str]]:
        # A refusal may be sent to another process with its reason, and `numbers` may be a mapping
        # proxy, which cannot be pickled.
        return Reason, (self.rule, self.sentence, dict(self.numbers), self.by)


@dataclass(frozen=True, slots=True)
class BadCall:
    """One of the bad calls before a change of state.

    Attributes:
        outcome: `failure`, `slow`, `throttled` (asked to wait), or `overdue` (no answer yet).
        latency: Seconds that it took, or was in flight.
        error: What failed, in one short line without secrets; "" for nothing.
        at: When it was counted, in seconds of the registry's clock.
        trace: The id of its trace; "" if it is not known, see `Registry.trace`.
    """

    outcome: str
    latency: float
    error: str
    at: float
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state of one breaker.

    Attributes:
        key: The breaker's key.
        before: The state before the change.
        after: The state after the change; never equal to `before`.
        reason: Why the state changed.
        generation: Number of the generation that began, counted per breaker. A call that was
            admitted in an earlier generation has no vote any more, except for changes between
            closed and limited.
        at: When it changed, in seconds of the registry's clock.
        mode: The mode of the breaker then. If it is not `Mode.ENFORCE`, the breaker only says what
            it would do, and refuses nothing.
        bad_calls: The last bad calls before the change, the oldest first, at most eight.
    """

    key: str
    before: State
    after: State
    reason: Reason
    generation: int
    at: float
    mode: Mode = Mode.ENFORCE
    bad_calls: tuple[BadCall, ...] = ()

    @property
    def by(self) -> str:
        """Who changed it by hand; "" if nobody did, or it is not known."""
        return self.reason.by

    def __str__(self) -> str:
        change = f"{self.before.value} -> {self.after.value}"
        if self.mode is not Mode.ENFORCE:
            change = f"would change {change} ({self.mode.value}, nothing is refused)"
        return f"{self.key!r} {change}: {self.reason}"
