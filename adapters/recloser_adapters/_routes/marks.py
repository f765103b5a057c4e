"""Marks on endpoints: `exempt` for no breaker, `keyed` for a key that the user chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from recloser import Registry
from recloser_adapters._routes.keys import MISSING

_MARK: Final = "__recloser_key__"
# The attribute that `protect` sets: the registry (None for the application's) and the key.
_PROTECTED: Final = "__recloser_protected__"

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
        hint = ": write @keyed('payments') above the endpoint" if callable(key) else ""
        raise ValueError(f"key must be a non-empty str, not {key!r}{hint}")
    return lambda endpoint: mark(endpoint, key)


def mark(endpoint: _Endpoint, key: str | None) -> _Endpoint:
    """Write the key of an endpoint onto it; `None` exempts it."""
    # A bound method accepts no attributes, but its function does.
    if not callable(endpoint) and not hasattr(endpoint, "__dict__"):
        raise TypeError(f"exempt and keyed mark an endpoint, not {endpoint!r}")
    setattr(getattr(endpoint, "__func__", endpoint), _MARK, key)
    return endpoint


def mark_protected(endpoint: _Endpoint, registry: Registry | None, key: str | None) -> _Endpoint:
    """Mark an endpoint or a dependency as guarded by a breaker of its own.

    Args:
        endpoint: What is guarded.
        registry: Holds the breaker; None for the registry of the application.
        key: The key of the breaker; None for the key of the route.
    """
    setattr(endpoint, _PROTECTED, (registry, key))
    return endpoint


def protection(endpoint: object) -> tuple[Registry | None, str | None] | None:
    """Read what `mark_protected` wrote; None if it wrote nothing."""
    return getattr(endpoint, _PROTECTED, None)


def marked_key(endpoint: object) -> Any:
    """Read the mark of an endpoint: a key, `None` if exempt, `MISSING` if there is no mark."""
    return getattr(endpoint, _MARK, MISSING)
