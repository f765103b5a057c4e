"""Breakers for Quart, one per URL rule, added in one line.

    app.asgi_app = BreakerMiddleware(app.asgi_app)

The key of a request is its method and rule, such as `GET /items/<int:id>`, blueprint prefixes
included; that of a WebSocket begins with `WS`. Static files are exempt. Requests that match no rule
share a key whose breaker never opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quart import Quart, has_request_context, request, websocket
from quart.wrappers import BaseRequestWebsocket
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from recloser import BreakerOpenError, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED, note_refusal
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters._routes.routed_asgi import RoutedMiddleware, guarded_keys_of, within
from recloser_adapters._routes.scope_keys import ScopeKeys
from recloser_adapters._routes.unused import KnownRoute
from recloser_adapters._routes.views import is_static, key_of_view
from recloser_adapters.werkzeug import RuleKeys, ViewRefusedError

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "RouteKeys",
    "exempt",
    "guarded_keys",
    "keyed",
]

_NOTES: Final = "recloser"


class RouteKeys(ScopeKeys):
    """Resolve ASGI scopes to breaker keys: method and rule, such as `GET /items/<int:id>`.

    If the application matches hosts or subdomains, the key has that of the rule before the path. A
    request that matches no rule (404, 405, a redirect that adds the last slash) gets `<unmatched>`.
    One for static files, or for a view that is marked by `exempt`, gets `None`.

    Args:
        app: The application.
    """

    def __init__(self, app: Quart) -> None:
        super().__init__()
        self._app = app
        self._rules = _Rules(app)
        self.by_host: bool = app.url_map.host_matching or app.subdomain_matching

    def resolve(self, scope: Mapping[str, Any]) -> str | None:
        """Resolve a scope without the cache."""
        headers = Headers(
            [(str(name, "latin-1"), str(value, "latin-1")) for name, value in scope["headers"]]
        )
        if scope.get("http_version", "1.1") < "1.1":
            headers.setdefault("Host", self._app.config["SERVER_NAME"] or "")
        path, root = scope["path"], scope.get("root_path") or ""
        if root:
            # As Quart does: what is not below the mount point is not found.
            path = path.removeprefix(root) if path.startswith(root) and path != root else " "
        wanted = BaseRequestWebsocket(
            scope["method"] if scope["type"] == "http" else "GET",
            scope.get("scheme", "http" if scope["type"] == "http" else "ws"),
            path,
            scope.get("query_string", b""),
            headers,
            root,
            scope.get("http_version", "1.1"),
            scope,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        )
        adapter = self._app.create_url_adapter(wanted)
        assert adapter is not None  # there is a request
        try:
            rule, _ = adapter.match(return_rule=True)
        except HTTPException:
            return UNMATCHED
        return self._rules.of_rule(rule, wanted.method)

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each rule without a request."""
        return self._rules.known()


class _Rules(RuleKeys):
    """The keys of the rules, by the marks on their views."""

    def __init__(self, app: Quart) -> None:
        super().__init__(app.url_map)
        self._app = app

    def of_rule(self, rule: Rule, method: str) -> str | None:
        if is_static(rule.endpoint, rule.rule):
            return None
        key = key_of_view(self._app.view_functions.get(rule.endpoint), method)
        return self.name_of(rule, method) if key is MISSING else key


class BreakerMiddleware(RoutedMiddleware):
    """Guard every rule of a Quart application with its own breaker.

    It works as `app.asgi_app = BreakerMiddleware(app.asgi_app)` and as
    `app = BreakerMiddleware(app)`. Its arguments, apart from `key`, are those of
    `recloser.asgi.BreakerMiddleware`.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the view. It is not
    counted against the rule. The error handlers of the application are tried first; without one,
    the client gets a 503 with `Retry-After`.

    Args:
        app: The application, or its `asgi_app`.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and rule.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.

    Raises:
        TypeError: There is no Quart application in `app`, and `key` is not given.
    """

    @classmethod
    def route_keys(cls, app: Any) -> RouteKeys:
        """Make the keys of an application."""
        found = within(app, Quart)
        if found is None:
            raise TypeError(
                f"app must be a Quart application or its asgi_app, not {app!r}: else pass key="
            )
        _note_refusals(found)
        return RouteKeys(found)


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard rules of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application in this middleware, or one with such a middleware as its `asgi_app`.
    """
    return guarded_keys_of(app)


def _note_refusals(app: Quart) -> None:
    """Note refusals that leave a view, and answer those that the application has no handler for."""
    if _NOTES in app.extensions:
        return
    app.extensions[_NOTES] = True
    handle = app.handle_user_exception

    # This is not an error handler: for any class that it could be registered for, Quart would
    # prefer it to some of the application's own handlers.
    async def handle_refusal(error: Exception) -> Any:
        if Outcome.of_error(error) is not Outcome.IGNORED:
            return await handle(error)
        # A refusal, or what the view raised instead: `abort(503)` where it handles one.
        scope: Any = (request if has_request_context() else websocket).scope
        note_refusal(scope)
        try:
            return await handle(error)
        except BreakerOpenError as unhandled:
            if unhandled is not error or isinstance(error, HTTPException):
                raise
            refused = ViewRefusedError(unhandled)
            refused.__cause__ = error
            return await handle(refused)

    app.handle_user_exception = handle_refusal  # type: ignore[method-assign]  # as asgi_app
