"""What a failover is made of, and what it tells afterwards: who served a call, and who did not."""

from __future__ import annotations

import enum
import math
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

from recloser._errors import BreakerOpenError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Provider(Generic[T]):
    """One of several that can serve the same call.

    Args:
        key: Its breaker's key in the registry.
        target: What a call needs to reach it: a base URL, a client, a function. Failover only
            hands it on.
        weight: Its share of the first attempts where the order is `weighted`, finite, >= 0. With
            0 it stands by: it is tried after all that have a weight.

    Raises:
        ValueError: `key` is empty, or `weight` negative, infinite or NaN.
        TypeError: `key` is no str, or `weight` no number.
    """

    key: str
    target: T
    _: KW_ONLY
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_key(self.key)
        check_range("weight", self.weight, 0.0, math.inf)


class Fate(enum.Enum):
    """What became of a call at one provider."""

    SERVED = "served"
    """Its answer reached the caller; for a stream: its first chunk did."""
    FAILED = "failed"
    """It failed, and that was its own fault."""
    TIMED_OUT = "timed out"
    """It was given up after its time limit. The request may have been carried out."""
    UNREACHABLE = "was not reached"
    """Nothing was sent: the connection failed, or something on this side was in the way."""
    THROTTLED = "was throttled"
    """It said "later"."""
    REFUSED = "was refused"
    """Its breaker refused; nothing was sent and no attempt was spent."""
    HELD_BACK = "was left to a call that may be repeated"
    """Its breaker wants a first probe, and this call must not be the one that is lost."""
    IGNORED = "found fault with the call"
    """The call was wrong, and would be wrong elsewhere too."""
    CANCELLED = "was cancelled"
    """The caller went away."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One provider's part in one call.

    Attributes:
        key: The provider.
        fate: What became of the call there.
        duration: Seconds spent on it, >= 0; 0.0 where nothing was sent to it.
        error: What was raised, the breaker's refusal, or a bad answer's name: `HTTP 502`.
    """

    key: str
    fate: Fate
    duration: float = 0.0
    error: BaseException | str | None = None

    def __str__(self) -> str:
        spent = f" after {self.duration:.3g} s" if self.duration else ""
        why = f" ({_why(self.error)})" if self.error is not None else ""
        return f"{self.key!r} {self.fate.value}{spent}{why}"


def _why(error: BaseException | str) -> str:
    if isinstance(error, BreakerOpenError):
        rule = error.reason.rule if error.reason is not None else error.state.value
        return f"{rule}, {error.retry_after:.3g} s more"
    # The type alone: a message may hold secrets, and str() of a foreign error may raise.
    return error if isinstance(error, str) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one call was served, or why it was not.

    Attributes:
        served_by: Key of the provider whose answer reached the caller; None if none did.
        legs: Every provider that was looked at, in order.
        duration: Seconds from the call to its answer (a stream's first chunk) or to its failure.
    """

    served_by: str | None
    legs: tuple[Leg, ...]
    duration: float

    def __str__(self) -> str:
        head = f"served by {self.served_by!r}" if self.served_by is not None else "not served"
        others = [str(leg) for leg in self.legs if leg.fate is not Fate.SERVED]
        return f"{head} in {self.duration:.3g} s" + "".join(f"; {leg}" for leg in others)


def check_key(key: object) -> None:
    """Refuse a provider key that no registry could hold."""
    if not isinstance(key, str):
        raise TypeError(f"key must be a str, not {type(key).__name__}")
    if not key:
        raise ValueError("key must not be empty")


def check_range(name: str, value: object, low: float, high: float) -> None:
    """Refuse a setting that is no finite number in `low`-`high`, both included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(f"{name} must be finite and in {low:g}-{high:g}, not {value!r}")
