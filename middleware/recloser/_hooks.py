"""What a listener may be, and what it is told besides changes of state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from recloser._events import Reason, Transition
from recloser._outcome import Outcome
from recloser._overrides import Override
from recloser._state import Mode, State


@dataclass(frozen=True, slots=True)
class Refusal:
    """One call that was refused, or would have been.

    Attributes:
        key: The breaker's key.
        state: Its state.
        mode: Its mode.
        is_enforced: Whether the call was refused. If not, it was made all the same: the breaker only
            observes, or the caller is not of the share that is refused.
        reason: Why the breaker is in that state; None if that is not known.
        retry_after: Seconds until a call may be admitted.
        at: When it was, in seconds of the registry's clock.
    """

    key: str
    state: State
    mode: Mode
    is_enforced: bool
    reason: Reason | None
    retry_after: float
    at: float


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The end of one call that was counted.

    Attributes:
        key: The breaker's key.
        outcome: How it ended.
        latency: Seconds until the answer began, or until the end of a call without one.
        at: When it ended, in seconds of the registry's clock.
        is_spared: Whether it would have been refused, see `Refusal.is_enforced`.
    """

    key: str
    outcome: Outcome
    latency: float
    at: float
    is_spared: bool = False


class Listener(Protocol):
    """An object that receives changes of state; see `Registry.subscribe`.

    It may also be a `RefusalListener`, a `CallListener` or an `OverrideListener`. All of them are
    called without the breaker's lock, and may use the breaker. If one raises an `Exception`, that is
    counted and logged, and no call fails for it.
    """

    def on_transition(self, transition: Transition) -> None:
        """Handle a transition.

        Transitions come in order and one at a time per breaker. The thread is usually that of the
        call that caused the change. If another thread is delivering events of the breaker at that
        moment, that thread delivers this one, too. What a fleet decides is delivered by its thread.
        """


class RefusalListener(Protocol):
    """An object that is told of refused calls; see `Listener`."""

    def on_refuse(self, refusal: Refusal) -> None:
        """Handle a refusal, in the thread of the call."""


class CallListener(Protocol):
    """An object that is told of the ends of calls; see `Listener`.

    It is not told of what `Breaker.record` counts, nor of a permit that was lost.

    While there is one, each call ends by a decision, which takes some 2 µs more. What only needs
    figures reads `Breaker.metrics()` now and then, which costs calls nothing.
    """

    def on_call_end(self, end: CallEnd) -> None:
        """Handle the end of a call, in its thread."""


class FleetHook(Protocol):
    """What a breaker tells the fleet that its registry is in, and gets from it.

    Its methods are called under locks and in hot paths: they leave what they are told for a thread.
    """

    @property
    def circuit_class(self) -> Any:
        """The class of the circuits: one that may follow a fleet."""

    def decided(self, circuit: Any) -> None:
        """Note that a circuit has made a decision; it may have a suspicion now."""

    def changed(self, transition: Transition) -> None:
        """Note a change of state."""

    def overridden(self, key: str, override: Override, ended: bool) -> None:
        """Note an override by hand that has begun or ended."""

    def made(self, key: str) -> None:
        """Note a new breaker."""


class OverrideListener(Protocol):
    """An object that is told of overrides of a mode or share; see `Listener`.

    What opens or closes by hand is a transition, and has `by`.
    """

    def on_override(self, key: str, override: Override, ended: bool) -> None:
        """Handle an override of the mode of a breaker, which has begun or ended."""


AnyListener: TypeAlias = Listener | RefusalListener | CallListener | OverrideListener
"""What `Registry.subscribe` takes."""
