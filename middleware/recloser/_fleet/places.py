"""Which store a place means: a file for SQLite, a URL for Redis or Valkey."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import cast

from recloser._fleet.store import Store

# The adapter and its class, by the scheme of a URL. The core knows adapters by name alone.
_REDIS = ("recloser_adapters.redis", "RedisStore")
_BY_SCHEME: dict[str, tuple[str, str]] = {
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
}
_SQLITE = ("recloser_adapters.sqlite", "SqliteStore")


# What looks like a URL with a mistake in it, and would silently become a file.
_ADDRESS = re.compile(r"(//)?([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}(/\d*)?", re.ASCII)
_HALF_A_URL = re.compile(r"(rediss?|valkeys?|unix):", re.IGNORECASE)
_SQLITE_URL = re.compile(r"(sqlite|file):(?:///|//)?", re.IGNORECASE)


def store_at(place: object, namespace: str | None = None) -> Store:
    """The store at a place.

    Args:
        place: A `Store`; the path of a file for SQLite; or a URL such as `redis://cache:6379/0`. Where
            several apps share a server, each gives a name to its fleet:
            `redis://cache:6379/0?namespace=shop`.
        namespace: The name of the fleet; None for the one in the URL, or for the usual one.

    Raises:
        TypeError: It is neither.
        ValueError: The URL, the path or the namespace cannot be used; the text says what to write
            instead.
        ImportError: The library for the URL is not installed.
    """
    if isinstance(place, (str, os.PathLike)):
        text = str(os.fspath(cast("str | os.PathLike[str]", place)))
        if isinstance(place, str):  # a path object of `./name` has lost its `./`
            _check_text(place)
        scheme, separator, _ = text.partition("://")
        module, name = _BY_SCHEME.get(scheme.lower(), _SQLITE) if separator else _SQLITE
        if separator and scheme.lower() not in _BY_SCHEME:
            raise ValueError(
                f"store must be the path of a file, or a URL that begins with redis://, rediss://, "
                f"unix:// or valkey://, not {scheme}://..."
            )
        more = {} if namespace is None else {"namespace": namespace}
        return cast("Store", getattr(import_module(module), name)(place, **more))
    if isinstance(place, Store):
        if namespace is not None:
            raise ValueError("namespace is for a path or a URL: a store has one already")
        return place
    raise TypeError(
        "store must be the path of a file (for SQLite), a URL such as redis://localhost:6379/0, or a "
        f"recloser.fleet.Store, not {place!r}"
    )


def _check_text(place: str) -> None:
    """Check that a text is no URL with a mistake in it: it would become the name of a file.

    Raises:
        ValueError: It is. The text shows no password.
    """
    if not place.strip():
        raise ValueError(
            f"store must be the path of a file, such as 'recloser.db', or a URL, such as "
            f"'redis://localhost:6379/0', not {place!r}: write None, or leave it out, for no store"
        )
    sqlite = _SQLITE_URL.match(place)
    if sqlite is not None:
        path = place[sqlite.end() :].partition("?")[0]
        if sqlite[1].lower() == "file" and sqlite.end() > len("file://"):
            path = f"/{path}"
        raise ValueError(f"store is a path for SQLite, and no URL: write {path or 'recloser.db'!r}")
    address = _ADDRESS.fullmatch(place)
    if address is not None:
        host = place.removeprefix("//").partition("/")[0]
        raise ValueError(
            f"store looks like the address of a server: write 'redis://{host}/0' for it, "
            f"or './{host}' for a file of this name"
        )
    half = _HALF_A_URL.match(place)
    if half is not None and place[half.end() : half.end() + 2] != "//":
        scheme = half[1].lower()
        example = "unix:///run/redis.sock" if scheme == "unix" else f"{scheme}://localhost:6379/0"
        raise ValueError(
            f"store begins with '{scheme}:' and is no URL: write it like {example!r}, "
            "or put './' before it for a file of this name"
        )
