"""Breakers for Flask: one per rule, in one line.

    Recloser(app)

The key of a request is its method and rule, such as `GET /items/<int:id>`, blueprint prefixes
included. Static files are exempt; requests that no rule answers share a key that never opens.
Each worker process has breakers of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, cast

from flask import Flask, Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException

from recloser import (
    BreakerOpenError,
    LoosePermit,
    Mode,
    Outcome,
    Permit,
    Refused,
    Registry,
    Unguarded,
)
from recloser.wsgi import DEFAULT_EXEMPT, REFUSED, BreakerMiddleware, Refusal, note_refusal
from recloser.wsgi import enabled as environment_allows
from recloser_adapters._flask_config import RecloserState, Settings
from recloser_adapters._flask_rules import FlaskKeys, mark_protected
from recloser_adapters._flask_status import commands
from recloser_adapters._routing import UNMATCHED, exempt, is_async, keyed
from recloser_adapters.werkzeug import ViewRefusedError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "Recloser",
    "RecloserState",
    "ViewRefusedError",
    "exempt",
    "keyed",
    "protect",
    "refuse",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Endpoint = TypeVar("_Endpoint")
_NAME: Final = "recloser"
_BODILESS: Final = (204, 304)  # RFC 9110: No Content, Not Modified


class Recloser:
    """Guard every rule of a Flask application by a breaker of its own.

    A `BreakerOpenError` that a view lets pass, from an outbound call, is not counted against its
    rule. Error handlers of the application answer it, in Flask's order; where none does it is a
    `ViewRefusedError`, thus a 503 that those for 503 and `HTTPException` are asked about, too.

    One object may serve several applications: each gets a registry of its own, unless one is
    given, which they then share. What is given here wins over the application's config:
    `RECLOSER_ENABLED`, `RECLOSER_MODE`, `RECLOSER_EXEMPT`, `RECLOSER_EXPOSE_DETAILS`,
    `RECLOSER_MAX_KEYS`, and `RECLOSER_POLICY` (the fields of the default Policy, as a mapping)
    and `RECLOSER_POLICIES` (key or pattern to such a mapping); the last three shape the registry,
    so they say nothing where one is given.

    Args:
        app: The application; or call `init_app` later.
        registry: Where the breakers live.
        key: A function from the environ to a key, or to `None` to exempt the request. By default
            method and rule.
        exempt: What is not guarded: patterns such as `/internal/*`, or a function of the environ.
        classify: Status to `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: What the breakers may do, those of `protect` too. By default their registry's mode;
            else the more lenient of the two holds.
        expose_details: Whether a refusal names the key and the reason.
        enabled: False leaves the application as it is, `protect` guards nothing in it either.
            So does `RECLOSER_ENABLED=0` in the environment, whatever is given here.

    Raises:
        TypeError: An argument is of the wrong type; `app` and `registry` may be swapped.
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
        if _NAME in app.extensions:
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
        # Made in any case: it finds the mistakes, and before the application was touched.
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
        app.extensions[_NAME] = RecloserState(
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
        return protect(None, key)

    @staticmethod
    def exempt(endpoint: _Endpoint) -> _Endpoint:
        """Mark a view, so that no breaker guards it. See the function `exempt`."""
        return exempt(endpoint)

    @staticmethod
    def keyed(key: str) -> Callable[[_Endpoint], _Endpoint]:
        """Mark a view, so that it is guarded under `key`. See the function `keyed`."""
        return keyed(key)


def protect(registry: Registry | None, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one view, `def` or `async def`, by the breaker of `key`.

    Place it next to the function, below the decorator that registers the rule, or on a method of
    a class-based view. The view has this breaker instead of its rule's. A returned or raised
    status of 500 and above is a failure, 4xx has no vote; a streamed body is watched to its end.
    Not seen: what `before_request` and `after_request` functions and error handlers make of the
    call.

    Where the application has a `Recloser`, its `mode` and its off switches hold here, too.

    Args:
        registry: Where the breaker lives; `None` for that of the current application.
        key: Its key. Views that depend on the same thing may share it.

    Raises:
        TypeError: What is decorated is a class: decorate its methods.
    """
    limit = Mode.ENFORCE if environment_allows() else Mode.DISABLED

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        if isinstance(view, type) or not callable(view):
            raise TypeError(f"protect needs a function, got {view!r}: decorate its methods")

        @functools.wraps(view)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            permit = _admit(registry, key, limit)
            if permit is None:
                return view(*args, **kwargs)
            with _Verdict(permit) as verdict:
                return verdict.watch(view(*args, **kwargs))

        @functools.wraps(view)
        async def guarded_async(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            permit = _admit(registry, key, limit)
            if permit is None:
                return await cast("Any", view(*args, **kwargs))
            with _Verdict(permit) as verdict:
                return verdict.watch(await cast("Any", view(*args, **kwargs)))

        protected: Any = guarded_async if is_async(view) else guarded
        return cast("Callable[_P, _R]", mark_protected(protected, registry, key))

    return decorate


def refuse(error: BreakerOpenError) -> Response:
    """Answer a `BreakerOpenError` by the middleware's 503, and do not count it against the rule.

    For a view that answers by itself what `Recloser` would have answered:

        except BreakerOpenError as error:
            return refuse(error)

    And for an application without `Recloser`:

        app.register_error_handler(BreakerOpenError, refuse)
    """
    note_refusal(request.environ)
    answer = Refusal.after(error.retry_after)
    return current_app.response_class(answer.body, 503, answer.headers)


def _answer_refusals(app: Flask) -> None:
    """Answer what the breakers of outbound calls refuse, where the application does not."""
    handle = app.handle_user_exception

    # No error handler: whichever class that was registered for, it would come before some of the
    # application's own, and it would not know of what those answer.
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


def _admit(registry: Registry | None, key: str, limit: Mode) -> Permit | None:
    """Ask for admission; None if nobody guards this call.

    Raises:
        ViewRefusedError: The call is refused.
        RuntimeError: There is neither a registry nor an application that has one.
    """
    state: RecloserState | None = current_app.extensions.get(_NAME)
    if registry is None:
        if state is None:
            raise RuntimeError("protect(None, ...) needs Recloser(app), or a registry of its own")
        registry = state.registry
    mode = limit if state is None else state.mode_in(registry)
    if mode is Mode.DISABLED:
        return None
    breaker = registry[key]
    permit = breaker.admit(_ViewPermit)
    if isinstance(permit, Unguarded) or (isinstance(permit, Refused) and mode is not Mode.ENFORCE):
        return None
    if isinstance(permit, Refused):
        if has_request_context():
            note_refusal(request.environ)
        raise ViewRefusedError(permit.error())
    return permit


class _ViewPermit(LoosePermit):
    """The permit of a view: what it lets out is its own, also where that was a client's error."""

    __slots__ = ()

    reads_status = False


class _Verdict:
    """Ends a permit by what a view raised or returned."""

    __slots__ = ("_permit", "_streams")

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._streams = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, HTTPException) and not isinstance(error, BreakerOpenError):
            status = getattr(error.get_response(), "status_code", 500)
            self._permit.end(_outcome(status), error=error)
        elif error is not None or not self._streams:
            self._permit.end_by_error(error)

    def watch(self, result: Any) -> Response:
        # Flask would do the same a moment later; only a response has a status.
        response = current_app.make_response(result)
        outcome = _outcome(response.status_code)
        if outcome is Outcome.SUCCESS and _is_streamed(response):
            self._streams = True
            self._permit.mark()
            response.response = cast("Any", _WatchedBody(response.response, self._permit))
        else:
            self._permit.end(outcome, error=f"HTTP {response.status_code}")
        return response


def _is_streamed(response: Response) -> bool:
    """Whether the response has a body to come, and that is no file for the server to send."""
    is_head = has_request_context() and request.method == "HEAD"
    if is_head or response.status_code in _BODILESS or not response.is_streamed:
        return False
    return not response.direct_passthrough or type(response.response) is GeneratorType


def _outcome(status: int) -> Outcome:
    outcome = Outcome.of_status(status)
    if outcome is Outcome.FAILURE and has_request_context() and request.environ.get(REFUSED):
        # The answer to another breaker's refusal.
        return Outcome.IGNORED
    return outcome


class _WatchedBody:
    """A streamed body that ends a permit with its last piece, its error, or its `close()`."""

    def __init__(self, body: Any, permit: Permit) -> None:
        self._body = body
        self._next = iter(body).__next__
        self._permit = permit

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            self._permit.success()
            raise
        except BaseException as error:
            self._permit.end_by_error(error)
            raise

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._permit.cancel()


def _kept(exempt: Any) -> Any:
    # An iterator could be read only once. One string is a mistake, which the middleware will tell.
    if isinstance(exempt, str | bytes) or not hasattr(exempt, "__iter__"):
        return exempt
    return tuple(exempt)
