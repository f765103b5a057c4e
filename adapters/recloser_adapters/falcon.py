"""Breakers for Falcon, one per route, added in one line: for WSGI and for ASGI applications.

    app = BreakerMiddleware(app)  # of a falcon.App
    app = AsgiBreakerMiddleware(app)  # of a falcon.asgi.App

The key of a request is its method and URI template, such as `GET /items/{id:int}`; that of a
WebSocket begins with `WS`. Static routes are exempt. Requests that match no route share a key whose
breaker never opens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import falcon
import falcon.asgi

from recloser import BreakerOpenError, Mode, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED, Refusal, note_refusal
from recloser.hints import knows_names
from recloser.wsgi import BreakerMiddleware as AnyWsgiMiddleware
from recloser_adapters._routes.guarded import keys_within, lasting
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.routed_asgi import RoutedMiddleware, guarded_keys_of, within
from recloser_adapters._routes.scope_keys import ScopeKeys
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "AsgiBreakerMiddleware",
    "BreakerMiddleware",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "keyed",
]

_App: TypeAlias = "falcon.App[Any, Any]"

# Where Falcon's own responders are: for a method that a resource does not have, and for OPTIONS.
_OWN: Final = "falcon.responders"
_WEBSOCKET: Final = "WEBSOCKET"
_USUAL_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFUSED: Final = 3503  # the WebSocket close code that Falcon makes of a 503
_OF_REGEX: Final = re.compile(r"[\\^$*+?{}\[\]|()]")


class RouteKeys(ScopeKeys):
    """Resolve scopes or environs to breaker keys: method and template, such as `GET /items/{id}`.

    A sink has one key for all that it takes: `GET /proxy*`, or its pattern if that is a regular
    expression. A request that matches no route, or for a method that the resource does not have
    (404, 405), gets `<unmatched>`. One for a static route, or for a resource or a responder that is
    marked by `exempt`, gets `None`.

    Middleware of Falcon that changes the path or the method of a request runs later, so it is not
    seen here.

    Args:
        app: The application, WSGI or ASGI. A router of the user must find routes by the path alone.
    """

    def __init__(self, app: _App) -> None:
        super().__init__()
        self._app = app

    def __call__(self, request: Mapping[str, Any]) -> str | None:
        """Resolve a scope or an environ to its key; `None` if no breaker must guard it."""
        if "REQUEST_METHOD" not in request:
            return super().__call__(request)
        path: str = request.get("PATH_INFO") or "/"
        if not path.isascii():
            path = path.encode("latin-1").decode("utf-8", "replace")  # PEP 3333
        method = request["REQUEST_METHOD"]
        return super().__call__({"type": "http", "method": method, "path": path, "headers": ()})

    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Ask the router of the application."""
        app = self._app
        path: str = scope["path"] or "/"
        if app.req_options.strip_url_path_trailing_slash and path != "/":
            path = path.removesuffix("/")
        is_http = scope["type"] == "http"
        method: str = scope["method"] if is_http else _WEBSOCKET
        if is_http and method == _WEBSOCKET:
            return UNMATCHED  # only Falcon itself may call a resource so
        search: Any = app._router_search
        found: Any = search(path)
        # Old routers answer a tuple of None.
        if found is not None and found[0] is not None:
            template = found[3] if len(found) > 3 and found[3] is not None else "<route>"
            return _key(found[0], found[1], method, template)
        for matcher, sink, is_sink in _sinks(app):
            if matcher.match(path):
                key = marked_key(sink) if is_sink else None
                name = "WS" if method == _WEBSOCKET else method
                return route_key(name, _name_of_sink(matcher)) if key is MISSING else key
        return UNMATCHED

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each route without a request."""
        yield from _known_routes(getattr(self._app._router, "_roots", ()))
        for matcher, sink, is_sink in _sinks(self._app):
            if is_sink:
                name = _name_of_sink(matcher)
                mark = marked_key(sink)
                found = {route_key(each, name) for each in _USUAL_METHODS}
                keys = found if mark is MISSING else {mark} - {None}
                # As a pattern of the middleware it would match its own star only.
                template = name.removesuffix("*") + "{rest}"
                yield KnownRoute(template, frozenset(), frozenset(keys))
            else:
                yield KnownRoute(f"{matcher._prefix}{{file}}", frozenset(), frozenset())


class BreakerMiddleware(AnyWsgiMiddleware):
    """Guard every route of a Falcon application with its own breaker; this is for `falcon.App`.

    Args:
        app: The application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the environ and returns a key, or `None` to exempt the request.
            By default `RouteKeys`: method and URI template.
        exempt: Requests that are not guarded: patterns, or a function of the environ. For this and
            all following arguments see `recloser.wsgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the environ.

    Raises:
        TypeError: `app` is no `falcon.App`, and `key` is not given.
    """

    @knows_names
    def __init__(
        self,
        app: WSGIApplication,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        found = within(app, falcon.App)
        if isinstance(found, falcon.asgi.App):
            raise TypeError(
                "app is a falcon.asgi.App: use recloser_adapters.falcon.AsgiBreakerMiddleware"
            )
        if key is None:
            if found is None:
                raise TypeError(f"app must be a falcon.App, not {app!r}: else pass key=")
            key = RouteKeys(found)
        if found is not None and BreakerOpenError not in found._error_handlers:
            found.add_error_handler(BreakerOpenError, _Refusals(found))
        exempt = lasting(exempt)
        super().__init__(
            app,
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
        )
        self.keys: RouteKeys | None = key if isinstance(key, RouteKeys) else None
        self.exempt: Any = exempt
        if self.keys is not None and self.keys.unused is None:
            self.keys.unused = UnusedPatterns(exempt, self.registry)


class AsgiBreakerMiddleware(RoutedMiddleware):
    """Guard every route of a Falcon application with its own breaker; for `falcon.asgi.App`.

    Its arguments, apart from `key`, are those of `recloser.asgi.BreakerMiddleware`.

    Args:
        app: The application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and URI template.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.

    Raises:
        TypeError: There is no `falcon.asgi.App` in `app`, and `key` is not given.
    """

    @classmethod
    def route_keys(cls, app: Any) -> RouteKeys:
        """Make the keys of an application."""
        found = within(app, falcon.App)
        if not isinstance(found, falcon.asgi.App):
            hint = (
                ": use recloser_adapters.falcon.BreakerMiddleware"
                if found is not None
                else ": else pass key="
            )
            raise TypeError(f"app must be a falcon.asgi.App, not {app!r}{hint}")
        whole = cast("Any", found)
        if BreakerOpenError not in whole._error_handlers:
            whole.add_error_handler(BreakerOpenError, _AsyncRefusals(whole).answer)
        return RouteKeys(whole)


class _Refusals:
    """Answers a refusal of an outbound call that a resource raised, without a vote on its route.

    A handler of the application for all exceptions is asked for the answer first.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    def __call__(self, req: Any, resp: Any, error: Exception, params: Any) -> None:
        note_refusal(req.env)
        general = self.of_the_user()
        if general is not None:
            general(req, resp, error, params)
        else:
            self.refuse(resp, error)

    def of_the_user(self) -> Any:
        handler = self._app._error_handlers.get(Exception)
        function = getattr(handler, "__func__", handler)
        is_own = str(getattr(function, "__module__", "")).split(".")[0] == "falcon"
        return None if is_own else handler

    @staticmethod
    def refuse(resp: Any, error: Exception) -> None:
        answer = Refusal.after(getattr(error, "retry_after", 0.0))
        resp.status = falcon.HTTP_503
        for name, value in answer.headers:
            resp.set_header(name, value)
        resp.data = answer.body


class _AsyncRefusals(_Refusals):
    async def answer(
        self, req: Any, resp: Any, error: Exception, params: Any, *, ws: Any = None
    ) -> None:
        note_refusal(req.scope)
        general = self.of_the_user()
        if general is not None:
            more = {} if ws is None else {"ws": ws}
            await general(req, resp, error, params, **more)
        elif ws is not None:
            await ws.close(_REFUSED)
        else:
            self.refuse(resp, error)


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application in one of the two middlewares.
    """
    keys = guarded_keys_of(app)
    for registry, found in keys_within(app, BreakerMiddleware).items():
        keys.setdefault(registry, set()).update(found)
    return keys


def _key(resource: object, responders: Mapping[str, Any], method: str, template: str) -> str | None:
    responder = responders.get(method)
    is_own = getattr(responder, "__module__", None) == _OWN
    if responder is None or (is_own and method != "OPTIONS"):
        return UNMATCHED  # 400 or 405
    for each in (responder, resource):
        key = marked_key(each)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
    return route_key("WS" if method == _WEBSOCKET else method, template)


def _sinks(app: _App) -> Iterable[tuple[Any, Any, bool]]:
    """The sinks and the static routes, in the order in which they are tried."""
    return app._sink_and_static_routes


def _name_of_sink(matcher: re.Pattern[str]) -> str:
    # A plain text is a prefix of the paths; only a regular expression says how far it goes.
    pattern = matcher.pattern
    return pattern if _OF_REGEX.search(pattern) else f"{pattern}*"


def _known_routes(nodes: Iterable[Any]) -> Iterator[KnownRoute]:
    for node in nodes:
        yield from _known_routes(node.children)
        if node.resource is None:
            continue
        keys = {
            method: _key(node.resource, node.method_map, method, node.uri_template)
            for method in node.method_map
        }
        found = {name: key for name, key in keys.items() if key != UNMATCHED}
        yield KnownRoute(
            node.uri_template,
            frozenset("WS" if name == _WEBSOCKET else name for name in found),
            frozenset(key for key in found.values() if key is not None),
        )
