"""The body of a WSGI response, watched until the call has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, ClassVar, Self, cast

from recloser._http.first_piece import (
    end_stream,
    follow_pieces,
    is_piece,
    kind_of_stream,
    length_of,
)
from recloser._http.gate import APP, Gate
from recloser._http.request_marks import REFUSED
from recloser._http.stand_in import StandIn
from recloser._http.wsgi_input import InputPermit
from recloser._permit import Permit
from recloser._pieces import Pieces


class WsgiPermit(InputPermit):
    """The permit of a WSGI request.

    Attributes:
        method: The method of the request, if its body is watched.
        path: Its path, if the key is that of a whole app; else "".
        said: Status line and headers of the response, if its body is watched and no piece has come.
    """

    __slots__ = ("method", "path", "said")

    method: object
    path: object
    said: list[Any]

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the handler raised, unless its client has left it without a request."""
        if error is not None and self.client_failed:
            self.ignore()  # no cancel: nobody has given up waiting for the handler
        else:
            super().end_by_error(error)

    @property
    def announced(self) -> str:
        said: Any = getattr(self, "said", ())
        if len(said) < 2 or said[0] is None:
            return ""
        return kind_of_stream(self.method, said[1], self.path, said[0])


# Looked up on a body that does not exist yet, these must not be looked up on the app's.
_OWN = frozenset({"_body", "_permit"})


class Watched(StandIn):
    """A response body that ends a permit: when it ends, fails, is closed or is dropped.

    Otherwise it is like the body in it, which it asks for all that it does not have itself. It is
    an iterator only if that is one, so that those who look at a first piece get what they would get
    without us. A copy is one of the body inside, and is not watched.
    """

    __slots__ = ("__weakref__", "_body", "_marked", "_next", "_permit")

    _is_iterator: ClassVar[bool] = False
    _body: Iterable[Any]
    _marked: bool
    _next: Callable[[], Any] | None
    _permit: Permit

    def __iter__(self) -> Iterator[Any]:
        try:
            # Not earlier: this runs code of the app.
            pieces = iter(self._body)
        except BaseException as error:
            self._permit.end_by_error(error)
            raise
        if pieces is self._body and self._is_iterator:
            itself: Any = self
            return itself  # type: ignore[no-any-return]
        # An iterable that begins anew each time: so does this.
        return _Pieces(self, pieces)

    def __getattr__(self, name: str) -> Any:
        # Special methods do not work if they are an attribute only.
        if name in _OWN or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._body, name)

    def _stands_for(self) -> Any:
        return self._body

    def advance(self, pieces: _Pieces | None = None) -> Any:
        """Pass on one piece, or end the permit.

        Args:
            pieces: The iteration that wants it; None if the body is an iterator itself.
        """
        try:
            next_piece: Any = self._next if pieces is None else pieces.next
            if next_piece is None:
                body: Any = self._body
                next_piece = self._next = body.__next__
            piece = next_piece()
        except StopIteration:
            if self._permit.token:
                self._complete()
            raise
        except BaseException as error:
            self._permit.end_by_error(error)
            raise
        if piece and not self._marked:
            self._begin(piece, pieces)
        return piece

    def close(self) -> None:
        """Close the body; before its end this means that the client has left."""
        if self._permit.token:
            self._leave()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        # The permit cannot do this itself: the environ, which often lives longer, holds it as well.
        try:
            token = self._permit.token
        except AttributeError:
            return  # a signal handler interrupted the constructor
        if token:
            self._leave()

    def _begin(self, piece: Any, pieces: _Pieces | None) -> None:
        self._marked = True
        self._permit.mark()

    def _complete(self) -> None:
        self._permit.success()

    def _leave(self) -> None:
        self._permit.cancel()


class _Steps(Watched):
    """What a body that is an iterator has in addition."""

    __slots__ = ()

    _is_iterator = True
    __next__ = Watched.advance


class _Pieces:
    """One iteration over a watched body that can be iterated several times.

    Attributes:
        next: Returns the next piece.
    """

    __slots__ = ("_body", "next")

    def __init__(self, body: Watched, pieces: Iterator[Any]) -> None:
        self._body = body
        self.next: Callable[[], Any] = pieces.__next__

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._body.advance(self)


class WatchedBody(Watched):
    """A body that ends a permit, see `Watched`, for those who write an adapter.

    Args:
        body: The body to pass on.
        permit: The permit to end. If the body is closed, or collected as garbage, before its end,
            the client has left.
        marked: Whether the latency of the call was taken already. If not, it is taken at the first
            piece that is not empty.
    """

    __slots__ = ()

    def __new__(cls, body: Iterable[Any], permit: Permit, *, marked: bool = False) -> Self:
        kind: Any = _WatchedIterator if hasattr(type(body), "__next__") else cls
        made: Self = super().__new__(kind)
        return made

    def __init__(self, body: Iterable[Any], permit: Permit, *, marked: bool = False) -> None:
        self._body = body
        self._marked = marked
        self._next = None
        self._permit = permit


class _WatchedIterator(WatchedBody, _Steps):
    __slots__ = ()


class ResponseBody(Watched):
    """The body of a response, whose status decides how the call ended.

    A response whose length was announced is one answer, and no stream. Its call has ended with a
    first piece of that length: the client has all that it will get.

    Args:
        body: What it passes on.
        permit: What it ends.
        gate: Decides what a status says.
        environ: Of the request.
        said: Status line and headers that the app has set last, the status None before.
    """

    __slots__ = ("_environ", "_gate", "_length", "_said", "_stream")

    # The length that the response has announced, in bytes; None for a stream.
    _length: int | None
    # The kind of the stream, whether its first piece came in time, and its pieces if they are watched.
    _stream: tuple[str, bool, Pieces | None] | None

    def __init__(
        self,
        body: Iterable[bytes],
        permit: WsgiPermit,
        gate: Gate,
        environ: dict[str, Any],
        said: list[Any],
    ) -> None:
        # Written out, and not by super(): this runs once per request.
        self._body = body
        self._marked = False
        self._next = None
        self._permit = permit
        self._environ = environ
        self._gate = gate
        self._said = said
        self._stream = None
        self._length = length = length_of(said[1]) if len(said) > 1 else None
        if length is None:
            # The body has been promised. While there is no piece, the call is a stream that waits.
            permit.method = environ.get("REQUEST_METHOD")
            permit.path = environ.get("PATH_INFO") if permit.breaker.key == APP else ""
            permit.said = said

    def _begin(self, piece: Any, pieces: _Pieces | None) -> None:
        permit: Any = self._permit
        length = self._length
        if length is not None:
            self._marked = True
            if type(piece) is bytes and len(piece) >= length:
                end_by_status_line(self._gate, self._environ, permit, self._said)
            else:
                permit.mark()
            return
        kind = permit.announced
        if is_piece(kind, piece):
            self._marked = True
            permit.said = []
            prompt = permit.breaker.begin_stream(permit)
            self._stream = kind, prompt, self._follow(permit, kind, pieces)

    def _follow(self, permit: WsgiPermit, kind: str, pieces: _Pieces | None) -> Pieces | None:
        """Watch the further pieces, if streams of this kind are answers that come piece by piece."""
        step: Any = self._next if pieces is None else pieces.next
        further = follow_pieces(permit, kind)
        if further is None:
            return None

        def next_piece() -> Any:
            further.asked()
            piece = step()
            if is_piece(kind, piece):
                further.arrived()
            return piece

        if pieces is None:
            self._next = next_piece
        else:
            pieces.next = next_piece
        return further

    def _complete(self) -> None:
        if self._stream is not None:
            self._learn(self._stream, ended=True)
        end_by_status_line(self._gate, self._environ, self._permit, self._said)

    def _leave(self) -> None:
        # A 5xx that was sent before the client left stays a failure.
        if self._said and str(self._said[0]).startswith("5"):
            self._complete()
        else:
            if self._stream is not None:
                self._learn(self._stream, ended=False)
            self._permit.cancel()

    def _learn(self, stream: tuple[str, bool, Pieces | None], *, ended: bool) -> None:
        """Learn from a stream; `ended` if the app ended it, and not the client."""
        kind, prompt, pieces = stream
        end_stream(self._permit, kind, prompt, pieces, ended=ended)


class ResponseIterator(ResponseBody, _Steps):
    """The body of a response that is an iterator, as generators are."""

    __slots__ = ()


class SizedResponseBody(ResponseBody):
    """A body of known length, which servers ask for to set Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(cast("Sized", self._body))


class _SizedResponseIterator(SizedResponseBody, _Steps):
    __slots__ = ()


# What a class must have itself, because it is not looked up on an instance. Responses of Django, which
# are bodies, have these.
_SPECIAL = ("__bool__", "__bytes__", "__contains__", "__delitem__", "__getitem__", "__setitem__")


def _asking(name: str) -> Callable[..., Any]:
    """A special method that asks the body inside."""

    def ask(self: Watched, *args: Any) -> Any:
        return getattr(self._body, name)(*args)

    return ask


def response_class(kind: type) -> type[ResponseBody]:
    """The class of the body that watches one of this class."""
    base: type[ResponseBody]
    is_iterator = hasattr(kind, "__next__")
    if hasattr(kind, "__len__"):
        base = _SizedResponseIterator if is_iterator else SizedResponseBody
    else:
        base = ResponseIterator if is_iterator else ResponseBody
    special: dict[str, Any] = {name: _asking(name) for name in _SPECIAL if hasattr(kind, name)}
    if not special:
        return base
    made: Any = type(base.__name__, (base,), {"__slots__": (), **special})
    return cast("type[ResponseBody]", made)


# Codes by status line. An app has few of them, and to look one up is faster than to parse it.
# Bounded, because an app could make up more.
_codes: dict[str, int] = {}
_MAX_CODES = 256


def end_by_status_line(
    gate: Gate, environ: dict[str, Any], permit: Permit, said: list[Any]
) -> None:
    """End a call by the status line that its app has set, the first of what it has said."""
    try:
        status = said[0]
        code = _codes.get(status)
        if code is None:
            code = int(status[:3])
            if len(_codes) < _MAX_CODES:
                _codes[status] = code
    except Exception:
        # There is no valid status: the app has broken the protocol, and the server will report it.
        permit.cancel()
        return
    if code < 400 and gate.plain:
        permit.success()
    elif code >= 500 and isinstance(permit, InputPermit) and permit.client_failed:
        permit.ignore()  # the framework made it of what the input raised
    else:
        gate.end_by_status(environ, permit, code)


def is_websocket(environ: Mapping[str, Any]) -> bool:
    """Whether a request opens a WebSocket: in WSGI it lasts as long as the session."""
    upgrade = environ.get("HTTP_UPGRADE", "")
    return str(upgrade).lower() == "websocket" and "HTTP_SEC_WEBSOCKET_KEY" in environ


def note_early_failure(permit: Permit, environ: Mapping[str, Any], status: object) -> None:
    """Count a WebSocket that fails at once. Later it is the session that fails, not the handshake."""
    breaker = permit.breaker
    try:
        took = breaker.clock() - permit.started
        fails = str(status).startswith("5") and not environ.get(REFUSED)
        if fails and 0.0 <= took <= breaker.slow_threshold:
            breaker.record(took, success=False)
    except Exception as error:
        breaker.fault("clock", error)
