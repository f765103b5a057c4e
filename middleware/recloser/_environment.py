"""What the environment says: `RECLOSER_ENABLED` turns guarding off."""

from __future__ import annotations

import os

_ON = frozenset({"", "1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})


def enabled() -> bool:
    """Whether guarding is on. `RECLOSER_ENABLED=0` in the environment turns every middleware off.

    Raises:
        ValueError: The variable is neither a yes nor a no.
    """
    said = os.environ.get("RECLOSER_ENABLED", "1").strip().lower()
    if said in _OFF:
        return False
    if said in _ON:
        return True
    known = ", ".join(sorted(filter(None, _ON | _OFF)))
    raise ValueError(f"RECLOSER_ENABLED must be one of {known}, not {said!r}")
