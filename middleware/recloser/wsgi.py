"""BreakerMiddleware for any WSGI app.

    app = BreakerMiddleware(app)

It changes nothing in the response and delays nothing. A call begins when the app is called. It ends
once:

- When the app returns, if the body is complete then (a list, a tuple), or is a file for the server
  (`wsgi.file_wrapper`; a server whose wrapper is a class can still use `sendfile`).
- With a first piece that is as long as the `Content-Length` of the response.
- Otherwise at the end of the body. The last status that was set decides: 5xx is a failure, 4xx is
  the client's own fault.
- At an exception before that: a failure.
- At `close()` or garbage collection before that: the client has left, and the call has no vote.

A WebSocket (`is_websocket`) is one request for as long as its session lasts, and WSGI does not show
its handshake. So it is admitted or refused, and has no vote; except that a status of 5xx that comes
before such a call would be slow is a failure.

A WSGI handler cannot be interrupted, so there is no `cut_off` here as there is for ASGI. Give the
clients that the handler uses a time-out, such as `permit_of(environ).timeout`.

A client that is slow to send its body makes no handler slow, and one that does not send it makes none
fail: `wsgi.input` is watched. What it raises, and the time that it takes, are the client's; so is a
failure after a body that was shorter than announced, and what the server's `write()` raises. The time
that `write()` takes counts, however; an app that uses it should not be read slowly.

Latency is taken at the first piece of the body that is not empty. This is when a WSGI server sends
the headers. A stream whose first piece may come at any time is judged as in `recloser.asgi`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from recloser._admission import Injected, Refused
from recloser._environment import enabled
from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.middleware import Middleware
from recloser._http.refusal import Refusal
from recloser._http.request_marks import PERMIT, REFUSAL, REFUSED, note_refusal, permit_of
from recloser._http.server_errors import is_of_server
from recloser._http.wsgi_input import watch_input
from recloser._http.wsgi_watch import (
    ResponseBody,
    ResponseIterator,
    WatchedBody,
    WsgiPermit,
    end_by_status_line,
    is_websocket,
    note_early_failure,
    response_class,
)
from recloser._special_keys import UNMATCHED

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from _typeshed import OptExcInfo

    _Write = Callable[[bytes], object]
else:
    # Only annotations need it.
    WSGIApplication = Callable

__all__ = [
    "DEFAULT_EXEMPT",
    "PERMIT",
    "REFUSAL",
    "REFUSED",
    "UNMATCHED",
    "BreakerMiddleware",
    "Refusal",
    "WatchedBody",
    "enabled",
    "is_websocket",
    "note_refusal",
    "permit_of",
]

_REFUSED = "503 Service Unavailable"
_FILE_WRAPPER = "wsgi.file_wrapper"
# What watches the body of a response, by the type of the body; None if nothing has to, because the
# body is complete when the app returns. Such a body is passed on unchanged, so that a server can
# still use its length. (A str or bytes is a mistake of the app; the server must see it.)
_watch_by_type: dict[type, type[ResponseBody] | None] = {
    list: None,
    tuple: None,
    bytes: None,
    str: None,
    GeneratorType: ResponseIterator,
}
_MAX_TYPES = 256  # bounded, because an app could make up more


def _end_by_error(permit: WsgiPermit, error: BaseException, write: Any) -> None:
    """End a call whose app has raised; `write` is what it got from the server, or None."""
    try:
        if write is not None and is_of_server(error, write):
            permit.is_cut = True  # the client left while the app wrote to it
        permit.end_by_error(error)
    except BaseException:
        permit.cancel()  # a signal handler raised
        raise


def _learn_watch(kind: type) -> type[ResponseBody]:
    """What watches bodies of a type that was not seen before.

    The answer is remembered: on Python 3.11, to ask a type for an attribute that it does not have
    costs more than anything else that is done for a body.
    """
    watch = response_class(kind)
    if len(_watch_by_type) < _MAX_TYPES:
        _watch_by_type[kind] = watch
    return watch


class BreakerMiddleware(Middleware[WSGIApplication]):
    """Guards a WSGI app: answers 503 at once while a breaker is open.

    A handler may end its call itself: `permit_of(environ).failure("stale data served")`. If two
    middlewares around one app have the same registry and key, a call is counted once.

    Args:
        app: The app.
        registry: The registry that holds the breakers; None makes a new one.
        key: A function from the environ to a key; a request whose key is None is not guarded. The
            default is one key, "app", for the whole app. A raw path would be a bad key: clients
            can invent paths.
        exempt: What is not guarded: patterns such as `/static/*` or `GET /search*`, instead of
            `DEFAULT_EXEMPT`, or a function from the environ to bool.
        classify: A function from status to `Outcome`. By default 5xx fails and 4xx is ignored.
        on_refuse: A WSGI app that answers refused requests. `environ["recloser.refusal"]` is the
            `BreakerOpenError`. If the app raises, the default answer is sent.
        mode: None: the mode of the registry. Otherwise the more lenient of the two applies.
        expose_details: Whether a refusal contains key, state and reason. The reason quotes the last
            exception, which may name a host or a user.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    _protocol = "WSGI"
    _method, _path, _root = "REQUEST_METHOD", "PATH_INFO", ""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. What the app raises passes through."""
        permit = self._gate.admit(environ, WsgiPermit)
        if type(permit) is not WsgiPermit:
            if isinstance(permit, Refused):
                if self._on_refuse is not None or (
                    self.passes_refusals and "HTTP_ORIGIN" in environ
                ):
                    return self._refuse(permit, environ, start_response)
                refusal = self._refusals.of(permit)  # no method of its own: it must be fast
                start_response(_REFUSED, [*refusal.headers])
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]
            if type(permit) is not Injected:
                return self.app(environ, start_response)
            permit = self._struck(permit, environ)
        if "HTTP_UPGRADE" in environ and is_websocket(environ):
            return self._serve_websocket(permit, environ, start_response)
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            watch_input(environ, permit)
        # Not the body itself: it holds the app, which may hold on to `start_response`, and so to this.
        said: list[Any] = [None, ()]
        write: _Write | None = None

        def noted_start(status: str, headers: Any, exc_info: Any = None) -> _Write:
            nonlocal write
            if exc_info is None:
                write = start_response(status, headers)
            else:
                write = start_response(status, headers, exc_info)
            # Only now: it raises when a second status comes too late to be sent.
            said[0] = status
            said[1] = headers
            return write

        try:
            app = self.app
            body = app(environ, noted_start)
            # To ask a body what it is may run its own code.
            kind = type(body)
            try:
                watch = _watch_by_type[kind]
            except KeyError:
                watch = _learn_watch(kind)
            if watch is not None and _FILE_WRAPPER in environ and _is_file(body, environ):
                watch = None
        except BaseException as error:
            _end_by_error(permit, error, write)
            raise
        try:
            if watch is not None:
                return watch(body, permit, self._gate, environ, said)
            end_by_status_line(self._gate, environ, permit, said)
            return body
        except BaseException:
            permit.cancel()  # a signal handler raised
            raise

    def _struck(self, injected: Injected, environ: WSGIEnvironment) -> WsgiPermit:
        """The permit of a call that is slow on purpose: it goes on as any other."""
        self.strike(injected, environ)
        permit: WsgiPermit = injected.permit
        return self._gate.struck(environ, permit)

    def strike(self, injected: Injected, environ: WSGIEnvironment) -> None:
        """Let a fault happen that was injected on purpose, before the app is called.

        For subclasses where this thread must not wait: their app lets it happen.

        Args:
            injected: The fault. Its `strike()` waits in this thread.
            environ: The environ of the request.

        Raises:
            ChaosError: The call failed or hung on purpose.
        """
        injected.strike()

    def _serve_websocket(
        self, permit: WsgiPermit, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        # A session holds no place, neither as a probe nor under a limit.
        permit.cancel()

        def noted_start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
        ) -> Callable[[bytes], object]:
            note_early_failure(permit, environ, status)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, noted_start)

    def refusal_through(self, environ: WSGIEnvironment, answer: WSGIApplication) -> WSGIApplication:
        """For subclasses with `passes_refusals`: let middleware further in see a refusal.

        It is called for requests with an Origin header only.

        Args:
            environ: The environ of the request.
            answer: The app that answers instead of the handler.

        Returns:
            An app that calls `answer`, or `answer` itself.
        """
        return answer

    def _refuse(
        self, refused: Refused, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not self.passes_refusals or "HTTP_ORIGIN" not in environ:
            return self._answer_refused(refused, environ, start_response)
        answer = partial(self._answer_refused, refused)
        started: list[str] = []

        def noted_start(status: str, *more: Any) -> Callable[[bytes], object]:
            started.append(status)
            return start_response(status, *more)

        try:
            return _whole(self.refusal_through(environ, answer)(environ, noted_start))
        except Exception as error:
            self.registry.fault("refusal_through", error)
            failure = sys.exc_info() if started else None
            return self._answer_refused(refused, environ, start_response, failure)

    def _answer_refused(
        self,
        refused: Refused,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        failure: OptExcInfo | None = None,
    ) -> Iterable[bytes]:
        if self._on_refuse is not None and failure is None:
            environ[REFUSAL] = refused.error()
            try:
                return _whole(self._on_refuse(environ, start_response))
            except Exception as error:
                self.registry.fault("on_refuse", error)
                failure = sys.exc_info()
        refusal = self._refusals.of(refused)
        headers = list(refusal.headers)
        if failure is None:
            start_response(_REFUSED, headers)
        else:
            # It may have called start_response already; what is then wanted is its error, which
            # the server raises again should bytes be out.
            start_response(_REFUSED, headers, failure)
            failure = None  # it refers to this frame
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]


def _is_file(body: object, environ: WSGIEnvironment) -> bool:
    wrapper = environ.get(_FILE_WRAPPER)
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _whole(body: Iterable[bytes]) -> list[bytes]:
    """Read and close a body at once, so that what it raises comes before anything is sent."""
    try:
        return list(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
