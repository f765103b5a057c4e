"""Breakers for Litestar, one per route, added by a plugin.

    app = Litestar(route_handlers=[...], plugins=[BreakerPlugin(registry)])

The key of a request is its method and path template, such as `GET /items/{id}`; that of a WebSocket
begins with `WS`. Static files are exempt. Requests that match no route have no breaker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPlugin

from recloser import Mode, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED
from recloser.hints import knows_names
from recloser_adapters._routes.guarded import add_keys, keys_of, lasting
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.raised_status import EndedByStatus
from recloser_adapters._routes.routed_asgi import RoutedMiddleware, within
from recloser_adapters._routes.scope_keys import ScopeKeys, path_within
from recloser_adapters._routes.unused import KnownRoute

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "BreakerPlugin",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "keyed",
]

_STATIC = "litestar.static_files"


class RouteKeys(ScopeKeys):
    """Resolve ASGI scopes to breaker keys: method and path template, such as `GET /items/{id}`.

    A mount has one key for all paths below it: `GET /mounted/{path}`. Static files, and handlers
    that are marked by `exempt`, get `None`. A request that matches no route gets `<unmatched>`.

    Args:
        app: The application. Without it, the application that has routed the request is asked: this
            is so for middleware of the application itself, which runs after its router.
    """

    def __init__(self, app: Litestar | None = None) -> None:
        super().__init__()
        self._app = app

    def __call__(self, scope: Mapping[str, Any]) -> str | None:
        """Resolve a scope to its key, or to `None` if no breaker must guard it.

        Raises:
            LookupError: No application has routed the request, and none is known.
        """
        if self._app is not None:
            return super().__call__(scope)
        app: Litestar | None = scope.get("litestar_app")
        if app is None or "route_handler" not in scope:
            raise LookupError("no Litestar application has routed this request: pass app=, or key=")
        if self.unused is not None:
            self.unused.tell(lambda: _known(app), scope.get("root_path") or "")
        return _key(app, scope["route_handler"], scope["path_template"], scope)

    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Ask the router of the application."""
        app = self._app
        assert app is not None
        path, root = scope["path"], scope.get("root_path") or ""
        if root:
            path = path.split(root, maxsplit=1)[-1]  # as the router does
        method = scope["method"] if scope["type"] == "http" else None
        try:
            found = app.asgi_router.handle_routing(path=_normalized(path), method=method)
        except HTTPException:
            return UNMATCHED
        return _key(app, found[1], found[4], scope)

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each route without a request."""
        return () if self._app is None else _known(self._app)


class BreakerMiddleware(RoutedMiddleware):
    """Guard every route of a Litestar application with its own breaker.

    `BreakerPlugin` adds it to an application. It also works as `app = BreakerMiddleware(app)`, and
    in the `middleware` of a router, a controller or a handler as
    `DefineMiddleware(BreakerMiddleware, registry=registry)`. Litestar makes one middleware for each
    route, so the registry must be given there.

    An `HTTPException` that another middleware raises counts as its status.

    Args:
        app: The application, or what Litestar hands to a middleware.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and path template.
        classify: A function that takes a status and returns an `Outcome`.
        options: Further arguments of `recloser.asgi.BreakerMiddleware`.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.
    """

    def __init__(
        self,
        app: Any,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        classify: Callable[[int], Outcome] | None = None,
        **options: Any,
    ) -> None:
        # Made of the app itself, not of what is around it.
        key = self.route_keys(app) if key is None else key
        if callable(app) and within(app, Litestar) is None:
            app = EndedByStatus(app, _status_of, classify)
        super().__init__(app, registry, key=key, classify=classify, **options)

    @classmethod
    def route_keys(cls, app: Any) -> RouteKeys:
        """Make the keys of an application."""
        return RouteKeys(within(app, Litestar))


class BreakerPlugin(InitPlugin):
    """Guard every route of an application with its own breaker.

        app = Litestar(route_handlers=[...], plugins=[BreakerPlugin(registry)])

    The breakers are around all other middleware of the application, apart from CORS. Requests that
    match no route are answered before, so they have no breaker.

    Args:
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default the key is method and path template.
        exempt: Requests that are not guarded: patterns such as `/internal/*`, or a function of the
            scope. Within a mount, a pattern is compared with the path below the mount.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: An ASGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504.

    Attributes:
        registry: The registry.
        exempt: What is not guarded: patterns, or a function of the scope.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    @knows_names
    def __init__(
        self,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: Any = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        # An iterator can be read only once, and each route has a middleware.
        exempt = lasting(exempt)
        self._options: dict[str, Any] = {
            "key": RouteKeys() if key is None else key,
            "exempt": exempt,
            "classify": classify,
            "on_refuse": on_refuse,
            "mode": mode,
            "expose_details": expose_details,
            "cut_off": cut_off,
        }
        # It checks the arguments here, where the user wrote them, and makes the registry.
        checked = BreakerMiddleware(_nothing, registry, **self._options)
        self.registry: Registry = checked.registry
        self.exempt: Any = exempt

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the middleware to an application; Litestar calls it."""
        app_config.middleware.insert(
            0, DefineMiddleware(BreakerMiddleware, registry=self.registry, **self._options)
        )
        app_config.on_shutdown.append(self._leave)
        return app_config

    def _leave(self) -> None:
        # The middleware of Litestar never hears of the lifespan.
        if self.registry.fleet is not None:
            self.registry.fleet.leave()

    def keys_of(self, app: Litestar) -> set[str]:
        """The keys that guard routes of an application, without those of a function of the user."""
        if not isinstance(self._options["key"], RouteKeys):
            return set()
        return set(keys_of(_known(app), self.exempt))


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes, and the middleware of single routes. A
    registry may have no key that is known.

    Args:
        app: An application with the plugin, or with the middleware around it.
    """
    found: Any = within(app, Litestar)
    keys: dict[Registry, set[str]] = {}
    while isinstance(app, BreakerMiddleware):
        add_keys(keys, app)
        app = app.app
    for plugin in () if found is None else found.plugins:
        if isinstance(plugin, BreakerPlugin):
            whole = cast("Litestar", found)
            keys.setdefault(plugin.registry, set()).update(plugin.keys_of(whole))
    return keys


async def _nothing(scope: object, receive: object, send: object) -> None:
    """Stands for an application that is not known yet."""


def _status_of(error: Exception) -> int | None:
    return error.status_code if isinstance(error, HTTPException) else None


def _key(app: Litestar, handler: Any, template: str, scope: Mapping[str, Any]) -> str | None:
    method = "WS" if scope["type"] == "websocket" else scope["method"]
    if getattr(handler, "is_mount", False):
        template = _mount_template(app, handler, scope)
    return _key_of_handler(handler, method, template)


def _key_of_handler(handler: Any, method: str, template: str) -> str | None:
    if getattr(handler, "is_static", False):
        return None
    function: Any = getattr(handler, "fn", None)
    if str(getattr(function, "__module__", "")).startswith(_STATIC):
        return None
    key = marked_key(function)
    return route_key(method, template) if key is MISSING else key


def _mount_template(app: Litestar, handler: Any, scope: Mapping[str, Any]) -> str:
    """The template of a mount: the router tells that of the root, and only the rest of the path."""
    routes = app.asgi_router.route_mapping[handler.name or str(handler)]
    paths = [route.path for route in routes]
    if len(paths) > 1:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        whole = path_within({**scope, "path": raw.decode("latin-1")})
        paths = [path for path in paths if f"{whole}/".startswith(f"{path.rstrip('/')}/")] or paths
    return f"{max(paths, key=len).rstrip('/')}/{{path}}"


def _normalized(path: str) -> str:
    """The path as the router wants it: no slash at its end, no two in a row."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _known(app: Litestar) -> Iterator[KnownRoute]:
    for route in app.routes:
        for methods, handler in _handlers(route):
            template = route.path_format or "/"
            if getattr(handler, "is_mount", False):
                template = f"{route.path.rstrip('/')}/{{path}}"
            keys = (_key_of_handler(handler, method, template) for method in methods or {"GET"})
            yield KnownRoute(template, methods, frozenset(key for key in keys if key is not None))


def _handlers(route: Any) -> Iterator[tuple[frozenset[str], Any]]:
    by_method: Any = getattr(route, "route_handler_map", None)
    if by_method is not None:
        for method, found in by_method.items():
            yield frozenset({method}), found[0]
    elif route.scope_type.value == "websocket":
        yield frozenset({"WS"}), route.route_handler
    else:
        yield frozenset[str](), route.route_handler
