"""Which keys the routes of an application have, without those that are exempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters._routes.unused import KnownRoute


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
