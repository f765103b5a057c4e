"""Which store a place means: a file for SQLite, a URL for Redis or Valkey."""

from __future__ import annotations

import os
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


def store_at(place: object) -> Store:
    """The store at a place.

    Args:
        place: A `Store`; the path of a file for SQLite; or a URL such as `redis://cache:6379/0`.

    Raises:
        TypeError: It is neither.
        ValueError: The URL or the path cannot be used; the text says what to write instead.
        ImportError: The library for the URL is not installed.
    """
    if isinstance(place, (str, os.PathLike)):
        text = os.fspath(cast("str | os.PathLike[str]", place))
        scheme, separator, _ = str(text).partition("://")
        module, name = _BY_SCHEME.get(scheme.lower(), _SQLITE) if separator else _SQLITE
        if separator and scheme.lower() not in _BY_SCHEME:
            raise ValueError(
                f"store must be the path of a file, or a URL that begins with redis://, rediss://, "
                f"unix:// or valkey://, not {scheme}://..."
            )
        return cast("Store", getattr(import_module(module), name)(place))
    if isinstance(place, Store):
        return place
    raise TypeError(
        "store must be the path of a file (for SQLite), a URL such as redis://localhost:6379/0, or a "
        f"recloser.fleet.Store, not {place!r}"
    )
