"""Keys that stand for requests which have nothing in common, and whose breakers refuse nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from recloser._environment import allowed
from recloser._state import Mode

OVERFLOW_KEY = "<overflow>"
"""The key of the breaker that new keys share if `max_keys` breakers exist and none may be evicted.
It refuses nothing: what one key does is no verdict on another.
"""
UNMATCHED = "<unmatched>"
"""The key of requests that match no route. Clients can invent such requests, so they are never
guarded: a breaker of this name is disabled.
"""
_STRICTEST: Mapping[str, Mode] = MappingProxyType(
    {OVERFLOW_KEY: Mode.OBSERVE, UNMATCHED: Mode.DISABLED}
)


def mode_of(key: str, mode: Mode | str) -> Mode:
    """A mode for a key, or the strictest that the key and the environment allow.

    Raises:
        ValueError: The mode is unknown, or a variable of the environment has no valid value.
    """
    return allowed(mode, _STRICTEST.get(key, Mode.ENFORCE))
