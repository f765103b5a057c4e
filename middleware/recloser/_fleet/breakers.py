"""What a member of a fleet uses of a registry and its breakers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from recloser._circuit.following import FollowingCircuit
    from recloser._overrides import Override
    from recloser._state import Mode

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class AnyBreaker(Protocol):
    """A breaker."""

    @property
    def following(self) -> FollowingCircuit | None:
        """Its circuit."""

    @property
    def overrides(self) -> tuple[Override, ...]:
        """What was changed by hand and holds."""
        ...

    def in_turn(self, now: float, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Do something with the circuit under its lock, at `now` seconds."""
        ...

    def override(
        self,
        mode: Mode | str | None = None,
        *,
        enforce_share: float | None = None,
        for_: float | None = None,
        reason: str = "",
        by: str = "",
    ) -> None:
        """Let another mode hold for a while."""

    def end_override(self, reason: str = "", by: str = "") -> None:
        """Let the usual mode hold again."""


class Breakers(Protocol):
    """A registry."""

    def get(self, key: str, /) -> AnyBreaker | None:
        """The breaker of a key, None for none."""

    @property
    def clock(self) -> Callable[[], float]:
        """Returns monotonic seconds."""
        ...

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault."""

    def warn(self, about: str, sentence: str) -> None:
        """Log a warning."""
