"""Figures, and how busy the machine was when they were taken."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import ceil


def percentile(numbers: Iterable[float], part: float) -> float:
    """The number that so large a part (0.0-1.0) of them does not exceed."""
    ranked = sorted(numbers)
    if not ranked:
        return float("nan")
    return ranked[max(ceil(part * len(ranked)) - 1, 0)]


def load() -> str:
    """How busy the machine is."""
    last, before, _ = os.getloadavg()
    return f"load average {last:.1f} (last minute), {before:.1f} (5 minutes), {os.cpu_count()} CPUs"


def verdict(ok: bool) -> str:
    """One word for a goal."""
    return "ok" if ok else "MISSED"
