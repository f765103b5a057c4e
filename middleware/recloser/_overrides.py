"""Overrides: what was changed by hand and holds until it ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from recloser._state import Mode, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Something that an operator changed by hand, and that holds.

    Attributes:
        since: When it began, in seconds of the registry's clock.
        until: When it ends by itself, in the same seconds; infinite if it does not.
        state: The state of the breaker, None if that was not changed.
        mode: Its mode, None if that was not changed.
        enforce_share: The share of callers that it refuses, 0.0-1.0; None if that was not changed.
        reason: Why, in the operator's words.
        by: Who it was; "" if it is not known.
    """

    since: float
    until: float = inf
    state: State | None = None
    mode: Mode | None = None
    enforce_share: float | None = None
    reason: str = ""
    by: str = ""


def check_texts(reason: object, by: object) -> None:
    """Check what an operator says.

    Raises:
        TypeError: One of them is not a str.
    """
    if not isinstance(reason, str):
        raise TypeError(f"reason must be a str, not {reason!r}: write for_= before a time")
    if not isinstance(by, str):
        raise TypeError(f"by must be a str, not {by!r}")


def end_of(now: float, for_: float | None) -> float:
    """When something ends that lasts for so many seconds from `now` on; infinite for None.

    Raises:
        TypeError: `for_` is not a number.
        ValueError: It is negative or NaN.
    """
    if for_ is None:
        return inf
    if isinstance(for_, bool) or not isinstance(for_, (int, float)):
        raise TypeError(f"for_ must be a number of seconds >= 0, or None, not {for_!r}")
    try:
        wait = float(for_)
    except OverflowError:
        return inf
    if not wait >= 0.0:
        raise ValueError(f"for_ must be a number of seconds >= 0, or None, not {for_!r}")
    return now + wait


def checked_share(share: float) -> float:
    """A share of callers, checked.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not in 0.0-1.0.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)):
        raise TypeError(f"enforce_share must be a number from 0 to 1, not {share!r}")
    if not (isfinite(share) and 0.0 <= share <= 1.0):
        raise ValueError(f"enforce_share must be a number from 0 to 1, not {share!r}")
    return float(share)
