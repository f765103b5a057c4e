"""The policy and the mode of a breaker, and what overrides the mode for a while."""

from __future__ import annotations

from dataclasses import replace
from operator import getitem
from random import random as default_random
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from recloser._identity import reduced
from recloser._locked_circuit import LockedCircuit, WithinDecisionError
from recloser._locks import within
from recloser._overrides import Override, check_texts, checked_share, end_of
from recloser._policies import check_policy
from recloser._policy import Policy
from recloser._special_keys import mode_of
from recloser._state import Mode, State

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_OPEN, _ENFORCE = State.OPEN, Mode.ENFORCE


class SteerableCircuit(LockedCircuit):
    """A circuit whose policy and mode can be changed. The base of `Breaker`."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        registry, circuit = self._listeners.registry(), self._circuit
        if registry is not None:
            return getitem, (registry, self.key)
        mode, share = self._usual or (self._mode, self._share)
        settings: dict[str, Any] = {
            "key": self.key,
            "policy": self._circuit.policy,
            "clock": self.clock,
            "random": circuit.random,
            "mode": mode,
            "enforce_share": share,
        }
        if circuit.random is default_random:
            del settings["random"]  # see `Registry`
        return reduced(self, settings)

    @property
    def policy(self) -> Policy:
        """When it opens. It can be replaced at any time; what was learned is kept.

        The new one holds for what is decided from then on. If it has a mode or a share, and another
        one than the old policy, they hold too.
        """
        return self._circuit.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        check_policy(self.key, policy)
        old = self.policy
        self.adopt(policy)
        # What was set by hand stays, unless the policies differ in it.
        if policy.mode not in (None, old.mode):
            self.mode = policy.mode
        if policy.enforce_share not in (None, old.enforce_share):
            self.enforce_share = policy.enforce_share

    def adopt(self, policy: Policy) -> None:
        """Replace the policy, but neither mode nor share."""
        now = self.clock()
        self._decide_anyway(now, self._circuit.adopt, policy, now)

    @property
    def mode(self) -> Mode:
        """Whether it refuses, only reports, or does nothing.

        `RECLOSER_MODE` in the environment is the strictest mode that it can have. While an override
        lasts, this is the mode that it says; to set the mode then changes what comes after it.
        """
        if self._override is not None:
            self.end_if_over(self.clock())
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        within(self._lock, self._set_usual, mode_of(self.key, mode), None)

    @property
    def enforce_share(self) -> float:
        """The share of callers that it refuses, 0.0-1.0, always the same ones.

        The calls of all others are made, as if it only observed. See `recloser.calling_for`.
        """
        if self._override is not None:
            self.end_if_over(self.clock())
        return self._share

    @enforce_share.setter
    def enforce_share(self, share: float) -> None:
        within(self._lock, self._set_usual, None, checked_share(share))

    @property
    def may_cut_off(self) -> bool:
        """Whether a call may be cut off by what was learned: only where all callers are refused.

        Whose call it is, is not known any more while it is made.
        """
        return self._mode is _ENFORCE and self._share == 1.0

    # Under the lock: otherwise a decision on another thread could end in the old mode.

    def _set_usual(self, mode: Mode | None, share: float | None) -> None:
        usual_mode, usual_share = self._usual or (self._mode, self._share)
        mode = usual_mode if mode is None else mode
        share = usual_share if share is None else share
        if (override := self._override) is not None:
            self._usual = mode, share
            mode = mode if override.mode is None else override.mode
            share = share if override.enforce_share is None else override.enforce_share
        self._mode, self._share = mode, share
        # While it is overridden, each admission asks whether that is over.
        self._refuses_all = mode is _ENFORCE and share == 1.0 and override is None
        self._calls.stop_quick()

    def _set_override(self, override: Override | None) -> Override | None:
        """Replace the override; return the one before."""
        before, usual = self._override, self._usual or (self._mode, self._share)
        self._override, self._usual = override, None
        self._set_usual(*usual)
        return before

    def stop_quick(self) -> None:
        """Let the next call begin, and all calls end, by a decision."""
        self._calls.stop_quick()

    # For a while

    def override(
        self,
        mode: Mode | str | None = None,
        *,
        enforce_share: float | None = None,
        for_: float | None = None,
        reason: str = "",
        by: str = "",
    ) -> None:
        """Let another mode or share hold for a while. It replaces an override before it.

        Args:
            mode: The mode; None for the usual one.
            enforce_share: The share of callers that it refuses, 0.0-1.0; None for the usual one.
            for_: Seconds until it ends by itself, >= 0; with None it lasts until `end_override()`.
            reason: Why.
            by: Who says so.

        Raises:
            TypeError: An argument is of the wrong type, or neither a mode nor a share is given.
            ValueError: The mode is unknown, the share is not in 0.0-1.0, or `for_` is negative.
        """
        check_texts(reason, by)
        if mode is None and enforce_share is None:
            raise TypeError("override() needs a mode or an enforce_share, such as mode='observe'")
        now = self.clock()
        override = Override(
            since=now,
            until=end_of(now, for_),
            mode=None if mode is None else mode_of(self.key, mode),
            enforce_share=None if enforce_share is None else checked_share(enforce_share),
            reason=reason,
            by=by,
        )
        before = within(self._lock, self._set_override, override)
        if before is not None:
            self._tell_end(before, "replaced by another one", by)
        self._listeners.deliver_override(self.key, override, ended=False)

    def end_override(self, reason: str = "", by: str = "") -> None:
        """Let the usual mode and share hold again. Without an override, nothing happens.

        Args:
            reason: Why.
            by: Who says so.

        Raises:
            TypeError: An argument is not a str.
        """
        check_texts(reason, by)
        self._lift(self._override, reason, by)

    def end_if_over(self, now: float) -> None:
        """End an override whose time is over at `now` seconds."""
        override = self._override
        if override is not None and now >= override.until:
            self._lift(override, "its time is over", "")

    def _lift(self, override: Override | None, reason: str, by: str) -> None:
        if override is not None and within(self._lock, self._take, override):
            self._tell_end(override, reason, by)

    def _take(self, override: Override) -> bool:
        if self._override is not override:
            return False  # another thread has ended it
        self._set_override(None)
        return True

    def _tell_end(self, override: Override, reason: str, by: str) -> None:
        ended = replace(override, reason=reason, by=by)
        self._listeners.deliver_override(self.key, ended, ended=True)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """What was changed by hand and holds: that it is open, and its mode."""
        if self._override is not None:
            self.end_if_over(self.clock())
        found = [] if self._override is None else [self._override]
        opened = self._opened
        if opened is not None and self.state is _OPEN:
            generation, override = opened
            if self._circuit.generation == generation and self.clock() < override.until:
                found.insert(0, override)
        return tuple(found)

    # What a fleet does

    @property
    def following(self) -> Any:
        """Its circuit, if it can follow a fleet; None for one that cannot."""
        return None if self._listeners.fleet is None else self._circuit

    def in_turn(self, now: float, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Let the fleet do something with the circuit at `now` seconds, as a decision of its own."""
        return self._decide_anyway(now, action, *arguments)

    def _decide_anyway(self, now: float, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Decide, even within a decision: an operator's call from a signal handler must work."""
        try:
            return self._decide(now, action, *arguments)
        except WithinDecisionError:
            return action(*arguments)
