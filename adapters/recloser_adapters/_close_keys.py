"""Which keys may be meant by a name that is no key, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 3


def close_keys(name: str, known: Iterable[str]) -> list[str]:
    """Return the keys that may be meant, the closest first, three at most.

    A key is close if it is similar, whatever the case of its letters, or has the name in it.
    """
    # Of keys that differ only in case, any one will do.
    by_lower = {key.lower(): key for key in sorted(known)}
    lower = name.lower()
    similar = get_close_matches(lower, by_lower, _MOST)
    within = sorted((key for key in by_lower if lower and lower in key), key=len)
    return [by_lower[key] for key in dict.fromkeys([*similar, *within])][:_MOST]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that asks whether a close key was meant; empty if there is none."""
    close = close_keys(name, known)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
