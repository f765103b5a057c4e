"""What the apps of the soak answer, whatever framework they are written in.

An answer depends on the request only, so that two servers can be compared byte by byte. The fault of
a request follows from its number and `SOAK_SEED`. `SOAK_DIR/outage`, if it exists, makes the route
`/outage` fail.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from recloser import Policy, Registry

SEED = int(os.environ.get("SOAK_SEED", "1"))
STEERING = Path(os.environ.get("SOAK_DIR", "."))
GUARDED = os.environ.get("SOAK_GUARDED", "1") == "1"
PIECE = b"0123456789abcdef" * 1024
PIECES = 64
# Of so many requests to `/faulty`, one raises, one answers 500, and one takes longer.
ONE_OF = 100
LONGER = 0.2  # seconds

registry = Registry(Policy(open_for=0.5, max_open_for=2.0))


class BrokenError(Exception):
    """What a handler with a fault raises."""


def digest(body: bytes) -> bytes:
    """Show that a whole body has arrived."""
    return b"%d %08x\n" % (len(body), zlib.crc32(body))


def total(numbers: object) -> bytes:
    """Add the numbers of a JSON document."""
    assert isinstance(numbers, list)
    return b"%d\n" % sum(numbers)


def fields(form: dict[str, str], file: bytes) -> bytes:
    """Show a form with a file."""
    return json.dumps(form, sort_keys=True).encode() + b" " + digest(file)


def item(number: int) -> bytes:
    return b"item %d: %08x\n" % (number, zlib.crc32(b"%d" % number))


def pieces() -> Iterator[bytes]:
    for _ in range(PIECES):
        yield PIECE


def big() -> bytes:
    return PIECE * PIECES


def fault(number: int) -> str:
    """What is wrong with a request to `/faulty`: "raises", "500", "slow", or "" for nothing."""
    chosen = zlib.crc32(b"%d %d" % (SEED, number)) % ONE_OF
    return {0: "raises", 1: "500", 2: "slow"}.get(chosen, "")


def in_outage() -> bool:
    return (STEERING / "outage").exists()


def checked(number: int) -> tuple[int, bytes, float]:
    """Status, body and delay in seconds of a request to `/faulty`."""
    kind = fault(number)
    if kind == "raises":
        raise BrokenError(number)
    return (500, b"broken\n", 0.0) if kind == "500" else (200, item(number), LONGER * bool(kind))


def through_outage() -> bytes:
    """The answer of `/outage`, to a request whose body was read before."""
    if in_outage():
        raise BrokenError("outage")
    return big()


def key(method: str, path: str) -> str:
    """The key of a request to an app without an adapter of its own."""
    return f"{method} {'/'.join(path.split('/')[:3])}"


def described() -> bytes:
    """All breakers, as JSON."""
    metrics = [breaker.metrics() for breaker in registry]
    names = (
        "evidence",
        "slow_threshold",
        "calls",
        "successes",
        "failures",
        "slow",
        "ignored",
        "cancelled",
        "refused",
        "in_flight",
    )
    breakers = {
        each.key: {"state": each.state.value, **{name: getattr(each, name) for name in names}}
        for each in metrics
    }
    return json.dumps(
        {"pid": os.getpid(), "faults": registry.faults, "breakers": breakers}
    ).encode()
