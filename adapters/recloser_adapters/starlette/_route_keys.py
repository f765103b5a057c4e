"""The keys of requests to a Starlette or FastAPI application, made from its routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.routing import Host, Mount, WebSocketRoute

from recloser.asgi import UNMATCHED
from recloser_adapters._routes.key_cache import KeyCache, RequestParts
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import marked_key
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns
from recloser_adapters.starlette._route_search import RouteEntry, RouteIndex, Search, find_routes

_USUAL_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MOST_INDEXES: Final = 16  # a server has one application, but a test run has many


class RouteKeys:
    """Resolve ASGI scopes to breaker keys: method and route template, such as `GET /items/{id}`.

    It follows Mount, Host, included routers and FastAPI's router tree. A request that matches no
    route (404, 405, a redirect that adds or removes the last slash) gets `<unmatched>`. A request
    for a mount of static files, or for an endpoint marked by `exempt`, gets `None`. In a
    class-based endpoint the mark of a method takes precedence over that of the class.

    A route has one key, wherever in the application it is resolved. On a Mount, a Router, a Route
    or in a mounted application the template begins at the outermost router. It begins at `app` only
    if an application in between hides the mounts of that router or rewrites paths.

    A request that was resolved before takes one look-up in a bounded cache, for any number of
    routes. For other requests, an index of the literal beginnings of the paths finds the routes
    that can match, and only those are tried.

    Args:
        app: The application whose routes are read. It may be wrapped in middleware. If it has no
            routes, those of `scope["app"]` are read.
        routes: The routes themselves, instead of `app`.
        prefix: Text to put before every template of `app` or `routes`, such as the path at which
            they are mounted.

    Attributes:
        unused: Told of the routes when they are known, to log patterns that match none; or None.
    """

    def __init__(
        self, app: Any = None, *, routes: Sequence[Any] | None = None, prefix: str = ""
    ) -> None:
        self._routes = find_routes(app) if routes is None else routes
        self._prefix = prefix
        self._is_told = routes is not None or bool(prefix)
        self._cache = KeyCache()
        self._index: RouteIndex | None = None
        self._indexes: dict[int, RouteIndex] = {}
        self._by_host = False
        self.unused: UnusedPatterns | None = None

    def __call__(self, scope: Mapping[str, Any]) -> str | None:
        """Resolve a scope to its key, or to `None` if no breaker must guard it.

        Raises:
            LookupError: No routes were found, or none of them can be the one.
        """
        index = self._index
        if index is not None and len(index.routes) != index.count:
            self.clear()
        host = _host(scope) if self._by_host else None
        # A WebSocket may have a method, too: HTTP/2 opens it with CONNECT.
        kind = scope["method"] if scope["type"] == "http" else scope["type"]
        request = (kind, scope["path"], scope.get("root_path"), host)
        key = self._cache.newer.get(request, MISSING)
        if key is MISSING:
            key = self._cache.recall(request)
            if key is MISSING:
                key = self._search(scope, request)
        return key  # type: ignore[no-any-return]  # the cache answers MISSING, too

    def clear(self) -> None:
        """Drop all resolved requests from the cache.

        This is needed only if a route is replaced by another one. Added and removed routes are
        noticed: in the application itself at once, in mounts and included routers with the next
        path that is not in the cache. To call this, keep a reference to the `RouteKeys` that you
        give to a middleware as `key`.
        """
        self._index = None
        self._indexes.clear()
        self._cache.clear()

    def resolve(self, scope: Mapping[str, Any], search: Search) -> str | None:
        """Resolve a scope without the cache, and record in `search` what the result depends on.

        Raises:
            LookupError: No routes were found, or none of them can be the one.
        """
        # Starlette stores the outermost router, and its root path in case a Mount changes that.
        router = None if self._is_told else scope.get("router")
        outermost = None if router is None else find_routes(router)
        if outermost is None:
            return _key(self._find_here(scope, search), scope)
        # This is a copy: matching writes into the scope, and reads entries that FastAPI wrote.
        whole = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
        whole.pop("fastapi", None)
        entry = self._index_of(outermost, "").find(whole, search)
        hides = entry is not None and isinstance(entry.route, Mount | Host)
        if entry is not None and search.led_to(scope, hides=hides):
            if not hides or self._routes is None or marked_key(entry.endpoint) is not MISSING:
                return _key(entry, scope)
            within = self._find_here(scope, search)
            return _key(within, scope, entry.name.removesuffix("/{path}"))
        # No route was found from the outermost router, or an application in between rewrites paths.
        within = self._find_here(scope, search)
        if within is not None and self._routes is None and not search.led_to(scope, hides=False):
            raise LookupError("cannot tell which route this request matches: pass key=")
        return _key(within, scope)

    def _find_here(self, scope: Mapping[str, Any], search: Search) -> RouteEntry | None:
        """Find the route among the routes of the application itself."""
        routes = find_routes(scope.get("app")) if self._routes is None else self._routes
        if routes is None:
            raise LookupError("no routes found in this app: pass routes=, or key=")
        return self._index_of(routes, self._prefix).find(dict(scope), search)

    def _search(self, scope: Mapping[str, Any], request: RequestParts) -> str | None:
        search = Search()
        key = self.resolve(scope, search)
        if search.index is not self._index:
            # The routes changed, or the scope has another outermost router than before.
            self._cache.clear()
            self._index = index = search.index
            if self.unused is not None and index is not None:
                self.unused.tell(
                    lambda: map(known_route, index.leaves()), scope.get("root_path", "")
                )
        if key == UNMATCHED:
            # Not cached: scanners send new paths all the time, and routes may still be added.
            return key
        if search.by_host and not self._by_host:
            # From the next request on the host is part of the cache's key.
            self._by_host = True
        elif search.repeatable:
            self._cache.put(request, key)
        return key

    def _index_of(self, routes: Sequence[Any], prefix: str) -> RouteIndex:
        # An index keeps its routes alive, so that no other list can get their id.
        index = self._indexes.get(id(routes))
        if index is None or index.outdated:
            if index is not None:
                self._cache.clear()
            if len(self._indexes) >= _MOST_INDEXES:
                self._indexes.clear()
            index = self._indexes[id(routes)] = RouteIndex(routes, prefix)
        return index


def known_route(entry: RouteEntry) -> KnownRoute:
    """What is known of a route without a request: its template, its methods and its keys."""
    if isinstance(entry.route, WebSocketRoute):
        methods = frozenset({"WS"})
        scopes = [{"type": "websocket"}]
    else:
        methods = frozenset(getattr(entry.route, "methods", None) or ())
        scopes = [{"type": "http", "method": method} for method in methods or _USUAL_METHODS]
    keys = frozenset(key for scope in scopes if (key := _key(entry, scope)) is not None)
    return KnownRoute(entry.name, methods, keys)


def _key(entry: RouteEntry | None, scope: Mapping[str, Any], prefix: str = "") -> str | None:
    if entry is None:
        return UNMATCHED
    method = "WS" if scope["type"] == "websocket" else scope["method"]
    key = _marked(entry.endpoint, method)
    if key is MISSING:
        key = route_key(method, prefix + entry.name)
    return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too


def _marked(endpoint: object, method: str) -> Any:
    if isinstance(endpoint, type):
        # The method answers the request, and users put `protect` on methods.
        name = "on_connect" if method == "WS" else method.lower()
        handler = getattr(endpoint, name, None)
        if handler is None and method == "HEAD":
            handler = getattr(endpoint, "get", None)
        key = marked_key(handler)
        if key is not MISSING:
            return key
    return marked_key(endpoint)


def _host(scope: Mapping[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value, "latin-1").lower()
    return ""
