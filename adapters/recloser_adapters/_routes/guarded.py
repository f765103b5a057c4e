"""Which keys the routes of an application have, without those that are exempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, cast

from recloser import Registry
from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters._routes.unused import KnownRoute

_DEEPEST_WRAPPING: Final = 64


class Keys(Protocol):
    """What makes the keys of a middleware."""

    def known(self) -> Iterable[KnownRoute]: ...


class Guard(Protocol):
    """A middleware whose keys come from routes, or from a function of the user.

    Attributes:
        registry: Holds the breakers.
        keys: Makes the keys; None if a function of the user does.
        exempt: What is not guarded: patterns, or a function.
    """

    @property
    def registry(self) -> Registry: ...
    @property
    def keys(self) -> Keys | None: ...
    @property
    def exempt(self) -> Any: ...


def lasting(exempt: Any) -> Any:
    """What is exempt, to be read several times: an iterator can be read only once."""
    return tuple(cast("Iterator[str]", exempt)) if isinstance(exempt, Iterator) else exempt


def keys_within(
    app: object, kind: type[Guard], inside: tuple[str, ...] = ("app",)
) -> dict[Registry, set[str]]:
    """The keys that guard routes of an application, by the registry of their breakers.

    Args:
        app: An application with middleware around it.
        kind: The class of the middleware.
        inside: Where a wrapper has what it wraps: names of attributes, the first that is there.
    """
    keys: dict[Registry, set[str]] = {}
    for _ in range(_DEEPEST_WRAPPING):
        if isinstance(app, kind):
            add_keys(keys, app)
        app = next(
            (inner for name in inside if (inner := getattr(app, name, None)) is not None), None
        )
    return keys


def add_keys(keys: dict[Registry, set[str]], guard: Guard) -> None:
    """Add the registry of a middleware, and the keys under which it guards routes."""
    found = keys.setdefault(guard.registry, set())
    if guard.keys is not None:
        found.update(keys_of(guard.keys.known(), guard.exempt))


def keys_of(routes: Iterable[KnownRoute], exempt: Any) -> Iterator[str]:
    """Yield the keys under which a middleware guards routes; some of them several times.

    Args:
        routes: The routes.
        exempt: What the middleware exempts. What a function exempts is not known, so it is taken
            for guarded.
    """
    patterns: tuple[str, ...] = () if callable(exempt) else tuple(exempt)
    for route in routes:
        for key in route.keys:
            method = key.partition(" ")[0]
            # Of a key that the user chose, one method that is guarded is enough.
            methods = {method} if method in route.methods else route.methods or {method}
            if not all(_is_exempt(patterns, each, route.template) for each in methods):
                yield key


def _is_exempt(patterns: tuple[str, ...], method: str, template: str) -> bool:
    return any(cover(pattern, method, template) is Cover.ALL for pattern in patterns)
