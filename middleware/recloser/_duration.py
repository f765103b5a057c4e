"""Reads durations as providers and operators write them: 6m0s, 120ms, 1h30m."""

from __future__ import annotations

import re
from typing import cast

_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(d|h|ms|m|s|us|µs|ns)"
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}


def parse_duration(text: str) -> float | None:
    """Read a duration such as 30s, 10m or 1h30m.

    Args:
        text: Numbers with their units: d, h, m, s, ms, us, ns. A number without a unit is none.

    Returns:
        Seconds, >= 0.0; None if the text is no duration.
    """
    if len(text) > 64 or not re.fullmatch(f"(?:{_PART})+", text):
        return None
    parts = cast("list[tuple[str, str]]", re.findall(_PART, text))
    # Microseconds and less are no wait.
    return sum(float(number) * _UNITS.get(unit, 0.0) for number, unit in parts)
