"""`protect` guards one view with a breaker of its own."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar, cast

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

from recloser import UNGUARDED, BreakerOpenError, Mode, Outcome, Refused, Registry, Unguarded
from recloser.wsgi import REFUSED, WatchedBody, enabled, note_refusal
from recloser_adapters._routes.endpoint_watch import EndpointPermit, EndpointWatch
from recloser_adapters._routes.marks import mark, mark_protected
from recloser_adapters._routes.protect import check_endpoint, guarded
from recloser_adapters.django._refusals import answer_refused
from recloser_adapters.django._state import current_state

_P = ParamSpec("_P")
_R = TypeVar("_R")

_NOT_FOUND, _FORBIDDEN, _BAD_REQUEST = 404, 403, 400
_STATUSES: Final[tuple[tuple[Any, int], ...]] = (
    (Http404, _NOT_FOUND),
    (PermissionDenied, _FORBIDDEN),
    ((SuspiciousOperation, BadRequest, MultiPartParserError), _BAD_REQUEST),
)
# Modules and classes of errors that these libraries turn into a response, with their `status_code`.
_OF_LIBRARIES: Final = (
    ("rest_framework.exceptions", "APIException"),
    ("ninja.errors", "HttpError"),
)


class _RefusedViewError(BreakerOpenError):
    """A refusal by `protect` itself; those of outbound calls pass it."""


def protect(registry: Registry | None, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one view, `def` or `async def`, with the breaker of `key`.

    Place it next to the function: on a function view, on a method of a class-based view or of a view
    set of Django REST framework, below the decorator of an operation of Django Ninja. On a whole class
    it is `@method_decorator(protect(None, "payments"), name="dispatch")`.

    This breaker replaces that of the view's URL pattern. A returned or raised status of 500 or above is
    a failure; 4xx has no vote. A streamed body is watched to its end. A refused call is answered by a
    503, or by `RECLOSER["ON_REFUSE"]`, and the function is not called. Middleware is outside of the
    call.

    The setting `RECLOSER` applies here, too, with its `MODE` and its off switches. The middleware is
    not needed.

    Args:
        registry: Holds the breaker; `None` for the registry of the project.
        key: The breaker's key. Views that depend on the same service may share it.

    Raises:
        TypeError: The decorated object is a class. Decorate its methods instead.
    """
    is_off = not enabled()

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ViewWatch | Unguarded:
        return UNGUARDED if is_off else _begin(registry, key, _request_of(args, kwargs))

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        check_endpoint(view)
        answering = _answering(guarded(view, begin))
        # The breaker of its URL pattern does not guard it then.
        return mark_protected(mark(answering, None), registry, key)

    return decorate


def _answering(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn a refusal into a response: Django has no handlers for errors."""
    call: Callable[..., Any] = view

    @functools.wraps(view)
    def answering(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except _RefusedViewError as error:
            return _answer(error, _request_of(args, kwargs))

    @functools.wraps(view)
    async def answering_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(*args, **kwargs)
        except _RefusedViewError as error:
            return _answer(error, _request_of(args, kwargs))

    return cast(
        "Callable[_P, _R]", answering_async if inspect.iscoroutinefunction(view) else answering
    )


def _answer(error: _RefusedViewError, request: Any) -> HttpResponseBase:
    if request is None:
        raise error
    state = current_state()
    return answer_refused(state.settings.on_refuse, request, error, state.registry)


def _begin(registry: Registry | None, key: str, request: Any) -> ViewWatch | Unguarded:
    """Begin a call.

    Raises:
        _RefusedViewError: The call is refused.
    """
    state = current_state()
    registry = state.registry if registry is None else registry
    mode = state.mode_in(registry)
    if mode is Mode.DISABLED:
        return UNGUARDED
    admission = registry[key].admit(EndpointPermit, enforces=mode is Mode.ENFORCE)
    if isinstance(admission, Refused):
        if request is not None:
            note_refusal(request.META)
        refusal = admission.error()
        raise _RefusedViewError(refusal.key, refusal.state, refusal.reason, refusal.retry_after)
    return admission if isinstance(admission, Unguarded) else ViewWatch(admission, request)


def _request_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The request among the arguments of a view; that of Django REST framework holds Django's."""
    for value in (*args[:2], *kwargs.values()):
        if isinstance(value, HttpRequest) or isinstance(
            getattr(value, "_request", None), HttpRequest
        ):
            return value
    return None


class ViewWatch(EndpointWatch):
    """Ends the permit of one call to a view.

    Args:
        permit: The permit of the call.
        request: The request; None if the view was called with none.
    """

    __slots__ = ("_request",)

    def __init__(self, permit: EndpointPermit, request: Any) -> None:
        super().__init__(permit)
        self._request = request

    def status_of_error(self, error: BaseException) -> int | None:
        """The status of an error that Django or a library turns into a response."""
        for kind, status in _STATUSES:
            if isinstance(error, kind):
                return status
        for module, name in _OF_LIBRARIES:
            library = getattr(sys.modules.get(module), name, None)
            if library is not None and isinstance(error, library):
                told: object = getattr(error, "status_code", None)
                return told if isinstance(told, int) else None
        return None

    def outcome_of_status(self, status: int) -> Outcome:
        """The outcome of a status; IGNORED if it is the answer to another breaker's refusal."""
        outcome = Outcome.of_status(status)
        request = self._request
        if outcome is Outcome.FAILURE and request is not None and request.META.get(REFUSED):
            return Outcome.IGNORED
        return outcome

    def returned(self, result: Any) -> Any:
        """Take what the view returned, and watch its body if it streams."""
        if inspect.iscoroutine(result):
            # Of `dispatch` of a class with async methods.
            self.goes_on = True
            return self._awaited(result)
        if isinstance(result, HttpResponseBase):
            response: Any = result
            if self.answered(response.status_code, streams=response.streaming):
                self._watch(response)
            return response
        status = _status_in(result)
        if status is not None:
            self.answered(status, streams=False)
        return result

    # If it is never awaited, it is collected together with its permit, which is then cancelled.
    async def _awaited(self, result: Coroutine[Any, Any, Any]) -> Any:
        self.goes_on = False
        with self:
            return self.returned(await result)

    def _watch(self, response: Any) -> None:
        content: Any = response.streaming_content
        if getattr(response, "is_async", False):
            response.streaming_content = _AsyncBody(self, content)
        elif getattr(response, "file_to_stream", None) is not None:
            # The server may send it itself, and it does not take long to open.
            self.permit.success()
        else:
            response.streaming_content = WatchedBody(content, self.permit, marked=True)


class _AsyncBody:
    """The content of a response that streams under ASGI."""

    def __init__(self, watch: ViewWatch, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._permit = watch.permit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._permit.success()
            raise
        except BaseException as error:
            self._permit.end_by_error(error)
            raise

    def close(self) -> None:
        """End the call, if it has not ended: the client has left."""
        self._permit.cancel()


def _status_in(result: Any) -> int | None:
    """The status, if an operation of Django Ninja has returned a status and a body."""
    match result:
        case (int(status), _) if not isinstance(status, bool) and 100 <= status <= 599:
            return status
        case _:
            return None
