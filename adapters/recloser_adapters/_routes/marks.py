"""Marks on endpoints: `exempt` for no breaker, `keyed` for a key that the user chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from recloser_adapters._routes.keys import MISSING

_MARK: Final = "__recloser_key__"

_Endpoint = TypeVar("_Endpoint")


def exempt(endpoint: _Endpoint) -> _Endpoint:
    """Mark an endpoint, so that no breaker guards it.

    Place this decorator next to the function, below the decorator that registers the route.
    """
    return mark(endpoint, None)


def keyed(key: str) -> Callable[[_Endpoint], _Endpoint]:
    """Mark an endpoint, so that the middleware guards it under `key`.

    In this way endpoints that depend on the same service can share one breaker.

    Args:
        key: The breaker's key, instead of method and route template.

    Raises:
        ValueError: The key is not a str, or it is empty.
    """
    if not isinstance(key, str) or not key:
        raise ValueError(f"key must be a non-empty str, not {key!r}")
    return lambda endpoint: mark(endpoint, key)


def mark(endpoint: _Endpoint, key: str | None) -> _Endpoint:
    """Write the key of an endpoint onto it; `None` exempts it."""
    # A bound method accepts no attributes, but its function does.
    setattr(getattr(endpoint, "__func__", endpoint), _MARK, key)
    return endpoint


def marked_key(endpoint: object) -> Any:
    """Read the mark of an endpoint: a key, `None` if exempt, `MISSING` if there is no mark."""
    return getattr(endpoint, _MARK, MISSING)
