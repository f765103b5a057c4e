"""The body of a WSGI response, watched until the call has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, cast

from recloser._http.gate import Gate
from recloser._permit import Permit


class RequestPermit(Permit):
    """The permit of a request. What its handler raises reaches the client as a 500."""

    __slots__ = ()

    reads_status = False


class WatchedBody:
    """A response body that ends a permit: when it ends, fails, is closed or is dropped.

    Args:
        body: The body to pass on.
        permit: The permit to end. If the body is closed, or collected as garbage, before its end,
            the client has left.
        marked: Whether the latency of the call was taken already. If not, it is taken at the first
            piece that is not empty.
    """

    __slots__ = ("_body", "_marked", "_next", "_permit")

    def __init__(self, body: Iterable[Any], permit: Permit, *, marked: bool = False) -> None:
        self._body = body
        self._marked = marked
        self._next: Callable[[], Any] | None = None
        self._permit = permit

    def __iter__(self) -> Iterator[Any]:
        try:
            # Not earlier: this runs code of the app.
            pieces = iter(self._body)
        except BaseException as error:
            self._permit.end_by_error(error)
            raise
        if pieces is self._body:
            # An iterator, as generators are: so is this.
            self._next = pieces.__next__
            return self
        # An iterable that begins anew each time: so does this.
        return _Pieces(self, pieces)

    def __next__(self, step: Callable[[], Any] | None = None) -> Any:
        """Pass on one piece, which `step` returns, or end the permit."""
        try:
            if step is None:
                step = self._next
                if step is None:  # nobody has called iter()
                    step = self._next = iter(self._body).__next__
            piece = step()
        except StopIteration:
            if self._permit.token:
                self._complete()
            raise
        except BaseException as error:
            self._permit.end_by_error(error)
            raise
        if piece and not self._marked:
            self._marked = True
            self._permit.mark()
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

    def _complete(self) -> None:
        self._permit.success()

    def _leave(self) -> None:
        self._permit.cancel()


class _Pieces:
    """One iteration over a watched body that can be iterated several times."""

    __slots__ = ("_body", "_next")

    def __init__(self, body: WatchedBody, pieces: Iterator[Any]) -> None:
        self._body = body
        self._next = pieces.__next__

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._body.__next__(self._next)


class ResponseBody(WatchedBody):
    """The body of a response, whose status decides how the call ended.

    Args:
        body: What it passes on.
        permit: What it ends.
        gate: Decides what a status says.
        environ: Of the request.
        statuses: Its only item is the status line that the app has set last, None before.
    """

    __slots__ = ("_environ", "_gate", "_statuses")

    def __init__(
        self,
        body: Iterable[bytes],
        permit: Permit,
        gate: Gate,
        environ: dict[str, Any],
        statuses: list[Any],
    ) -> None:
        # Written out, and not by super(): this runs once per request.
        self._body = body
        self._marked = False
        self._next = None
        self._permit = permit
        self._environ = environ
        self._gate = gate
        self._statuses = statuses

    def _complete(self) -> None:
        end_by_status_line(self._gate, self._environ, self._permit, self._statuses)

    def _leave(self) -> None:
        # A 5xx that was sent before the client left stays a failure.
        if self._statuses and str(self._statuses[0]).startswith("5"):
            self._complete()
        else:
            self._permit.cancel()


class SizedResponseBody(ResponseBody):
    """A body of known length, which servers ask for to set Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(cast("Sized", self._body))


# Codes by status line. An app has few of them, and to look one up is faster than to parse it.
# Bounded, because an app could make up more.
_codes: dict[str, int] = {}
_MAX_CODES = 256


def end_by_status_line(
    gate: Gate, environ: dict[str, Any], permit: Permit, statuses: list[Any]
) -> None:
    """End a call by the status line that its app has set."""
    try:
        status = statuses[0]
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
    else:
        gate.end_by_status(environ, permit, code)
