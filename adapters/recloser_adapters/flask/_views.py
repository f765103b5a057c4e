"""`protect` for single views, and `refuse`, which answers a `BreakerOpenError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import Response, current_app, has_request_context, request

from recloser import UNGUARDED, BreakerOpenError, Mode, Refused, Registry, Unguarded
from recloser.hints import knows_names
from recloser.wsgi import Refusal, enabled, is_websocket, note_refusal
from recloser_adapters._routes.endpoint_watch import EndpointPermit
from recloser_adapters._routes.marks import mark, mark_protected
from recloser_adapters._routes.protect import check_endpoint, check_protect, guarded
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._view_watch import ViewWatch
from recloser_adapters.werkzeug import ViewRefusedError

_P = ParamSpec("_P")
_R = TypeVar("_R")


@knows_names
def protect(registry: Registry | None, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one view, `def` or `async def`, with the breaker of `key`.

    Place it next to the function, below the decorator that registers the rule, or on a method of
    a class-based view. This breaker replaces that of the view's rule. A returned or raised status
    of 500 or above is a failure; 4xx has no vote. A streamed body is watched to its end.
    `before_request` functions, `after_request` functions and error handlers are outside of the
    call, so their effects are not seen.

    If the application has a `Recloser`, its `mode` and its off switches apply here, too.

    Args:
        registry: Holds the breaker; `None` for the registry of the current application.
        key: The breaker's key. Views that depend on the same service may share it.

    Raises:
        TypeError: The decorated object is a class. Decorate its methods instead.
    """
    check_protect(registry, key)
    limit = Mode.ENFORCE if enabled() else Mode.DISABLED

    def begin(args: object, kwargs: object) -> ViewWatch | Unguarded:
        return _begin(registry, key, limit)

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        check_endpoint(view)
        # The breaker of its rule does not guard it then.
        return mark_protected(mark(guarded(view, begin), None), registry, key)

    return decorate


def refuse(error: BreakerOpenError) -> Response:
    """Answer a `BreakerOpenError` with the middleware's 503, not counted against the rule.

    In a view that catches the error:

        except BreakerOpenError as error:
            return refuse(error)

    In an application without `Recloser`:

        app.register_error_handler(BreakerOpenError, refuse)
    """
    note_refusal(request.environ)
    answer = Refusal.after(error.retry_after)
    return current_app.response_class(answer.body, 503, answer.headers)


def _begin(registry: Registry | None, key: str, limit: Mode) -> ViewWatch | Unguarded:
    """Begin a call.

    Args:
        registry: Holds the breaker; `None` for the registry of the current application.
        key: The breaker's key.
        limit: The mode of the breaker in an application without `Recloser`.

    Raises:
        ViewRefusedError: The call is refused.
        RuntimeError: No registry is given, and the current application has none.
    """
    state: RecloserState | None = current_app.extensions.get(EXTENSION)
    if registry is None:
        if state is None:
            raise RuntimeError(
                "protect(None, ...) needs Recloser(app), or a registry instead of None"
            )
        registry = state.registry
    mode = limit if state is None else state.mode_in(registry)
    if mode is Mode.DISABLED:
        return UNGUARDED
    admission = registry[key].admit(EndpointPermit, enforces=mode is Mode.ENFORCE)
    if isinstance(admission, Refused):
        if has_request_context():
            note_refusal(request.environ)
        raise ViewRefusedError(admission.error())
    if isinstance(admission, Unguarded):
        return admission
    if has_request_context() and is_websocket(request.environ):
        admission.cancel()  # the session lasts as long as it lasts; see `recloser.wsgi`
        return UNGUARDED
    return ViewWatch(admission)
