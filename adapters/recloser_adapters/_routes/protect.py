"""The decorator that guards one endpoint with its own breaker."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from recloser import Registry, Unguarded
from recloser.hints import check_registry
from recloser_adapters._routes.endpoint_watch import EndpointWatch

_P = ParamSpec("_P")
_R = TypeVar("_R")

Begin: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], EndpointWatch | Unguarded]
"""Begins a call: takes its arguments, and returns the watch or raises the refusal."""


def check_protect(registry: object, key: object) -> None:
    """Check the arguments of `protect`: without parentheses it would get the function.

    Raises:
        TypeError: One of them is of the wrong type.
    """
    if registry is not None:
        check_registry(registry, Registry)
    if not isinstance(key, str):
        hint = ": write protect(key) above the function" if callable(key) else ""
        raise TypeError(f"key must be a str, not {key!r}{hint}")


def check_endpoint(endpoint: object) -> None:
    """Check that the decorated object is a function.

    Raises:
        TypeError: It is a class, or it cannot be called.
    """
    if isinstance(endpoint, type) or not callable(endpoint):
        raise TypeError(f"protect needs a function, got {endpoint!r}: decorate its methods")


def guarded(endpoint: Callable[_P, _R], begin: Begin) -> Callable[_P, _R]:
    """Wrap an endpoint, `def` or `async def`, so that each call of it is watched.

    Args:
        endpoint: The endpoint.
        begin: Admits one call and returns its watch. It may remove arguments from the dict that it
            receives. The endpoint is called with the rest.
    """
    call: Callable[..., Any] = endpoint

    @functools.wraps(endpoint)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        watch = begin(args, kwargs)
        if isinstance(watch, Unguarded):
            return call(*args, **kwargs)
        with watch:
            return watch.returned(call(*args, **kwargs))

    @functools.wraps(endpoint)
    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        watch = begin(args, kwargs)
        if isinstance(watch, Unguarded):
            return await call(*args, **kwargs)
        with watch:
            return watch.returned(await call(*args, **kwargs))

    return cast("Callable[_P, _R]", guarded_async if _is_async(endpoint) else guarded)


def _is_async(endpoint: Callable[..., Any]) -> bool:
    """Whether a call of the endpoint returns an awaitable."""
    inner: Any = endpoint
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - its type matters, not its presence
    )
