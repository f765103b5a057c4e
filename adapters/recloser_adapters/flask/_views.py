"""Views with a breaker of their own, and the answer to a refusal from below one."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import Response, current_app, has_request_context, request

from recloser import UNGUARDED, BreakerOpenError, Mode, Refused, Registry, Unguarded
from recloser.wsgi import Refusal, enabled, note_refusal
from recloser_adapters._routes.endpoint_watch import EndpointPermit
from recloser_adapters._routes.protect import check_endpoint, guarded
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._rules import mark_protected
from recloser_adapters.flask._view_watch import ViewWatch
from recloser_adapters.werkzeug import ViewRefusedError

_P = ParamSpec("_P")
_R = TypeVar("_R")


def protect(registry: Registry | None, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one view, `def` or `async def`, by the breaker of `key`.

    Place it next to the function, below the decorator that registers the rule, or on a method of
    a class-based view. The view has this breaker instead of its rule's. A returned or raised
    status of 500 and above is a failure, 4xx has no vote; a streamed body is watched to its end.
    What `before_request` and `after_request` functions and error handlers do with the call is not
    seen.

    Where the application has a `Recloser`, its `mode` and its off switches hold here, too.

    Args:
        registry: Where the breaker lives; `None` for that of the current application.
        key: Its key. Views that depend on the same thing may share it.

    Raises:
        TypeError: A class is decorated, instead of its methods.
    """
    limit = Mode.ENFORCE if enabled() else Mode.DISABLED

    def begin(args: object, kwargs: object) -> ViewWatch | Unguarded:
        return _begin(registry, key, limit)

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        check_endpoint(view)
        return mark_protected(guarded(view, begin), registry, key)

    return decorate


def refuse(error: BreakerOpenError) -> Response:
    """Answer a `BreakerOpenError` by the middleware's 503, and do not count it against the rule.

    For a view that gives the answer of `Recloser` itself:

        except BreakerOpenError as error:
            return refuse(error)

    And for an application without `Recloser`:

        app.register_error_handler(BreakerOpenError, refuse)
    """
    note_refusal(request.environ)
    answer = Refusal.after(error.retry_after)
    return current_app.response_class(answer.body, 503, answer.headers)


def _begin(registry: Registry | None, key: str, limit: Mode) -> ViewWatch | Unguarded:
    """Begin a call.

    Args:
        registry: Where the breaker lives; `None` for that of the current application.
        key: Its key.
        limit: What it may do at most, in an application without `Recloser`.

    Raises:
        ViewRefusedError: The call is refused.
        RuntimeError: There is neither a registry nor an application that has one.
    """
    state: RecloserState | None = current_app.extensions.get(EXTENSION)
    if registry is None:
        if state is None:
            raise RuntimeError("protect(None, ...) needs Recloser(app), or a registry of its own")
        registry = state.registry
    mode = limit if state is None else state.mode_in(registry)
    if mode is Mode.DISABLED:
        return UNGUARDED
    admission = registry[key].admit(EndpointPermit)
    if isinstance(admission, Refused):
        if mode is not Mode.ENFORCE:
            return UNGUARDED
        if has_request_context():
            note_refusal(request.environ)
        raise ViewRefusedError(admission.error())
    return admission if isinstance(admission, Unguarded) else ViewWatch(admission)
