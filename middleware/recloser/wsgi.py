"""BreakerMiddleware for any WSGI app.

    app = BreakerMiddleware(app)

It alters nothing and holds nothing back. A call begins when the app is called and ends once:

- with the app's return, if the body is then whole (a list, a tuple) or handed to the server as a
  file (`wsgi.file_wrapper`; servers whose wrapper is a class keep their `sendfile`);
- else with the end of the body. The last status set before it decides, 4xx being the client's own
  fault;
- with an exception before that: a failure;
- with `close()` or garbage collection before that: the client has left, no verdict.

Latency is taken at the first piece of the body that is not empty, which is when a WSGI server
sends the headers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from types import GeneratorType
from typing import TYPE_CHECKING, cast

from recloser._admission import Refused, Unguarded
from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.gate import (
    PERMIT,
    REFUSAL,
    REFUSED,
    UNMATCHED,
    Classify,
    Exempt,
    Gate,
    KeyFunction,
    RequestPermit,
    enabled,
    note_refusal,
    permit_of,
)
from recloser._http.refusal import Refusal, Refusals
from recloser._permit import Permit
from recloser._registry import Registry
from recloser._state import Mode

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from _typeshed import OptExcInfo

__all__ = [
    "DEFAULT_EXEMPT",
    "PERMIT",
    "REFUSAL",
    "REFUSED",
    "UNMATCHED",
    "BreakerMiddleware",
    "Refusal",
    "enabled",
    "note_refusal",
    "permit_of",
]

_FILE_WRAPPER = "wsgi.file_wrapper"
# Bodies that are whole when the app returns. They pass as they are, so that a server can still
# ask for their length. (A str or bytes is a mistake of the app that the server is to see.)
_WHOLE: frozenset[type] = frozenset({list, tuple, bytes, str})


class BreakerMiddleware:
    """Guards a WSGI app: answers 503 at once while a breaker is open.

    A handler may end its call by itself: `permit_of(environ).failure("stale data served")`. Two of
    these around one app with the same registry and key count a call once.

    Args:
        app: The app.
        registry: Where the breakers are; None for one of its own.
        key: Environ to key. The default is one key, "app", for the whole app: a raw path would
            make a key of whatever a client thinks of. None from it leaves a request unguarded.
        exempt: What is not guarded: patterns such as `/static/*` or `GET /search*`, replacing
            `DEFAULT_EXEMPT`, or a function of the environ.
        classify: Status to `Outcome`; the default counts 5xx as failures and ignores 4xx.
        on_refuse: A WSGI app that answers refused requests; `environ["recloser.refusal"]` is the
            `BreakerOpenError`. Should it raise, the default answer goes out.
        mode: None leaves it to the registry; else the more lenient of the two holds.
        expose_details: Whether a refusal tells key, state and reason to the client. The reason
            quotes the last exception: a host, a user, whatever its message says.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    def __init__(
        self,
        app: WSGIApplication,
        registry: Registry | None = None,
        *,
        key: KeyFunction | None = None,
        exempt: Exempt = DEFAULT_EXEMPT,
        classify: Classify | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be a WSGI app, not {app!r}")
        if on_refuse is not None and not callable(on_refuse):
            raise TypeError(f"on_refuse must be a WSGI app, not {on_refuse!r}")
        self.app = app
        self._gate = Gate(
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            mode=mode,
            method="REQUEST_METHOD",
            path="PATH_INFO",
            root="",
        )
        self.registry: Registry = self._gate.registry
        self._refusals = Refusals(expose_details=expose_details)
        self._on_refuse = on_refuse

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. What the app raises passes through."""
        permit = self._gate.admit(environ, RequestPermit)
        if isinstance(permit, Unguarded):
            return self.app(environ, start_response)
        if isinstance(permit, Refused):
            return self._refuse(permit, environ, start_response)
        # A list, not the body object: an app that is a generator holds on to `start_response`,
        # and with it would keep alive the body that holds the generator.
        said: list[str] = []

        def noted_start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
        ) -> Callable[[bytes], object]:
            if exc_info is None:
                write = start_response(status, headers)
            else:
                write = start_response(status, headers, exc_info)
            # Only now: it raises when a second status comes too late to be sent.
            said[:] = (status,)
            return write

        try:
            body = self.app(environ, noted_start)
            # To ask a body what it is may run its own code.
            kind = type(body)
            is_whole = kind in _WHOLE or (_FILE_WRAPPER in environ and _is_file(body, environ))
            is_sized = not is_whole and kind is not GeneratorType and hasattr(kind, "__len__")
        except BaseException as error:
            permit.end_by_error(error)
            raise
        if is_whole:
            _end(self._gate, environ, permit, said)
            return body
        watched = _new(_SizedBody if is_sized else _Body)
        # Plain stores: an __init__ would cost each request one more frame.
        watched._body = body
        watched._environ = environ
        watched._gate = self._gate
        watched._next = None
        watched._permit = permit
        watched._said = said
        watched._ended = watched._marked = False
        return watched

    def _refuse(
        self, refused: Refused, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        failure: OptExcInfo | None = None
        if self._on_refuse is not None:
            environ[REFUSAL] = refused.error()
            try:
                return _whole(self._on_refuse(environ, start_response))
            except Exception as error:
                self.registry.fault("on_refuse", error)
                failure = sys.exc_info()
        refusal = self._refusals.of(refused)
        status, headers = "503 Service Unavailable", list(refusal.headers)
        if failure is None:
            start_response(status, headers)
        else:
            # It may have called start_response already; what is then wanted is its error, which
            # the server raises again should bytes be out.
            start_response(status, headers, failure)
            failure = None  # it refers to this frame
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]


_new = object.__new__


class _Body:
    """A body that tells when it ends: by exhaustion, an error, `close()` or garbage collection."""

    __slots__ = (
        "_body",
        "_ended",
        "_environ",
        "_gate",
        "_marked",
        "_next",
        "_permit",
        "_said",
    )

    _body: Iterable[bytes]
    _ended: bool
    _environ: WSGIEnvironment
    _gate: Gate
    _marked: bool
    _next: Callable[[], bytes] | None
    _permit: Permit
    _said: list[str]

    def __iter__(self) -> Iterator[bytes]:
        try:
            # Not before the server asks for it: this is the app's code too.
            self._next = iter(self._body).__next__
        except BaseException as error:
            self._ended = True
            self._permit.end_by_error(error)
            raise
        return self

    def __next__(self) -> bytes:
        advance = self._next
        if advance is None:
            return next(iter(self))
        try:
            chunk = advance()
        except StopIteration:
            if not self._ended:
                self._ended = True
                _end(self._gate, self._environ, self._permit, self._said)
            raise
        except BaseException as error:
            self._ended = True
            self._permit.end_by_error(error)
            raise
        if chunk and not self._marked:
            self._marked = True
            self._permit.mark()
        return chunk

    def close(self) -> None:
        """Pass it on; before the end of the body it means that the client has left."""
        if not self._ended:
            self._ended = True
            self._leave()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        # The environ, which holds the permit too, often lives longer than the body.
        if not self._ended:
            self._leave()

    def _leave(self) -> None:
        # A failure that was told before the client left stays one.
        if self._said and str(self._said[0]).startswith("5"):
            _end(self._gate, self._environ, self._permit, self._said)
        else:
            self._permit.cancel()


class _SizedBody(_Body):
    """A body of known length, which servers ask for to set Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(cast("Sized", self._body))


# Status lines and their codes: an app has a few of them, and reading one takes longer than finding
# it. Bounded all the same.
_codes: dict[str, int] = {}
_MAX_CODES = 256


def _end(gate: Gate, environ: WSGIEnvironment, permit: Permit, said: list[str]) -> None:
    try:
        status = said[0]
        code = _codes.get(status)
        if code is None:
            code = int(status[:3])
            if len(_codes) < _MAX_CODES:
                _codes[status] = code
    except Exception:
        # No status, or none that is one: the app broke the protocol, and the server will say so.
        permit.cancel()
        return
    if code < 400 and gate.plain:
        permit.success()
    else:
        gate.judge(environ, permit, code)


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
