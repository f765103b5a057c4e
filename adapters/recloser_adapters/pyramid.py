"""Breakers for Pyramid, one per route, added in one line.

    config.include("recloser_adapters.pyramid")

The key of a request is its method and route pattern, such as `GET /orders/{id}`. It is known before
Pyramid has made the request. Requests that match no route share a key whose breaker never opens. In
an application that uses traversal, they share one key per method: `GET <traversal>`.

Settings: `recloser.mode`, `recloser.exempt` and `recloser.expose_details`. For the rest, call
`config.set_breakers(registry=registry, ...)` after the line above.
"""

# Pyramid has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pyramid.config import Configurator
from pyramid.interfaces import IExecutionPolicy, IRootFactory, IRoutesMapper
from pyramid.predicates import PathInfoPredicate, RequestMethodPredicate, TraversePredicate
from pyramid.request import Request
from pyramid.response import Response
from pyramid.router import default_execution_policy
from pyramid.settings import asbool, aslist
from pyramid.traversal import DefaultRootFactory
from pyramid.tweens import EXCVIEW

from recloser import BreakerOpenError, Mode, Outcome, Registry
from recloser.hints import knows_names
from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED, Refusal, note_refusal
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.routed_wsgi import RoutedMiddleware, WsgiKeys, guarded_keys
from recloser_adapters._routes.unused import KnownRoute

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerPolicy",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "includeme",
    "keyed",
    "refusal_tween_factory",
    "refuse",
    "set_breakers",
]

_ROUTER: Final = "recloser.pyramid.router"
_TRAVERSAL: Final = "<traversal>"
_SETTINGS: Final = ("mode", "exempt", "expose_details")
# These predicates of a route depend on method and path alone.
_OF_METHOD_AND_PATH: Final = (RequestMethodPredicate, PathInfoPredicate, TraversePredicate)
# Later than all actions of Pyramid and of other packages, which may set an execution policy.
_LAST: Final = 10_000


class RouteKeys(WsgiKeys):
    """Resolve WSGI environs to keys: method and route pattern, such as `GET /orders/{id}`.

    A request that matches no route gets `<unmatched>`, or `<traversal>` after its method if the
    application uses traversal: it has no routes, or a root factory of its own. A static view, and a
    view that is marked by `exempt`, get `None`. If a route has several views for a method, a mark
    counts if they all have it.

    Args:
        registry: The registry of the application, such as `config.registry`.
    """

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry
        self._marks: dict[str, list[tuple[frozenset[str], Any]]] | None = None

    def resolve(self, environ: WSGIEnvironment) -> tuple[str | None, bool]:
        """The key of a request, and whether method and path alone decide on it."""
        method: str = environ["REQUEST_METHOD"]
        repeatable = True
        try:
            path: str = Request(environ).path_info or "/"
        except UnicodeDecodeError:
            return UNMATCHED, False  # Pyramid answers 400
        mapper = self._registry.queryUtility(IRoutesMapper)
        for route in () if mapper is None else mapper.get_routes():
            match = route.match(path)
            if match is None:
                continue
            if route.predicates:
                repeatable = repeatable and all(map(_is_repeatable, route.predicates))
                if not self._accepts(route, match, environ):
                    continue
            return self._key_of(route, method), repeatable
        return route_key(method, _TRAVERSAL) if self._traverses else UNMATCHED, repeatable

    def known(self) -> Iterator[KnownRoute]:
        """What is known of each route without a request."""
        mapper = self._registry.queryUtility(IRoutesMapper)
        for route in () if mapper is None else mapper.get_routes():
            methods = _methods_of(route)
            keys = (self._key_of(route, method) for method in methods or {"GET"})
            yield KnownRoute(
                _template(route), methods, frozenset(key for key in keys if key is not None)
            )

    @property
    def _traverses(self) -> bool:
        query = self._registry.queryUtility
        if query(IRootFactory, default=DefaultRootFactory) is not DefaultRootFactory:
            return True
        mapper = query(IRoutesMapper)
        return mapper is None or not mapper.get_routes()

    @staticmethod
    def _accepts(route: Any, match: dict[str, Any], environ: WSGIEnvironment) -> bool:
        # A predicate may use whatever requests have in this application.
        with environ[_ROUTER].request_context(environ) as request:
            info = {"match": match, "route": route}
            return all(predicate(info, request) for predicate in route.predicates)

    def _key_of(self, route: Any, method: str) -> str | None:
        template = _template(route)
        if route.name.startswith("__") and template.endswith("*subpath"):
            return None  # a static view
        if self._marks is None:
            self._marks = _marks_of_views(self._registry.introspector)
        views = self._marks.get(route.name, ())
        marks = [mark for methods, mark in views if not methods or method in methods]
        # Equal marks: compared, not collected in a set, since any object may be one.
        if marks and marks[0] is not MISSING and all(mark == marks[0] for mark in marks):
            return marks[0]  # type: ignore[no-any-return]  # marked_key answers MISSING, too
        return route_key(method, template)


class BreakerPolicy:
    """The execution policy of a guarded application: it puts the middleware around another policy.

    So the breakers are outside of all tweens, and see the whole response.

    Args:
        policy: The policy that answers requests.
        options: As for `set_breakers`.

    Attributes:
        policy: The policy that answers requests.
        app: The middleware around it.
    """

    def __init__(self, policy: Any, **options: Any) -> None:
        self.policy: Any = policy
        self.app: RoutedMiddleware = RoutedMiddleware(self._answer, **options)

    def __call__(self, environ: WSGIEnvironment, router: Any) -> WSGIApplication:
        """Return what answers a request: Pyramid calls it as it calls a response."""
        environ[_ROUTER] = router
        return self.app

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self.policy(environ, environ[_ROUTER])
        body: Iterable[bytes] = response(environ, start_response)
        return body


def includeme(config: Configurator) -> None:
    """Guard every route of an application. Called by `config.include("recloser_adapters.pyramid")`.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the view. It is not
    counted against the view's route. Its answer is a 503 that says when to come again, unless the
    application has an exception view for it.

    Raises:
        ValueError: A setting is not valid, or its name is unknown.
    """
    config.add_directive("set_breakers", set_breakers)
    config.add_tween("recloser_adapters.pyramid.refusal_tween_factory", under=EXCVIEW)
    config.add_exception_view(refuse, context=BreakerOpenError)
    set_breakers(config)


@knows_names
def set_breakers(
    config: Configurator,
    registry: Registry | None = None,
    *,
    key: Callable[[Any], str | None] | None = None,
    exempt: Any = None,
    classify: Callable[[int], Outcome] | None = None,
    on_refuse: WSGIApplication | None = None,
    mode: Mode | str | None = None,
    expose_details: bool | None = None,
) -> None:
    """Set what guards an application. It is the directive `config.set_breakers(...)`.

    Arguments take precedence over settings.

    Args:
        config: The configurator of the application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the environ and returns a key, or `None` to exempt the request.
            By default `RouteKeys`: method and route pattern.
        exempt: Requests that are not guarded: patterns, or a function of the environ. For this and
            all following arguments see `recloser.wsgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A pattern can never match, the mode is unknown, or a setting is.
    """
    application: Any = config.registry
    options = {"exempt": exempt, "mode": mode, "expose_details": expose_details}
    given = {name: value for name, value in options.items() if value is not None}
    make: Callable[[Any], BreakerPolicy] = partial(
        BreakerPolicy,
        # One for each application that is made, as is `application`.
        registry=registry if registry is not None else Registry(),
        key=key if key is not None else RouteKeys(application),
        classify=classify,
        on_refuse=on_refuse,
        **{**_settings_of(application.settings), **given},
    )
    make(None)  # it checks the arguments where they are written

    def register() -> None:
        policy = application.queryUtility(IExecutionPolicy, default=default_execution_policy)
        if isinstance(policy, BreakerPolicy):  # a configurator that commits each action at once
            policy = policy.policy
        application.registerUtility(make(policy), IExecutionPolicy)

    config.action("recloser_adapters.pyramid", register, order=_LAST)


def refuse(error: BreakerOpenError, request: Request) -> Response:
    """Answer a `BreakerOpenError` with the middleware's 503, not counted against the route.

    In a view that catches the error: `return refuse(error, request)`.
    """
    note_refusal(request.environ)
    answer = Refusal.after(error.retry_after)
    return Response(body=answer.body, status=503, headerlist=list(answer.headers))


def refusal_tween_factory(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
    """Make the tween that notes which errors stand for refusals, before exception views see them."""

    def refusal_tween(request: Request) -> Any:
        try:
            return handler(request)
        except Exception as error:
            if Outcome.of_error(error) is Outcome.IGNORED:
                note_refusal(request.environ)
            raise

    return refusal_tween


def _settings_of(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in (settings or {}).items():
        prefix, _, option = str(name).partition(".")
        if prefix != "recloser":
            continue
        if option not in _SETTINGS:
            raise ValueError(f"{name}: unknown; there are recloser.{', recloser.'.join(_SETTINGS)}")
        found[option] = value
    if "exempt" in found:
        found["exempt"] = aslist(found["exempt"], flatten=False)
    if "expose_details" in found:
        found["expose_details"] = asbool(found["expose_details"])
    return found


def _template(route: Any) -> str:
    pattern: str = route.pattern
    return pattern if pattern.startswith("/") else f"/{pattern}"


def _methods_of(route: Any) -> frozenset[str]:
    """The methods of a route; empty for any."""
    for predicate in route.predicates:
        if isinstance(predicate, RequestMethodPredicate):
            methods: Any = predicate.val
            return frozenset(methods)
    return frozenset()


def _is_repeatable(predicate: Any) -> bool:
    return isinstance(predicate, _OF_METHOD_AND_PATH)


def _marks_of_views(introspector: Any) -> dict[str, list[tuple[frozenset[str], Any]]]:
    """The methods and the mark of each view, by the name of its route."""
    marks: dict[str, list[tuple[frozenset[str], Any]]] = {}
    for entry in introspector.get_category("views") or ():
        view = entry["introspectable"]
        if view["route_name"] is None or view["exception_only"]:
            continue
        methods = view["request_methods"] or ()
        methods = {methods} if isinstance(methods, str) else set(methods)
        # Pyramid adds HEAD by itself.
        methods |= {"HEAD"} if "GET" in methods else set()
        of_method = getattr(view["callable"], view["attr"] or "__call__", None)
        mark = marked_key(of_method)
        if mark is MISSING:
            mark = marked_key(view["callable"])
        marks.setdefault(view["route_name"], []).append((frozenset(methods), mark))
    return marks
