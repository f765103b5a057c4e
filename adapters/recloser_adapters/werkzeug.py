"""Breakers for plain Werkzeug applications, keyed by the rules of their `routing.Map`.

    app.wsgi_app = BreakerMiddleware(app.wsgi_app, url_map=app.url_map)

The key of a request is its method and rule, such as `GET /items/<int:id>`. It is known before the
application has routed the request. Requests that match no rule share a key whose breaker never
opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.routing import Map, MapAdapter, Rule

from recloser import BreakerOpenError, Mode, Outcome, Reason, Registry, State
from recloser.hints import knows_names
from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED, Refusal
from recloser.wsgi import BreakerMiddleware as AnyAppMiddleware
from recloser_adapters._routes.guarded import keys_within, lasting
from recloser_adapters._routes.key_cache import KeyCache, RequestParts
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RuleKeys",
    "ViewRefusedError",
    "exempt",
    "guarded_keys",
    "keyed",
]


_Environ: TypeAlias = "WSGIEnvironment"


class RuleKeys:
    """Resolve WSGI environs to breaker keys: method and rule, such as `GET /items/<int:id>`.

    If the map has hosts or subdomains, the key has that of the rule before the path. A request that
    matches no rule (404, 405, a redirect) gets `<unmatched>`. A request whose endpoint is marked by
    `exempt` gets `None`. A request that was resolved before takes one look-up in a bounded cache.

    Args:
        url_map: The rules.
        bind: Binds the map to an environ in the same way as the application. By default
            `url_map.bind_to_environ`.
        view: Returns the view of a rule; the mark of the view is read. By default it is the rule's
            endpoint, which is the view function itself in many applications.

    Attributes:
        unused: Told of the rules at the first request, to log patterns that match none; or None.
    """

    def __init__(
        self,
        url_map: Map,
        *,
        bind: Callable[[_Environ], MapAdapter] | None = None,
        view: Callable[[Rule], object] | None = None,
    ) -> None:
        self._map = url_map
        self._bind = bind or url_map.bind_to_environ
        self._view = view or _endpoint
        self._cache = KeyCache()
        self.unused: UnusedPatterns | None = None

    def __call__(self, environ: _Environ) -> str | None:
        """Resolve an environ to its key, or to `None` if no breaker must guard it."""
        if "HTTP_UPGRADE" in environ:
            # A WebSocket rule may share its path with another one.
            return self._search(environ)
        # This runs for every request. A subscript takes two thirds of the time of `get`.
        host = environ["HTTP_HOST"] if "HTTP_HOST" in environ else None  # noqa: SIM401
        try:
            return self._cache.newer[environ["REQUEST_METHOD"], environ["PATH_INFO"], host]  # type: ignore[no-any-return]
        except KeyError:
            return self._look_up(
                (environ["REQUEST_METHOD"], environ.get("PATH_INFO"), host), environ
            )

    def clear(self) -> None:
        """Drop all resolved requests. Needed only if a rule is replaced by another one."""
        self._cache.clear()

    def of_rule(self, rule: Rule, method: str) -> str | None:
        """The key of a rule for one of its methods; `None` if it is exempt."""
        key = marked_key(self._view(rule))
        return self.name_of(rule, method) if key is MISSING else key

    def name_of(self, rule: Rule, method: str) -> str:
        """Method and rule. This is the key unless the view has a mark."""
        domain = (rule.host if self._map.host_matching else rule.subdomain) or ""
        return route_key("WS" if rule.websocket else method, domain + rule.rule)

    def _look_up(self, request: RequestParts, environ: _Environ) -> str | None:
        key = self._cache.recall(request)
        if key is MISSING:
            key = self._search(environ)
            if key != UNMATCHED:
                # `<unmatched>` is not cached: scanners send new paths all the time, and rules may
                # still be added.
                self._cache.put(request, key)
        return key  # type: ignore[no-any-return]  # the cache answers MISSING, too

    def _search(self, environ: _Environ) -> str | None:
        if self.unused is not None:
            self.unused.tell(self.known, environ.get("SCRIPT_NAME", ""))
        try:
            rule, _ = self._bind(environ).match(return_rule=True)
        except HTTPException:
            return UNMATCHED
        return self.of_rule(rule, environ["REQUEST_METHOD"])

    def known(self) -> Iterator[KnownRoute]:
        """What is known of each rule without a request."""
        for rule in self._map.iter_rules():
            methods = frozenset({"WS"} if rule.websocket else rule.methods or ())
            keys = (self.of_rule(rule, method) for method in methods or {"GET"})
            yield KnownRoute(rule.rule, methods, frozenset(key for key in keys if key is not None))


class BreakerMiddleware(AnyAppMiddleware):
    """Guard every rule of a Werkzeug application with its own breaker.

    Args:
        app: The WSGI application.
        registry: Holds the breakers; by default a new one.
        url_map: The rules. By default the `url_map` of `app`, or, if `app` is a bound method, that
            of its object.
        key: A function that takes the environ and returns a key, or `None` to exempt the request.
            By default `RuleKeys(url_map)`.
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
        TypeError: `key` is not given and no `url_map` is found, or `url_map` is not a `Map`.
    """

    @knows_names
    def __init__(
        self,
        app: WSGIApplication,
        registry: Registry | None = None,
        *,
        url_map: Map | None = None,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        self.check_app(app)
        if key is None:
            rules = url_map if url_map is not None else _find_map(app)
            if not isinstance(rules, Map):
                raise TypeError(f"url_map must be a werkzeug.routing.Map, not {rules!r}")
            key = RuleKeys(rules)
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
        self.keys: RuleKeys | None = key if isinstance(key, RuleKeys) else None
        self.exempt: Any = exempt
        if isinstance(key, RuleKeys):
            key.unused = UnusedPatterns(exempt, self.registry)


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard rules of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application in this middleware, or one with such an application as its `wsgi_app`.
    """
    return keys_within(app, BreakerMiddleware, ("wsgi_app", "app"))


class ViewRefusedError(BreakerOpenError, ServiceUnavailable):
    """The breaker of a view refused the call. It is also Werkzeug's `ServiceUnavailable` (503).

    If no code catches it, the response is the same as that of the middleware's refusals. In Flask,
    error handlers for `BreakerOpenError` or for 503 may answer it.
    """

    # Werkzeug also allows a date here. Here it is always seconds.
    retry_after: float  # type: ignore[assignment]

    def __init__(self, refusal: BreakerOpenError) -> None:
        # BreakerOpenError.__init__ is not called: its super() would be Werkzeug's constructor.
        ServiceUnavailable.__init__(self, "Temporarily unavailable")
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after = refusal.retry_after
        self._answer = Refusal.after(refusal.retry_after)

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the response."""
        # Content-Length is left out: users send these headers with another body.
        return [header for header in self._answer.headers if header[0] != "Content-Length"]

    def get_body(self, *args: Any, **kwargs: Any) -> str:
        """The body of the response, a problem document."""
        return self._answer.body.decode()

    def __reduce__(self) -> tuple[Any, ...]:
        # copy and pickle use the `args` of an exception. Werkzeug leaves them empty.
        refusal = BreakerOpenError(self.key, self.state, self.reason, self.retry_after)
        return type(self), (refusal,), self.__dict__


def _endpoint(rule: Rule) -> object:
    return rule.endpoint


def _find_map(app: object) -> object:
    return getattr(app, "url_map", None) or getattr(getattr(app, "__self__", None), "url_map", None)
