"""Breakers for Bottle, one per route, added in one line.

    run(BreakerMiddleware(app))

The key of a request is its method and rule, such as `GET /orders/<id:int>`. It is known before
Bottle has routed the request. Requests that match no rule share a key whose breaker never opens.
"""

# Bottle has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from bottle import Bottle, HTTPError, HTTPResponse, Route, request

from recloser import BreakerOpenError, Mode, Outcome, Registry
from recloser.hints import knows_names
from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED, Refusal, note_refusal
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.routed_wsgi import RoutedMiddleware, WsgiKeys, guarded_keys
from recloser_adapters._routes.unused import KnownRoute

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RuleKeys",
    "exempt",
    "guarded_keys",
    "keyed",
    "refuse",
]

_DEEPEST_WRAPPING: Final = 64
# Methods of a rule that stand for any method. PROXY is that of a mounted WSGI application.
_ANY: Final = ("ANY", "PROXY")


class RuleKeys(WsgiKeys):
    """Resolve WSGI environs to keys: method and rule, such as `GET /orders/<id:int>`.

    A request that matches no rule (404, 405, or a filter that rejects its path) gets `<unmatched>`.
    A request whose callback is marked by `exempt` gets `None`. Rules of a mounted Bottle have the
    prefix before them; another WSGI application that is mounted has one key per method.

    Args:
        app: The application whose rules are read.
    """

    def __init__(self, app: Bottle) -> None:
        super().__init__()
        self._app = app

    def resolve(self, environ: WSGIEnvironment) -> tuple[str | None, bool]:
        """The key of a request. Method and path alone decide on it."""
        method = environ["REQUEST_METHOD"].upper()
        # As Bottle does before it asks its router.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "ignore")
        return self._find(self._app, method, path, ""), True

    def known(self) -> Iterator[KnownRoute]:
        """What is known of each rule without a request."""
        return self._known(self._app, "")

    def _find(self, app: Bottle, method: str, path: str, prefix: str) -> str | None:
        try:
            # Its router reads only these two, and a copy is left as it is.
            route, _ = app.match({"REQUEST_METHOD": method, "PATH_INFO": path})
        except HTTPError:
            return UNMATCHED
        inner = _mounted(route)
        if inner is None or marked_key(inner) is not MISSING:
            return _key_of(route, method, prefix, inner)
        start = _prefix_of(route)
        rest = "/" + path.removeprefix("/")[len(start) :].lstrip("/")
        return self._find(inner, method, rest, prefix + start)

    def _known(self, app: Bottle, prefix: str) -> Iterator[KnownRoute]:
        for route in app.routes:
            inner = _mounted(route)
            if inner is not None and marked_key(inner) is MISSING:
                yield from self._known(inner, prefix + _prefix_of(route))
                continue
            methods = frozenset(() if route.method in _ANY else {route.method})
            keys = (_key_of(route, method, prefix, inner) for method in methods or {"GET"})
            yield KnownRoute(
                prefix + route.rule, methods, frozenset(key for key in keys if key is not None)
            )


class BreakerMiddleware(RoutedMiddleware):
    """Guard every rule of a Bottle application with its own breaker.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the callback. It is
    not counted against the rule, and its answer is a 503 that says when to come again.

    Args:
        app: The application, or a WSGI application around it.
        registry: Holds the breakers; by default a new one.
        bottle: The Bottle whose rules are read, if it cannot be found in `app`.
        key: A function that takes the environ and returns a key, or `None` to exempt the request.
            By default `RuleKeys`: method and rule.
        exempt: Requests that are not guarded: patterns, or a function of the environ. For this and
            all following arguments see `recloser.wsgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Raises:
        TypeError: No Bottle is found in `app`, or an argument has the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    @knows_names
    def __init__(
        self,
        app: WSGIApplication | Bottle,
        registry: Registry | None = None,
        *,
        bottle: Bottle | None = None,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        found: Any = bottle if bottle is not None else _find_bottle(app)
        if found is not None and not isinstance(found, Bottle):
            raise TypeError(f"bottle must be a bottle.Bottle, not {found!r}")
        if found is None and key is None:
            raise TypeError(f"app must be a bottle.Bottle, not {app!r}: pass bottle=, or key=")
        rules: Any = found
        super().__init__(
            app,
            registry,
            key=RuleKeys(rules) if key is None else key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
        )
        if found is not None:
            _answer_refusals(found)


def refuse(error: BreakerOpenError) -> HTTPResponse:
    """Answer a `BreakerOpenError` with the middleware's 503, not counted against the rule.

    In a callback that catches the error: `return refuse(error)`.
    """
    note_refusal(request.environ)
    answer = Refusal.after(error.retry_after)
    body: Any = answer.body
    return HTTPResponse(body, 503, list(answer.headers))


class _RefusalPlugin:
    """Answers refusals of outbound breakers. Bottle would make a 500 of them, and hide the error."""

    name = "recloser"
    api = 2

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        """Wrap a callback."""

        def answered(*args: Any, **kwargs: Any) -> Any:
            try:
                result = callback(*args, **kwargs)
            except BreakerOpenError as error:
                return refuse(error)
            except Exception as error:
                # What the callback raised instead: `abort(503)` where it handles a refusal.
                if Outcome.of_error(error) is Outcome.IGNORED:
                    note_refusal(request.environ)
                raise
            return _items(result) if type(result) is GeneratorType else result

        return answered


def _items(items: GeneratorType[Any, None, Any]) -> Iterator[Any]:
    """Iterate over what a callback yields. Bottle takes a response that its first step raises."""
    begun = False
    try:
        for item in items:
            begun = begun or bool(item)
            yield item
    except BreakerOpenError as error:
        if begun:
            raise
        raise refuse(error) from None
    finally:
        items.close()


def _answer_refusals(app: Bottle) -> None:
    """Install the plugin in an application, and in those that are mounted in it or merged."""
    # Each route has the plugins of the application that it was made in.
    for each in {id(app): app, **{id(route.app): route.app for route in app.routes}}.values():
        if not any(isinstance(plugin, _RefusalPlugin) for plugin in each.plugins):
            each.install(_RefusalPlugin())
    for route in app.routes:
        inner = _mounted(route)
        if inner is not None and inner is not app:
            _answer_refusals(inner)


def _key_of(route: Route, method: str, prefix: str, inner: Bottle | None) -> str | None:
    for marked in (route.callback, inner, route.config.get("mountpoint.target")):
        key = marked_key(marked)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
    return route_key(method, prefix + route.rule)


def _mounted(route: Route) -> Bottle | None:
    """The Bottle that a rule leads to, if it was mounted as a WSGI application."""
    target = route.config.get("mountpoint.target")
    return target if isinstance(target, Bottle) else None


def _prefix_of(route: Route) -> str:
    return "/" + str(route.config["mountpoint.prefix"]).strip("/")


def _find_bottle(app: Any) -> Any:
    for _ in range(_DEEPEST_WRAPPING):
        if app is None or isinstance(app, Bottle):
            return app
        app = getattr(app, "app", None) or getattr(app, "__self__", None)
    return None
