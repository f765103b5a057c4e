"""`Recloser`: the extension that guards a whole Flask application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from recloser import BreakerOpenError, Mode, Outcome, Registry
from recloser.wsgi import BreakerMiddleware, note_refusal
from recloser.wsgi import enabled as environment_allows
from recloser_adapters._routes import marks
from recloser_adapters.flask import _views
from recloser_adapters.flask._config import EXTENSION, RecloserState, Settings
from recloser_adapters.flask._rules import FlaskKeys
from recloser_adapters.flask._status_command import commands
from recloser_adapters.werkzeug import ViewRefusedError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Endpoint = TypeVar("_Endpoint")


class Recloser:
    """Guard every rule of a Flask application by a breaker of its own.

    A `BreakerOpenError` that leaves a view, because the breaker of an outbound call refused, is not
    counted against the view's rule. The application's error handlers for it answer, in Flask's
    order. Where there are none it becomes a `ViewRefusedError`, which is a 503: handlers for 503
    and for `HTTPException` are then tried, too.

    One object may serve several applications. Each gets a registry of its own, unless one is
    given, which they then share. Arguments win over the application's config: `RECLOSER_ENABLED`,
    `RECLOSER_MODE`, `RECLOSER_EXEMPT`, `RECLOSER_EXPOSE_DETAILS`, `RECLOSER_MAX_KEYS`,
    `RECLOSER_POLICY` (the fields of the default Policy, as a mapping) and `RECLOSER_POLICIES` (key
    or pattern to such a mapping). The last three describe the registry, so they have no effect
    where one is given.

    Args:
        app: The application; or call `init_app` later.
        registry: Where the breakers live.
        key: A function from the environ to a key, or to `None` to exempt the request. By default
            method and rule.
        exempt: What is not guarded: patterns such as `/internal/*`, or a function of the environ.
        classify: Status to `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: What the breakers may do, those of `protect` too. By default their registry's mode;
            if both are given, the more lenient one holds.
        expose_details: Whether a refusal names the key and the reason.
        enabled: False leaves the application as it is, and `protect` guards nothing in it.
            `RECLOSER_ENABLED=0` in the environment does the same, whatever is given here.

    Raises:
        TypeError: An argument is of the wrong type; perhaps `app` and `registry` are swapped.
        ValueError: The mode is unknown, or a config value cannot be used; the message begins
            with its name.
        RuntimeError: The application has this extension already.
    """

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
        """Install the breakers in front of an application, and `flask recloser`."""
        if not isinstance(app, Flask):
            raise TypeError(f"app must be a Flask application, not {app!r}")
        if EXTENSION in app.extensions:
            raise RuntimeError(f"{app!r} has its breakers already: init_app was called twice")
        settings = Settings.of(app.config).overridden(
            enabled=self._enabled,
            mode=self._mode,
            exempt=self._exempt,
            expose_details=self._expose_details,
        )
        registry = self._registry if self._registry is not None else settings.registry()
        exempt = _kept(settings.exempt)
        key = self._key if self._key is not None else FlaskKeys(app)
        # Made also where it is not used: it checks the arguments before the application is changed.
        middleware = BreakerMiddleware(
            app.wsgi_app,
            registry,
            key=key,
            exempt=exempt,
            classify=self._classify,
            on_refuse=self._on_refuse,
            mode=settings.mode,
            expose_details=settings.expose_details,
        )
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
        """Guard one view by the breaker of `key` in its application's registry.

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
    """Answer a refusal by the breaker of an outbound call, where the application does not."""
    handle = app.handle_user_exception

    # Not by an error handler: whatever class it was registered for, Flask would prefer it to some of
    # the application's own handlers.
    def handle_refusal(e: Exception) -> Any:
        if not isinstance(e, BreakerOpenError):
            return handle(e)
        note_refusal(request.environ)
        try:
            return handle(e)
        except BreakerOpenError as unhandled:
            if unhandled is not e or isinstance(e, HTTPException):
                raise
            refused = ViewRefusedError(e)
            refused.__cause__ = e
            return handle(refused)

    app.handle_user_exception = handle_refusal  # type: ignore[method-assign]  # as wsgi_app


def _kept(exempt: Any) -> Any:
    # An iterator could be read only once. A single string is a mistake, which the middleware reports.
    if isinstance(exempt, str | bytes) or not hasattr(exempt, "__iter__"):
        return exempt
    return tuple(exempt)
