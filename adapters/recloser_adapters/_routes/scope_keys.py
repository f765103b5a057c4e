"""The keys of requests to an ASGI framework whose router is asked before the framework asks it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, cast

from recloser.asgi import UNMATCHED
from recloser_adapters._routes.key_cache import KeyCache
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns


class ScopeKeys:
    """Resolves ASGI scopes to breaker keys. A subclass for each framework asks its router.

    A request that was resolved before takes one look-up in a bounded cache.

    Attributes:
        by_host: Whether the route of a request may depend on its host.
        by_raw_path: Whether the router reads the path as it was sent, so that `%2F` is no slash.
        repeatable: Whether requests of one method, path and host always have the same route.
        unused: Told of the routes at the first request, to log patterns that match none; or None.
    """

    def __init__(self) -> None:
        self._cache = KeyCache()
        self.by_host: bool = False
        self.by_raw_path: bool = False
        self.repeatable: bool = True
        self.unused: UnusedPatterns | None = None

    def __call__(self, scope: Mapping[str, Any]) -> str | None:
        """Resolve a scope to its key, or to `None` if no breaker must guard it.

        Raises:
            LookupError: The routes of the application cannot be read.
        """
        method = scope["method"] if scope["type"] == "http" else "WS"
        host = host_of(scope) if self.by_host else None
        path: str = scope["path"]
        if self.by_raw_path and (raw := scope.get("raw_path")):
            path = str(raw, "latin-1")
        request = (method, path, scope.get("root_path"), host)
        key = self._cache.newer.get(request, MISSING)
        if key is MISSING:
            key = self._cache.recall(request)
        if key is MISSING:
            key = self.resolve(scope)
            if self.unused is not None:
                self.unused.tell(self.known, scope.get("root_path") or "")
            # `<unmatched>` is not cached: scanners send new paths all the time, and routes may
            # still be added.
            if key != UNMATCHED and self.repeatable:
                self._cache.put(request, key)
        return cast("str | None", key)  # the cache answers MISSING, too

    def clear(self) -> None:
        """Drop all resolved requests. Needed only if a route is replaced by another one."""
        self._cache.clear()

    @abstractmethod
    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Resolve a scope without the cache."""
        raise NotImplementedError

    @abstractmethod
    def known(self) -> Iterable[KnownRoute]:
        """What is known of the routes without a request."""
        raise NotImplementedError


def host_of(scope: Mapping[str, Any]) -> str:
    """The Host header of a request in lower case; "" if it has none."""
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value, "latin-1").lower()
    return ""


def path_within(scope: Mapping[str, Any]) -> str:
    """The path of a request below the path at which the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    inside = path[len(root) :] if root and path.startswith(root) else path
    # The root path "/shop" must not be cut off "/shopping".
    return inside if inside == "" or inside[0] == "/" else path
