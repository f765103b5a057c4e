"""Breakers for Connexion 3, one per operation of the specification, added in one line.

    app.add_middleware(BreakerMiddleware, position=MiddlewarePosition.BEFORE_EXCEPTION)

The key of a request is its method and path in the specification, such as `GET /v1/items/{id}`, base
path included. It serves `AsyncApp`, `FlaskApp` and `ConnexionMiddleware`. Requests that match
nothing share a key whose breaker never opens.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from connexion.apps.abstract import AbstractApp
from connexion.middleware import ConnexionMiddleware
from connexion.middleware.routing import RoutingMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount, Router

from recloser import Mode, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED
from recloser.hints import knows_names
from recloser_adapters._routes.guarded import keys_of, lasting
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.raised_status import EndedByStatus
from recloser_adapters._routes.routed_asgi import within
from recloser_adapters._routes.scope_keys import ScopeKeys
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns
from recloser_adapters._routes.views import is_static, key_of_view
from recloser_adapters.starlette import BreakerMiddleware as StarletteMiddleware
from recloser_adapters.starlette import RouteKeys as StarletteKeys

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "keyed",
]

ASGIApp: TypeAlias = Callable[..., Any]


class RouteKeys(ScopeKeys):
    """Resolve ASGI scopes to breaker keys: method and path in the specification.

    A route beside the specification, which `app.add_url_rule`, `@app.route` or a wrapped Starlette
    application has added, has its own template. A request that matches neither (404, 405, the
    Swagger UI) gets `<unmatched>`. One for a function that is marked by `exempt` gets `None`.

    Args:
        app: The application. Without it, it is that of the first request: this is so for a
            middleware that the application itself has.
    """

    def __init__(self, app: AbstractApp | ConnexionMiddleware | None = None) -> None:
        super().__init__()
        self._app = app
        self._outside: tuple[object, StarletteKeys] | None = None

    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Ask the router of the specifications, then that of the application.

        Raises:
            LookupError: The request belongs to no Connexion application, and none is known.
        """
        app: Any = self._app or scope.get("app")
        if isinstance(app, AbstractApp):
            app = app.middleware
        if not isinstance(app, ConnexionMiddleware):
            raise LookupError("this request belongs to no Connexion application: pass key=")
        self._app = app
        if app.middleware_stack is None:
            return UNMATCHED  # it has no routes before its first request or its start
        stack: list[Any] = [*app.middleware_stack]
        operation = _operation(stack, scope) if scope["type"] == "http" else None
        if operation is not None:
            return _key_of_operation(stack[-1], operation, scope)
        return self._beside_the_specification(stack[-1], scope)

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each operation without a request; nothing if the app is not known."""
        app: Any = self._app
        if isinstance(app, AbstractApp):
            app = app.middleware
        stack: list[Any] = [] if app is None else [*(app.middleware_stack or ())]
        for prefix, route in _all_operations(stack):
            template = prefix + route.path_format
            methods = frozenset(route.methods)
            keys = set[str | None]()
            for method in methods:
                mark = _mark_of_operation(stack[-1], prefix, route.endpoint.operation_id)
                keys.add(route_key(method, template) if mark is MISSING else mark)
            yield KnownRoute(template, methods, frozenset(key for key in keys if key is not None))

    def _beside_the_specification(self, inner: Any, scope: Mapping[str, Any]) -> str | None:
        router: Any = getattr(inner, "router", None)
        if isinstance(router, Router):
            if self._outside is None or self._outside[0] is not router:
                self._outside = router, StarletteKeys(routes=router.routes)
            return self._outside[1](scope)
        found = _flask_view(inner, scope)
        if found is None:
            return UNMATCHED
        rule, view = found
        if is_static(rule.endpoint, rule.rule):
            return None
        key = key_of_view(view, scope["method"])
        return route_key(scope["method"], rule.rule) if key is MISSING else key


class BreakerMiddleware(StarletteMiddleware):
    """Guard every operation of a Connexion application with its own breaker.

        app.add_middleware(BreakerMiddleware, position=MiddlewarePosition.BEFORE_EXCEPTION)

    At this position the whole request is the call, with its validation and the handlers of errors.
    At other positions an `HTTPException` or a `ProblemException` counts as its status. It also
    works as `app = BreakerMiddleware(app)`.

    Args:
        app: What Connexion hands to a middleware, or the application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and path in the specification.
        exempt: Requests that are not guarded: patterns, or a function of the scope. For this and
            all following arguments see `recloser.asgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: An ASGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504. A plain `def` handler goes on in its thread.

    Attributes:
        routes: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.
    """

    @knows_names
    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        exempt = lasting(exempt)
        whole = within(app, AbstractApp) or within(app, ConnexionMiddleware)
        key = RouteKeys(whole) if key is None else key
        if whole is None and callable(app):
            app = EndedByStatus(app, _status_of, classify)
        super().__init__(
            app,
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
            cut_off=cut_off,
        )
        self.routes: RouteKeys | None = key if isinstance(key, RouteKeys) else None
        if self.routes is not None and self.routes.unused is None:
            self.routes.unused = UnusedPatterns(exempt, self.registry)


def guarded_keys(app: Any) -> dict[Registry, set[str]]:
    """Return the keys that guard operations of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes, and routes beside the specification. A
    registry may have no key that is known.

    Args:
        app: An application with this middleware, or one around which it is. Its operations are
            known when it has started.
    """
    keys: dict[Registry, set[str]] = {}
    around: list[BreakerMiddleware] = []
    while isinstance(app, BreakerMiddleware):
        around.append(app)
        app = app.app
    whole: Any = app.middleware if isinstance(app, AbstractApp) else app
    stack = getattr(whole, "middleware_stack", None) or ()
    around += [each for each in stack if isinstance(each, BreakerMiddleware)]
    for each in around:
        found = keys.setdefault(each.registry, set())
        if each.routes is not None:
            found.update(keys_of(RouteKeys(whole).known(), each.exempt))
    return keys


def _all_operations(stack: list[Any]) -> Iterator[tuple[str, Any]]:
    for routing in stack:
        if isinstance(routing, RoutingMiddleware):
            for mount in routing.router.routes:
                if isinstance(mount, Mount):
                    yield from ((mount.path, route) for route in mount.routes)


def _operation(stack: list[Any], scope: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The base path and the route of the operation that will answer; None if there is none."""
    for routing in stack:
        if not isinstance(routing, RoutingMiddleware):
            continue
        for mount in routing.router.routes:
            match, child = mount.matches({**scope})
            if match is Match.FULL and isinstance(mount, Mount):
                route = _route(mount.app, {**scope, **child})
                return None if route is None else (mount.path, route)
    return None


def _route(router: Any, scope: dict[str, Any]) -> Any:
    # APIs with one base path are chained: what the first does not know, the next one gets.
    seen: set[int] = set()
    while isinstance(router, Router) and id(router) not in seen:
        seen.add(id(router))
        matches = [(route, route.matches(scope)[0]) for route in router.routes]
        full = next((route for route, match in matches if match is Match.FULL), None)
        if full is not None or any(match is Match.PARTIAL for _, match in matches):
            return full
        router = router.default
    return None


def _key_of_operation(
    inner: Any, operation: tuple[str, Any], scope: Mapping[str, Any]
) -> str | None:
    prefix, route = operation
    key = _mark_of_operation(inner, prefix, route.endpoint.operation_id)
    return route_key(scope["method"], prefix + route.path_format) if key is MISSING else key


def _mark_of_operation(inner: Any, prefix: str, operation_id: str | None) -> Any:
    """The mark on the function of an operation. What Connexion makes of it has the same marks."""
    by_base_path: Any = getattr(inner, "apis", None) or {}
    apis: list[Any] = by_base_path.get(prefix, [])
    made: list[Any] = [api.operations.get(operation_id) for api in apis]
    views: Any = getattr(getattr(inner, "app", None), "view_functions", None) or {}
    made += [each for each in views.values() if getattr(each, "operation_id", 0) == operation_id]
    return next((key for each in made if (key := marked_key(each)) is not MISSING), MISSING)


def _flask_view(inner: Any, scope: Mapping[str, Any]) -> tuple[Any, object] | None:
    """The rule and the view of a `FlaskApp` that will answer; None if there is none."""
    flask: Any = getattr(inner, "app", None)
    if scope["type"] != "http" or not hasattr(flask, "url_map"):
        return None
    # Not above: Flask is optional in Connexion.
    from werkzeug.exceptions import HTTPException as WerkzeugException

    path, root = scope["path"], scope.get("root_path") or ""
    path = path.removeprefix(root) if path.startswith(f"{root}/") else path
    adapter = flask.url_map.bind("localhost", path_info=path, default_method=scope["method"])
    try:
        rule, _ = adapter.match(return_rule=True)
    except WerkzeugException:
        return None
    return rule, flask.view_functions.get(rule.endpoint)


def _status_of(error: Exception) -> int | None:
    if isinstance(error, HTTPException):  # also the problems of Connexion
        return error.status_code
    # A FlaskApp lets those of Werkzeug pass to the handlers of the application.
    of_werkzeug = any(kind.__module__ == "werkzeug.exceptions" for kind in type(error).__mro__)
    code: object = getattr(error, "code", None) if of_werkzeug else None
    return code if isinstance(code, int) else None
