"""`Recloser`, the extension that guards a whole Flask application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from recloser import BreakerOpenError, Mode, Outcome, Registry
from recloser.hints import knows_names, wrong
from recloser.wsgi import enabled as environment_allows
from recloser.wsgi import note_refusal
from recloser_adapters._routes import marks
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.flask import _views
from recloser_adapters.flask._config import EXTENSION, RecloserState, Settings
from recloser_adapters.flask._middleware import FlaskMiddleware
from recloser_adapters.flask._rules import FlaskKeys
from recloser_adapters.flask._status_command import commands
from recloser_adapters.werkzeug import ViewRefusedError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Endpoint = TypeVar("_Endpoint")


class Recloser:
    """Guard every rule of a Flask application with its own breaker.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the view. It is not
    counted against the view's rule. The application's error handlers for it are tried first, in
    Flask's order. If there are none, the error becomes a `ViewRefusedError`, which is a 503, so
    handlers for 503 and for `HTTPException` are tried, too.

    One object may serve several applications. If a registry is given, they share it; otherwise
    each gets its own. Arguments take precedence over the application's config:
    `RECLOSER_ENABLED`, `RECLOSER_MODE`, `RECLOSER_EXEMPT`, `RECLOSER_EXPOSE_DETAILS`,
    `RECLOSER_MAX_KEYS`, `RECLOSER_POLICY` (the fields of the default Policy, as a mapping) and
    `RECLOSER_POLICIES` (key or pattern to such a mapping). The last three describe the registry,
    so they have no effect if a registry is given.

    Args:
        app: The application. Without it, call `init_app` later.
        registry: Holds the breakers.
        key: A function that takes the environ and returns a key, or `None` to exempt the request.
            By default the key is method and rule.
        exempt: Requests that are not guarded: patterns such as `/internal/*`, or a function of the
            environ.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: The mode of the breakers, also of those of `protect`. By default the mode of their
            registry. If both are given, the more lenient one applies.
        expose_details: Whether a refusal names the key and the reason.
        enabled: False leaves the application unchanged, and `protect` guards nothing in it.
            `RECLOSER_ENABLED=0` in the environment has the same effect and takes precedence.

    Raises:
        TypeError: An argument has the wrong type; perhaps `app` and `registry` are swapped.
        ValueError: The mode is unknown, or a config value is not valid. In the second case the
            message begins with the name of the value.
        RuntimeError: The application has this extension already.
    """

    @knows_names
    def __init__(
        self,
        app: Flask | None = None,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = None,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool | None = None,
        enabled: bool | None = None,
    ) -> None:
        self._registry = registry
        self._key = key
        self._exempt = exempt
        self._classify = classify
        self._on_refuse = on_refuse
        self._mode = None if mode is None else Mode(mode)
        self._expose_details = expose_details
        self._enabled = enabled
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the breakers in front of an application, and add the command `flask recloser`."""
        if not isinstance(app, Flask):
            raise wrong("app", "a Flask application", app)
        if EXTENSION in app.extensions:
            raise RuntimeError(
                f"{app!r} has Recloser already: init_app was called twice, or after Recloser(app)"
            )
        settings = Settings.of(app.config).overridden(
            enabled=self._enabled,
            mode=self._mode,
            exempt=self._exempt,
            expose_details=self._expose_details,
        )
        registry = self._registry if self._registry is not None else settings.registry()
        exempt = _kept(settings.exempt)
        key = self._key if self._key is not None else FlaskKeys(app)
        # Made even if it is not used: it checks the arguments before the application is changed.
        middleware = FlaskMiddleware(
            app,
            registry,
            key=key,
            exempt=exempt,
            classify=self._classify,
            on_refuse=self._on_refuse,
            mode=settings.mode,
            expose_details=settings.expose_details,
        )
        if isinstance(key, FlaskKeys):
            key.unused = UnusedPatterns(exempt, registry)
        enabled = settings.enabled and environment_allows()
        app.extensions[EXTENSION] = RecloserState(
            registry,
            key=key,
            exempt=exempt,
            enabled=enabled,
            limit=(settings.mode or Mode.ENFORCE) if enabled else Mode.DISABLED,
        )
        app.cli.add_command(commands)
        if enabled:
            app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's docs do
            _answer_refusals(app)

    def protect(self, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
        """Guard one view with the breaker of `key` in its application's registry.

        See the function `protect`.
        """
        return _views.protect(None, key)

    @staticmethod
    def exempt(endpoint: _Endpoint) -> _Endpoint:
        """Mark a view, so that no breaker guards it. See the function `exempt`."""
        return marks.exempt(endpoint)

    @staticmethod
    def keyed(key: str) -> Callable[[_Endpoint], _Endpoint]:
        """Mark a view, so that it is guarded under `key`. See the function `keyed`."""
        return marks.keyed(key)


def _answer_refusals(app: Flask) -> None:
    """Answer refusals of outbound breakers that the application has no handler for."""
    handle = app.handle_user_exception

    # This is not an error handler: for any class that it could be registered for, Flask would
    # prefer it to some of the application's own handlers.
    def handle_refusal(e: Exception) -> Any:
        if Outcome.of_error(e) is not Outcome.IGNORED:
            return handle(e)
        # A refusal, or what the view raised instead: `abort(503)` where it handles one.
        note_refusal(request.environ)
        try:
            return handle(e)
        except BreakerOpenError as unhandled:
            if unhandled is not e or isinstance(e, HTTPException):
                raise
            refused = ViewRefusedError(unhandled)
            refused.__cause__ = e
            return handle(refused)

    app.handle_user_exception = handle_refusal  # type: ignore[method-assign]  # as wsgi_app


def _kept(exempt: Any) -> Any:
    # An iterator can be read only once. A single string is an error that the middleware reports.
    if isinstance(exempt, str | bytes) or not hasattr(exempt, "__iter__"):
        return exempt
    return tuple(exempt)
