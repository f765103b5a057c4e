"""Breakers for BlackSheep, one per route, added in one line.

    app = BreakerMiddleware(app)

The key of a request is its method and route pattern, such as `GET /items/{int:id}`; that of a
WebSocket begins with `WS`. Static files are exempt. Requests that match no route share a key whose
breaker never opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from blacksheep import Application, Content, Request, Response
from blacksheep.server.routing import FilterRoute, Route, RouteMethod, Router

from recloser import BreakerOpenError, Registry
from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED, Refusal, note_refusal
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.routed_asgi import RoutedMiddleware, guarded_keys_of, within
from recloser_adapters._routes.scope_keys import ScopeKeys, path_within
from recloser_adapters._routes.unused import KnownRoute

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "keyed",
    "refuse",
]

_FILES: Final = "blacksheep.server.files"
_FALLBACK: Final = b"*"  # the pattern of the handler for what matches no route
_DEEPEST: Final = 16


class RouteKeys(ScopeKeys):
    """Resolve ASGI scopes to breaker keys: method and pattern, such as `GET /items/{int:id}`.

    The pattern is the one of the route, with the prefix of its router, and with the path of each
    mount before it. What is mounted and is no BlackSheep application has one key: `GET /mounted/*`.
    A request that matches no route, or only the fallback, gets `<unmatched>`. One for static files,
    or for a handler that is marked by `exempt`, gets `None`.

    Args:
        app: The application. Its routes are known when it has started.
    """

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app
        self.by_raw_path: bool = True

    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Ask the router of the application, or that of the mounted one."""
        return self._resolve(self._app, dict(scope), "")

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each route without a request."""
        return _known(self._app, "")

    def _resolve(self, app: Application, scope: dict[str, Any], prefix: str) -> str | None:
        method = "WS" if scope["type"] == "websocket" else scope["method"]
        raw: bytes = scope.setdefault("raw_path", scope["path"].encode())
        for mount in app.mount_registry.mounted_apps:
            match = mount.match_by_path(raw)
            if match is None:
                continue
            pattern = prefix + mount.pattern.decode()
            inner = within(mount.handler, Application)
            if inner is None or marked_key(mount.handler) is not MISSING:
                return _key(mount.handler, method, pattern)
            scope["root_path"] = (scope.get("root_path") or "") + _mount_path(scope["path"], match)
            return self._resolve(inner, scope, pattern.removesuffix("/*"))
        if not app._started_complete.is_set():
            # The first request starts it, where no lifespan event has. The router would remember
            # that it knew no route for this path before.
            return UNMATCHED
        if method == "WS":
            path = path_within(scope) or "/"
            match = app.router.get_match_by_method_and_path(RouteMethod.GET_WS, path)
        else:
            # Filters may read the whole request, so the same path may have another route next time.
            self.repeatable: bool = not _has_filters(app.router)
            whole: Any = app
            match = app.router.get_match(whole.instantiate_request(scope, None))
        if match is None or match.pattern == _FALLBACK:
            handler = None if match is None else match.handler
            return None if _is_of_files(handler) else UNMATCHED
        return _key(match.handler, method, prefix + match.pattern.decode())


class BreakerMiddleware(RoutedMiddleware):
    """Guard every route of a BlackSheep application with its own breaker.

    Use it as `app = BreakerMiddleware(app)`, below the routes and for the server. Its arguments,
    apart from `key`, are those of `recloser.asgi.BreakerMiddleware`.

    Args:
        app: The application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and route pattern.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.

    Raises:
        TypeError: There is no BlackSheep application in `app`, and `key` is not given.
    """

    @classmethod
    def route_keys(cls, app: Any) -> RouteKeys:
        """Make the keys of an application."""
        found = within(app, Application)
        if found is None:
            raise TypeError(f"app must be a blacksheep.Application, not {app!r}: else pass key=")
        for each in _applications(found):
            _handlers(each).setdefault(BreakerOpenError, refuse)
        return RouteKeys(found)


async def refuse(app: Application, request: Request, error: Exception) -> Response:
    """Answer a `BreakerOpenError` that a handler raised with the middleware's 503.

    If the breaker of an outbound call refuses, the response tells the client when to try again, and
    the request is not counted against its own route. A handler of the application for `Exception`
    is asked for the answer first.
    """
    scope: Any = request.scope
    note_refusal(scope)
    general: Any = _handlers(app).get(Exception)
    if general is not None:
        response: Response = await general(app, request, error)
        return response
    answer = Refusal.after(getattr(error, "retry_after", 0.0))
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    kind = next(value for name, value in headers if name.lower() == b"content-type")
    others = [header for header in headers if not header[0].lower().startswith(b"content-")]
    return Response(503, others, Content(kind, answer.body))


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application in this middleware. Its routes are known when it has started.
    """
    return guarded_keys_of(app)


def _handlers(app: Any) -> Any:
    return app.exceptions_handlers


def _applications(app: Application) -> Iterator[Application]:
    yield app
    for mount in app.mount_registry.mounted_apps:
        inner = within(mount.handler, Application)
        if inner is not None:
            yield from _applications(inner)


def _mount_path(path: str, match: Any) -> str:
    """The part of a path that leads to a mount, as the application itself cuts it off."""
    tail = "/" + match.values["tail"]
    return path[: -len(tail)] if tail != "/" else path.rstrip("/")


def _key(handler: Any, method: str, pattern: str) -> str | None:
    # The application wraps a handler, and the middlewares around it: each names what is inside.
    for _ in range(_DEEPEST):
        key = marked_key(handler)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
        if handler is None or _is_of_files(handler):
            break
        handler = getattr(handler, "root_fn", None)
    return route_key(method, pattern) if handler is None else None


def _is_of_files(handler: Any) -> bool:
    """Whether a handler, or what it wraps, serves the files of a folder."""
    for _ in range(_DEEPEST):
        if str(getattr(handler, "__module__", "")).startswith(_FILES):
            return True
        handler = getattr(handler, "root_fn", None)
    return False


def _routers(router: Router) -> Iterator[Router]:
    yield router
    for each in router._sub_routers or ():
        yield from _routers(each)


def _has_filters(router: Router) -> bool:
    return any(
        isinstance(route, FilterRoute)
        for each in _routers(router)
        for routes in each.routes.values()
        for route in routes
    )


def _known(app: Application, prefix: str) -> Iterator[KnownRoute]:
    for mount in app.mount_registry.mounted_apps:
        pattern = prefix + mount.pattern.decode()
        inner = within(mount.handler, Application)
        if inner is None or marked_key(mount.handler) is not MISSING:
            yield _known_route(mount, "", pattern)
        else:
            yield from _known(inner, pattern.removesuffix("/*"))
    for router in _routers(app.router):
        for method, routes in router.routes.items():
            for route in routes:
                name = method.decode()
                method_of_key = "WS" if name == RouteMethod.GET_WS else name
                yield _known_route(route, method_of_key, prefix + route.pattern.decode())


def _known_route(route: Route, method: str, pattern: str) -> KnownRoute:
    key = _key(route.handler, method or "GET", pattern)
    methods = frozenset({method} if method else ())
    # As a pattern of the middleware it would match its own star only.
    template = pattern.removesuffix("*") + "{tail}" if pattern.endswith("*") else pattern
    return KnownRoute(template, methods, frozenset(() if key is None else {key}))
