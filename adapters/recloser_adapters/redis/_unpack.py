"""Unpack: reads the facts that the server gives."""

from __future__ import annotations

import re
from typing import Any

from recloser.fleet import MAX_EPOCH, Fact

# Epoch, version, when it was written, how long it lives, and the text: as in `_scripts`.
_FACT = re.compile(rb"(\d{1,30}) (\d{1,15}) (\d{1,15}) (\d{1,15}) ", re.ASCII)
_STEP = 1000  # milliseconds by which the clock of the server may be corrected without notice
_MOST = 500  # names that are mended at a time


def of_hash(fields: list[bytes]) -> tuple[bytes, bytes, list[bytes]]:
    """The version, the life, and names and data of all facts, in turn."""
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    if b"version" not in pairs or b"life" not in pairs:
        raise ValueError("what it had was lost while it was read")
    data: list[bytes] = []
    for name, value in pairs.items():
        if name.startswith(b"f:"):
            data += (name[2:], value)
    return pairs[b"version"], pairs[b"life"], data


def unpacked(data: list[bytes], now: int, since: int) -> tuple[tuple[Fact, ...], list[bytes]]:
    """The facts that were changed after a version and live, in the order of their changes.

    Args:
        data: Names and data, in turn.
        now: The time of the server, in milliseconds.
        since: The version.

    Returns:
        The facts, and the names of those that need mending: what is none, what is over, what has an
        epoch that is garbage, and what was written in the future, before the clock of the server was
        set back.
    """
    found: list[tuple[int, Fact]] = []
    bad: list[bytes] = []
    for name, each in zip(data[::2], data[1::2], strict=True):
        read = _FACT.match(each)
        if read is None:
            bad.append(name)
            continue
        epoch, version, written, ttl = map(int, read.groups())
        age = max(0, now - written)
        if age >= ttl or written > now + _STEP or epoch > MAX_EPOCH:
            bad.append(name)
        if age < ttl and version > since:
            fact = Fact(as_text(name), epoch, as_text(each[read.end() :]), age / 1000)
            found.append((version, fact))
    found.sort(key=lambda each: each[0])
    return tuple(fact for _, fact in found), bad[:_MOST]


def as_text(raw: Any) -> str:
    """A name or a text that we or others have written."""
    try:
        return str(raw, "utf-8", "surrogatepass")
    # It is not ours. Its reader will say so.
    except UnicodeDecodeError:
        return str(raw, "utf-8", "replace")
