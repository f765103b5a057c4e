"""`BreakerMiddleware`, the line in `MIDDLEWARE` that guards a whole Django project."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import LimitedStream
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from recloser import BreakerOpenError, Injected, Outcome
from recloser.wsgi import PERMIT, REFUSAL, note_refusal
from recloser.wsgi import BreakerMiddleware as AnyAppMiddleware
from recloser_adapters.django._cors import CorsBelow
from recloser_adapters.django._refusals import answer_refused, checked, quiet
from recloser_adapters.django._response import Answer, Call
from recloser_adapters.django._state import RecloserState, current_state

if TYPE_CHECKING:
    from collections.abc import Awaitable

_LOG: Final = logging.getLogger("recloser")
# In `request.META`, only while the core is asked for admission.
_REQUEST: Final = "recloser.request"
_ANSWER: Final = "recloser.answer"
# In `request.META`, only while the view and the middleware further in are called.
_ERROR: Final = "recloser.error"
# In `request.META`, a fault that was injected on purpose and has still to happen.
_INJECTED: Final = "recloser.injected"
# In `request.META`, True if `request.urlconf` was set further out.
_URLCONF: Final = "recloser.urlconf"
_INPUT: Final = "wsgi.input"


class BreakerMiddleware:
    """Guard every URL pattern of a Django project with its own breaker.

        MIDDLEWARE = ["recloser_adapters.django.BreakerMiddleware", ...]

    It belongs at the top of the list, below middleware that sets `request.urlconf` and below
    `CorsMiddleware`. It works under WSGI and under ASGI, with plain and with async views. The setting
    `RECLOSER` has its settings.

    A view that raises has failed, and so has one that answers with a status of 500 or above. Of a
    response that streams, the end counts. If the breaker of an outbound call refuses and the view
    lets the `BreakerOpenError` out, the client gets a 503 that says when to come again, and that is
    not counted against the view.

    Args:
        get_response: The rest of the project, as Django passes it.

    Raises:
        ImproperlyConfigured: The setting `RECLOSER` is not valid.
        MiddlewareNotUsed: It is turned off, by `RECLOSER["ENABLED"]` or by `RECLOSER_ENABLED=0`.
    """

    sync_capable: bool = True
    async_capable: bool = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        state = current_state()
        if not state.enabled:
            raise MiddlewareNotUsed("recloser is turned off")
        self._get_response: Callable[[HttpRequest], Any] = get_response
        self._state = state
        self._cors = CorsBelow(type(self))
        self._is_told = False
        # Not that of inspect, which on Python 3.11 does not know Django's marks.
        self._is_async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]
        self._core = _core(state, _Later if self._is_async else AnyAppMiddleware)
        if self._is_async:
            markcoroutinefunction(self)
        got_request_exception.connect(_note_error, dispatch_uid="recloser")

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve one request."""
        if self._is_async:
            return self._serve_async(request)
        call = self._begin(request)
        if isinstance(call, HttpResponseBase):
            return call
        try:
            response = self._get_response(request)
        except BaseException as error:
            self._raised(call, request, error)
            raise
        return self._returned(call, request, response)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        call = self._begin(request)
        if isinstance(call, HttpResponseBase):
            return call
        try:
            if _INJECTED in request.META:
                await request.META.pop(_INJECTED).strike_async()
            response = await self._get_response(request)
        except BaseException as error:
            self._raised(call, request, error)
            raise
        return self._returned(call, request, response)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Answer a `BreakerOpenError` that a view has let out."""
        if Outcome.of_error(error) is not Outcome.IGNORED:
            return None
        # A refusal, or what the view raised from one.
        note_refusal(request.META)
        if not isinstance(error, BreakerOpenError):
            return None
        return self._refuse(request, error)

    def _begin(self, request: HttpRequest) -> Call | HttpResponseBase | None:
        """Ask for admission: a call, the answer to a refused one, or None for one without breaker."""
        meta = request.META
        scope: Any = getattr(request, "scope", None)
        if scope is not None and PERMIT in scope:
            # Under ASGI, a breaker around the whole application has its own mapping.
            meta.setdefault(PERMIT, scope[PERMIT])
        stream: Any = meta.get(_INPUT)
        started: list[Any] = []

        def start(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            started[:] = status, headers
            return _write

        if "urlconf" in vars(request):
            meta[_URLCONF] = True
        meta[_ERROR] = None
        meta[_REQUEST] = request
        try:
            body: Any = self._core(meta, start)
        finally:
            del meta[_REQUEST]
            answer: Any = meta.pop(_ANSWER, None)
        if type(answer) is not Answer:
            meta.pop(_ERROR, None)
            refusal = answer if answer is not None else _refusal(started, body)
            return self._cors.passed(request, refusal, self._state.registry)
        if body is answer:
            return None
        if stream is not None and meta[_INPUT] is not stream:
            _read_by_watch(request, meta[_INPUT])
        return Call(meta[PERMIT], answer, body)

    def _raised(self, call: Call | None, request: HttpRequest, error: BaseException) -> None:
        request.META.pop(_ERROR, None)
        if call is not None:
            call.raised(error)

    def _returned(
        self, call: Call | None, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        meta = request.META
        error: Exception | None = meta.pop(_ERROR, None)
        if error is not None:
            response = self._of_error(call, request, response, error)
        if call is not None:
            try:
                call.returned(response, meta)
            except Exception as fault:  # a response that is unlike Django's
                call.permit.cancel()
                self._state.registry.fault("response", fault)
        if not self._is_told and "urlconf" in vars(request) and _URLCONF not in meta:
            self._is_told = True
            _LOG.warning(
                "BreakerMiddleware stands above the middleware that sets request.urlconf, and does not "
                "see it: place it below"
            )
        return response

    def _of_error(
        self, call: Call | None, request: HttpRequest, response: Any, error: Exception
    ) -> HttpResponseBase:
        """Take note of an error that Django has answered with a 500."""
        if Outcome.of_error(error) is Outcome.IGNORED:
            # Of middleware further in, whose errors `process_exception` does not get.
            note_refusal(request.META)
            if isinstance(error, BreakerOpenError) and response.status_code == 500:
                return self._refuse(request, error)
        elif (
            call is not None
            and response.status_code == 500
            and self._state.settings.classify is None
        ):
            # The status would not say what has failed.
            call.permit.end_by_error(error)
        return response  # type: ignore[no-any-return]  # what Django has made

    def _refuse(self, request: HttpRequest, error: BreakerOpenError) -> HttpResponseBase:
        state = self._state
        return answer_refused(state.settings.on_refuse, request, error, state.registry)


class _Later(AnyAppMiddleware):
    """The middleware of the core where the thread that asks it is that of an event loop."""

    def strike(self, injected: Injected, environ: dict[str, Any]) -> None:
        environ[_INJECTED] = injected


def _core(state: RecloserState, kind: type[AnyAppMiddleware]) -> AnyAppMiddleware:
    """The middleware of the core, around an app whose body is an `Answer`."""
    settings = state.settings
    exempt: Any = state.exempt
    key, on_refuse = state.key, settings.on_refuse

    def app(environ: dict[str, Any], start_response: Any) -> Answer:
        answer = environ[_ANSWER] = Answer(start_response)
        return answer

    def refuse_by_user(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert on_refuse is not None
        environ[_ANSWER] = checked(on_refuse(environ[_REQUEST], environ[REFUSAL]))
        return []

    def key_of(environ: dict[str, Any]) -> str | None:
        return key(environ[_REQUEST])

    def is_exempt(environ: dict[str, Any]) -> bool:
        return bool(exempt(environ[_REQUEST]))

    return kind(
        app,
        state.registry,
        key=key_of,
        exempt=is_exempt if callable(exempt) else exempt,
        classify=settings.classify,
        on_refuse=None if on_refuse is None else refuse_by_user,
        mode=settings.mode,
        expose_details=settings.expose_details,
    )


def _refusal(started: list[Any], body: list[bytes]) -> HttpResponse:
    """The response to a refused request, as the core has made it."""
    status, headers = started
    response = HttpResponse(b"".join(body), status=int(status[:3]), headers=dict(headers))
    return quiet(response)


def _read_by_watch(request: Any, watched: Any) -> None:
    """Let a request read its body from the watched input: a slow client is no slow view.

    Django took the input of the server when it made the request.
    """
    stream = getattr(request, "_stream", None)
    if type(stream) is LimitedStream and not getattr(request, "_read_started", True):
        request._stream = LimitedStream(watched, stream.limit)


def _write(data: bytes) -> None:
    raise AssertionError("Django does not write")


def _note_error(*, request: HttpRequest | None = None, **_: object) -> None:
    """Keep the error that Django answers with a 500, until the middleware has the answer."""
    meta: Any = getattr(request, "META", ())
    if _ERROR in meta:
        meta[_ERROR] = sys.exception()
