"""Breakers for plain Werkzeug applications, keyed by the rules of their `routing.Map`.

    app.wsgi_app = BreakerMiddleware(app.wsgi_app, url_map=app.url_map)

The key of a request is its method and rule, such as `GET /items/<int:id>`, known before the
application has routed it. Requests that no rule answers share a key that never opens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.routing import Map, MapAdapter, Rule

from recloser import BreakerOpenError, Mode, Outcome, Reason, Registry, State
from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED, Refusal
from recloser.wsgi import BreakerMiddleware as AnyAppMiddleware
from recloser_adapters._routes.key_cache import KeyCache, RequestParts
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import exempt, keyed, marked_key

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RuleKeys",
    "ViewRefusedError",
    "exempt",
    "keyed",
]

_Environ: TypeAlias = "WSGIEnvironment"


class RuleKeys:
    """Resolve WSGI environs to breaker keys: method and rule, such as `GET /items/<int:id>`.

    Where a map has hosts or subdomains, the rule's own is written before its path. A request that
    no rule answers (404, 405, a redirect) gets `<unmatched>`; one whose endpoint is marked by
    `exempt` gets `None`. A request that was resolved before takes one lookup in a bounded memory.

    Args:
        url_map: The rules.
        bind: Binds the map to an environ in the same way as the application. By default
            `url_map.bind_to_environ`.
        view: The view of a rule, whose mark is read. By default the rule's endpoint, which is the
            view function itself in many applications.
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

    def __call__(self, environ: _Environ) -> str | None:
        """Resolve an environ to its key, or to `None` when nothing shall guard it."""
        if "HTTP_UPGRADE" in environ:
            # A WebSocket rule may share its path with another one.
            return self._search(environ)
        # This runs once per request. Subscripts take two thirds of the time of `get`.
        host = environ["HTTP_HOST"] if "HTTP_HOST" in environ else None  # noqa: SIM401
        try:
            return self._cache.newer[environ["REQUEST_METHOD"], environ["PATH_INFO"], host]  # type: ignore[no-any-return]
        except KeyError:
            return self._look_up(
                (environ["REQUEST_METHOD"], environ.get("PATH_INFO"), host), environ
            )

    def clear(self) -> None:
        """Forget every resolved request. Needed only when a rule is replaced by another one."""
        self._cache.clear()

    def of_rule(self, rule: Rule, method: str) -> str | None:
        """The key of a rule for one of its methods, `None` if it is exempt."""
        key = marked_key(self._view(rule))
        return self.name_of(rule, method) if key is MISSING else key

    def name_of(self, rule: Rule, method: str) -> str:
        """Method and rule, which is the key unless a mark says otherwise."""
        domain = (rule.host if self._map.host_matching else rule.subdomain) or ""
        return route_key("WS" if rule.websocket else method, domain + rule.rule)

    def _look_up(self, request: RequestParts, environ: _Environ) -> str | None:
        key = self._cache.recall(request)
        if key is MISSING:
            key = self._search(environ)
            if key != UNMATCHED:
                # Scanners send ever new paths, and rules may still be added.
                self._cache.put(request, key)
        return key  # type: ignore[no-any-return]  # the cache answers MISSING, too

    def _search(self, environ: _Environ) -> str | None:
        try:
            rule, _ = self._bind(environ).match(return_rule=True)
        except HTTPException:
            return UNMATCHED
        return self.of_rule(rule, environ["REQUEST_METHOD"])


class BreakerMiddleware(AnyAppMiddleware):
    """Guard every rule of a Werkzeug application by a breaker of its own.

    Args:
        app: The WSGI application.
        registry: Where the breakers live; one of its own by default.
        url_map: Its rules. By default the `url_map` of `app`, or of the object whose method
            `app` is.
        key: A function from the environ to a key, or to `None` to exempt the request. By default
            `RuleKeys(url_map)`.
        exempt: What is not guarded: patterns, or a function of the environ. See
            `recloser.wsgi.BreakerMiddleware`, as for all the following.
        classify: Status to `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: What the breakers may do; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Raises:
        TypeError: There is neither `key` nor a `url_map`.
    """

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
        if key is None:
            rules = url_map if url_map is not None else _find_map(app)
            if not isinstance(rules, Map):
                raise TypeError(f"url_map must be a werkzeug.routing.Map, not {rules!r}")
            key = RuleKeys(rules)
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


class ViewRefusedError(BreakerOpenError, ServiceUnavailable):
    """A breaker around a view refused the call. It is Werkzeug's `ServiceUnavailable` (503), too.

    Where nothing catches it, the answer is that of the middleware's refusals. In Flask, error
    handlers for `BreakerOpenError` or for 503 may answer it.
    """

    # Werkzeug would also take a date here; ours are always seconds.
    retry_after: float  # type: ignore[assignment]

    def __init__(self, refusal: BreakerOpenError) -> None:
        # Not through BreakerOpenError.__init__, whose super() is Werkzeug's constructor here.
        ServiceUnavailable.__init__(self, "Temporarily unavailable")
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after = refusal.retry_after
        self._answer = Refusal.after(refusal.retry_after)

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the response."""
        # Without the length: users send these headers with a body of their own.
        return [header for header in self._answer.headers if header[0] != "Content-Length"]

    def get_body(self, *args: Any, **kwargs: Any) -> str:
        """The body of the response, a problem document."""
        return self._answer.body.decode()

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are copied and pickled by their `args`, which Werkzeug leaves empty.
        refusal = BreakerOpenError(self.key, self.state, self.reason, self.retry_after)
        return type(self), (refusal,), self.__dict__


def _endpoint(rule: Rule) -> object:
    return rule.endpoint


def _find_map(app: object) -> object:
    return getattr(app, "url_map", None) or getattr(getattr(app, "__self__", None), "url_map", None)
