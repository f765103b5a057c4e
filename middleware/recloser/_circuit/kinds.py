"""Kinds of calls: what is known of a call, and how long calls of which that is known take."""

from __future__ import annotations

from math import frexp, isfinite
from typing import TypeAlias

Kind: TypeAlias = tuple[str, int | None]
"""What is known of a call: its label, "" for none, and the octave of its size, None for none."""

LONG_POLL = "long poll"
"""The label of calls that ask the callee to wait for an event. How long one takes, and whether its
answer comes at all, says nothing about the callee: its latency is neither judged nor learned."""
NOTHING: Kind = ("", None)
"""The kind of a call of which nothing is known."""


def kind_of(label: str | None, size: float | None) -> Kind:
    """What is known of a call.

    Args:
        label: Its label; None or "" for none.
        size: Its size in any unit, >= 0; None for none.

    Raises:
        TypeError: The label is no str, or the size no number.
        ValueError: The size is negative, infinite or NaN.
    """
    if not isinstance(label, str | None):
        raise TypeError(f"label must be a str, not {label!r}")
    if size is None:
        return label or "", None
    number = float(size)
    if not (isfinite(number) and number >= 0.0):
        raise ValueError(f"size must be a number >= 0, not {size!r}")
    return label or "", frexp(number)[1]


class Level:
    """What is known of the latency of one kind.

    Attributes:
        log_ratio: ln(ratio).
        first: Latencies of its first answers, as ln(seconds); None once the ratio is known.
        in_trouble: Whether one of them came during trouble.
        calls: Number of its calls of late.
    """

    __slots__ = ("calls", "first", "in_trouble", "log_ratio")

    def __init__(self) -> None:
        self.log_ratio = 0.0
        self.first: list[float] | None = []
        self.in_trouble = False
        self.calls = 0.0
