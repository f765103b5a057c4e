"""Tells of patterns that match no route: a mistyped one has no effect, and nobody would notice."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from recloser import Registry
from recloser.asgi import DEFAULT_EXEMPT
from recloser_adapters._routes.cover import Cover, cover

_LOG: Final = logging.getLogger("recloser")
# Other names of policies may be keys of outbound calls, which share the registry.
_ROUTE_KEY: Final = re.compile(r"(?:[A-Z]+ )?/")


@dataclass(frozen=True, slots=True)
class KnownRoute:
    """A route of an application.

    Attributes:
        template: The template of its path.
        methods: Its methods; empty for any. That of a WebSocket is `WS`.
        keys: The keys of its requests.
    """

    template: str
    methods: frozenset[str]
    keys: frozenset[str]


class UnusedPatterns:
    """Logs, once, which patterns match none of an application's routes.

    Args:
        exempt: What the middleware exempts. Nothing is told of the defaults, or of a function.
        registry: Its policies have keys and patterns, too.
    """

    def __init__(self, exempt: Any, registry: Registry) -> None:
        self._exempt = () if callable(exempt) else tuple(exempt)
        self._registry = registry
        self._done = False

    def tell(self, routes: Callable[[], Iterable[KnownRoute]], root: str = "") -> None:
        """Log the patterns that match nothing, when the routes are known: at the first request.

        Args:
            routes: Returns the routes.
            root: The path at which the application is mounted. A pattern may begin with it.
        """
        if self._done:
            return
        self._done = True
        try:
            self._tell([*routes()], root)
        except Exception as error:
            self._registry.fault("unused patterns", error)

    def unused_exemptions(self, routes: Collection[KnownRoute], root: str = "") -> list[str]:
        """The patterns of what is exempt that match no route."""
        return [
            pattern
            for pattern in self._exempt
            if pattern not in DEFAULT_EXEMPT
            and not any(_matches(pattern, route, root) for route in routes)
        ]

    def unused_policies(self, routes: Collection[KnownRoute]) -> list[tuple[str, str | None]]:
        """The keys and patterns of policies that match no route, each with what may be meant."""
        keys = {key for route in routes for key in route.keys}
        found: list[tuple[str, str | None]] = []
        for name in self._registry.named:
            if _ROUTE_KEY.match(name) and not any(fnmatchcase(key, name) for key in keys):
                near = [key for key in sorted(keys) if _is_meant(key, name)]
                found.append((name, near[0] if near else None))
        return found

    def _tell(self, routes: list[KnownRoute], root: str) -> None:
        if not routes:
            return
        for pattern in self.unused_exemptions(routes, root):
            _LOG.warning("exempt: %r matches no route of this application", pattern)
        for name, near in self.unused_policies(routes):
            hint = "" if near is None else f"; did you mean {near!r}?"
            _LOG.warning("policies: %r is the key of no route of this application%s", name, hint)


def _is_meant(key: str, name: str) -> bool:
    """Whether a name may be that of a route without its method; OPTIONS, which Flask adds, is not."""
    method, _, template = key.partition(" ")
    return method != "OPTIONS" and fnmatchcase(template, name)


def _matches(pattern: str, route: KnownRoute, root: str) -> bool:
    method = pattern.partition(" ")[0].upper() if " " in pattern else ""
    methods = route.methods or {method}
    if method == "OPTIONS" or (method == "HEAD" and "GET" in methods):
        methods = {*methods, method}
    return any(
        cover(pattern, each, template) is not Cover.NONE
        for each in methods
        for template in {route.template, root + route.template}
    )
