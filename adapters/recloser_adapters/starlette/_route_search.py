"""The search for the route that will answer a request, before the framework has routed it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.staticfiles import StaticFiles

from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import marked_key

_DEEPEST_WRAPPING: Final = 64


@dataclass(slots=True)
class Search:
    """The record of one search: what its result depends on, and which routes matched.

    Attributes:
        by_host: Whether the result depends on the host.
        repeatable: Whether the same request will always give the same result.
        index: The index where the search began.
        passed: The endpoints of all mounts and routes that matched.
        root: The root path within the last of these mounts.
    """

    by_host: bool = False
    repeatable: bool = True
    index: RouteIndex | None = None
    passed: list[object] = field(default_factory=list[object])
    root: str = ""

    def led_to(self, scope: Mapping[str, Any], *, hides: bool) -> bool:
        """Whether the search passed the endpoint that the framework has already routed to.

        Args:
            scope: The scope of the request. If the framework has not routed it yet, the result is
                True.
            hides: Whether the search ended at a mount whose routes cannot be read.
        """
        reached = scope.get("endpoint")
        if reached is None or any(each is reached for each in self.passed):
            return True
        return hides and f"{scope.get('root_path', '')}/".startswith(f"{self.root}/")


@dataclass(slots=True)
class RouteEntry:
    """One route in an index.

    Attributes:
        order: Its place in the router.
        route: The route.
        matches: The library's method that matches the route with a scope.
        overridden: Whether the user has overridden that method.
        name: Host and template.
        endpoint: The object that may carry a mark.
        routes: The routes inside a Mount or Host; None for other routes.
        inside: The index of `routes`, made when a search first needs it.
    """

    order: int
    route: Any
    matches: Any
    overridden: bool
    name: str
    endpoint: object | None
    routes: Sequence[Any] | None = None
    inside: RouteIndex | None = None


@dataclass(slots=True)
class _Node:
    entries: list[RouteEntry] = field(default_factory=list[RouteEntry])
    children: dict[str, _Node] = field(default_factory=dict[str, "_Node"])


class RouteIndex:
    """An index of the routes of one router, by the literal segments at the start of their paths.

    The library's own matching decides whether a route matches, in the router's order. The index
    only leaves out routes that cannot match. A match function of the user is called only if the
    library's finds no route: it is called twice per request then, which the user could notice.
    """

    __slots__ = ("_depth", "_included", "_overridden", "_prefix", "_root", "count", "routes")

    def __init__(self, routes: Sequence[Any], prefix: str = "") -> None:
        self.routes: Sequence[Any] = routes
        self.count: int = len(routes)
        self._included = [(inner, len(inner)) for inner in _included(routes)]
        self._prefix = prefix
        self._root = _Node()
        self._depth = 0
        self._overridden: list[RouteEntry] = []
        for order, route in enumerate(_flat(routes)):
            self._add(order, route)

    @property
    def outdated(self) -> bool:
        """Whether routes were added or removed since then, also in included routers."""
        if len(self.routes) != self.count:
            return True
        included = self._included
        return bool(included) and any(len(inner) != count for inner, count in included)

    def find(self, scope: dict[str, Any], search: Search) -> RouteEntry | None:
        """Find the route that will answer: the first full match, as in the router."""
        search.index = search.index or self
        search.passed = []
        search.root = scope.get("root_path", "")
        return self._find(scope, search)

    def leaves(self) -> Iterator[RouteEntry]:
        """All routes, those inside of mounts included; a mount whose routes cannot be read is one."""
        for entry in self.entries():
            if entry.routes is None:
                yield entry
            else:
                yield from RouteIndex(entry.routes, entry.name).leaves()

    def entries(self) -> Iterator[RouteEntry]:
        """All routes and mounts of this router itself, in no particular order."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            yield from node.entries

    def _find(self, scope: dict[str, Any], search: Search) -> RouteEntry | None:
        for entry in self._candidates(_route_path(scope)):
            if isinstance(entry.route, Host):
                search.by_host = True
            match, child_scope = entry.matches(scope)
            if match is Match.FULL:
                return self._enter(entry, {**scope, **child_scope}, search)
        for entry in self._overridden:
            # A match function of the user may depend on anything in the scope.
            search.repeatable = False
            match, child_scope = entry.route.matches(scope)
            if match is Match.FULL:
                return self._enter(entry, {**scope, **child_scope}, search)
        return None

    @staticmethod
    def _enter(entry: RouteEntry, scope: dict[str, Any], search: Search) -> RouteEntry | None:
        search.passed.append(scope.get("endpoint"))
        search.root = scope.get("root_path", "")
        if entry.routes is None:
            return entry
        if entry.inside is None or entry.inside.outdated:
            entry.inside = RouteIndex(entry.routes, entry.name)
        return entry.inside._find(scope, search)

    def _candidates(self, path: str) -> list[RouteEntry]:
        node = self._root
        found = list(node.entries)
        # A `$` at the end of a route's pattern also matches before a final line feed.
        segments = path.removesuffix("\n").split("/", self._depth + 1)
        for segment in segments[1:]:
            child = node.children.get(segment)
            if child is None:
                break
            node = child
            found += node.entries
        found.sort(key=lambda entry: entry.order)
        return found

    def _add(self, order: int, route: Any) -> None:
        matches, overridden = _matching(route)
        entry = self._entry(order, route, matches, overridden)
        if overridden:
            self._overridden.append(entry)
        if matches is None:
            return
        segments = _literal_segments(route)
        self._depth = max(self._depth, len(segments))
        node = self._root
        for segment in segments:
            node = node.children.setdefault(segment, _Node())
        node.entries.append(entry)

    def _entry(self, order: int, route: Any, matches: Any, overridden: bool) -> RouteEntry:
        if isinstance(route, Mount | Host):
            # A mark on the mounted application applies to everything in it.
            routes = None if marked_key(route.app) is not MISSING else find_routes(route.app)
            format_ = (
                route.path_format if isinstance(route, Mount) else f"{route.host_format}/{{path}}"
            )
            name = self._prefix + (format_ if routes is None else format_.removesuffix("/{path}"))
            endpoint: object = _Static if isinstance(route.app, StaticFiles) else route.app
            return RouteEntry(order, route, matches, overridden, name, endpoint, routes)
        path = getattr(route, "path_format", None) or getattr(route, "path", None)
        name = self._prefix + (path or f"<{type(route).__name__}>")
        return RouteEntry(order, route, matches, overridden, name, getattr(route, "endpoint", None))


class _Static:
    """Stands in for a mount of static files, which is exempt."""

    __recloser_key__ = None


def find_routes(app: Any) -> Sequence[Any] | None:
    """Find the routes of an application inside the middleware around it."""
    for _ in range(_DEEPEST_WRAPPING):
        routes: Any = getattr(app, "routes", None)
        if isinstance(routes, list | tuple):
            return routes  # pyright: ignore[reportUnknownVariableType]  # it may hold any objects
        # A Router with its own middleware gives that middleware a bound method.
        app = getattr(app, "app", None) or getattr(app, "__self__", None)
        if app is None:
            break
    return None


def _flat(routes: Sequence[Any]) -> Iterator[Any]:
    for route in routes:
        # FastAPI >= 0.137 keeps an included router as a node. Its contexts have the full paths.
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is not None:
            for context in contexts():
                yield getattr(context, "starlette_route", None) or context
        elif hasattr(route, "matches"):
            yield route


def _included(routes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The routes of all routers that FastAPI >= 0.137 keeps as nodes among these."""
    for route in routes:
        inner: Any = getattr(getattr(route, "original_router", None), "routes", None)
        if inner is not None:
            yield inner
            yield from _included(inner)


def _matching(route: Any) -> tuple[Any, bool]:
    """The library's match method of a route, or None; and whether the user overrides it."""
    overridden = False
    for kind in type(route).__mro__:
        matches = vars(kind).get("matches")
        if matches is None:
            continue
        if kind is not BaseRoute and matches.__module__.startswith(("starlette.", "fastapi.")):
            return matches.__get__(route), overridden
        overridden = True
    return None, overridden


def _literal_segments(route: Any) -> list[str]:
    """The whole literal segments at the start of every path of a route."""
    path: str = getattr(route, "path", "")
    literal, brace, _ = path.partition("{")
    if brace:
        literal = literal.rpartition("/")[0]
    pattern = getattr(route, "path_regex", None)
    # Users replace the pattern, for example to ignore case.
    if (
        pattern is None
        or pattern.flags & re.IGNORECASE
        or not pattern.pattern.startswith("^" + re.escape(literal))
    ):
        return []
    return literal.split("/")[1:]


def _route_path(scope: Mapping[str, Any]) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    inside = path[len(root) :] if root and path.startswith(root) else path
    # The root path "/shop" must not be cut off "/shopping".
    return inside if inside == "" or inside[0] == "/" else path
