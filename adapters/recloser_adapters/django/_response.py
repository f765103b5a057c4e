"""One call of a view, and its response, as the middleware of the core sees them.

Django has its own requests and responses, and its handlers are plain functions or coroutines. The
core's WSGI middleware watches all of that, without being told: it is called with a request that is a
mapping, `request.META`, and with an app whose body comes piece by piece, as the view and its response
allow. So there is one set of promises, and nothing is decided here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from django.http.response import HttpResponseBase

from recloser import Permit


class Answer:
    """The body of an app. It has the piece that was put into it, and ends where there is none.

    Attributes:
        start: The `start_response` for it.
        piece: The next piece.
    """

    __slots__ = ("piece", "start")

    def __init__(self, start: Callable[..., Any]) -> None:
        self.start: Callable[..., Any] = start
        self.piece: bytes | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self.piece
        if piece is None:
            raise StopIteration
        self.piece = None
        return piece


class Call:
    """One call of a view that a breaker watches.

    Args:
        permit: Its permit.
        answer: What the app has returned.
        body: That, watched by the middleware of the core.
    """

    __slots__ = ("_answer", "_body", "permit")

    def __init__(self, permit: Permit, answer: Answer, body: Any) -> None:
        self.permit: Permit = permit
        self._answer = answer
        self._body = body

    def returned(self, response: HttpResponseBase, environ: dict[str, Any]) -> None:
        """Take the response. If it streams, the call ends with its last piece."""
        streams = response.streaming and not _is_file_for_server(response, environ)
        headers = [*response.items()] if streams else ()
        if not streams:
            # All of it is there now. Otherwise the core would take it for a stream that has ended
            # without a piece, whose latency is not judged.
            self.permit.mark()
        self._answer.start(str(response.status_code), headers)
        if not streams:
            self.ended()
            return
        content: Any = response
        kind = _AsyncPieces if getattr(response, "is_async", False) else _Pieces
        content.streaming_content = kind(self, content.streaming_content)

    def passed(self, piece: bytes) -> None:
        """Take note of a piece of the response, which is handed on now."""
        if not self.permit.ended:
            self._answer.piece = piece
            next(self._body)

    def ended(self) -> None:
        """End the call: the response is complete."""
        next(self._body, None)

    def raised(self, error: BaseException) -> None:
        """End the call by what the view or the body of its response has raised."""
        if isinstance(error, Exception):
            self.permit.end_by_error(error)
        else:
            self.left(error)

    def left(self, error: BaseException | None = None) -> None:
        """End the call before its response has ended: the client has left, or it was cancelled."""
        # After a status of 5xx it is a failure all the same.
        self._body.close()


class _Pieces:
    """The content of a response that streams."""

    def __init__(self, call: Call, pieces: Iterator[bytes]) -> None:
        self._call = call
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        call = self._call
        try:
            piece = next(self._pieces)
        except StopIteration:
            call.ended()
            raise
        except BaseException as error:
            call.raised(error)
            raise
        call.passed(piece)
        return piece

    def close(self) -> None:
        """End the call, if it has not ended. Django closes the content inside itself."""
        self._call.left()


class _AsyncPieces:
    """The same under ASGI, for an async iterator."""

    def __init__(self, call: Call, pieces: AsyncIterator[bytes]) -> None:
        self._call = call
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        call = self._call
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            call.ended()
            raise
        except BaseException as error:
            call.raised(error)
            raise
        call.passed(piece)
        return piece

    def close(self) -> None:
        """End the call, if it has not ended."""
        self._call.left()


def _is_file_for_server(response: Any, environ: dict[str, Any]) -> bool:
    """Whether the server sends the file of a response itself: its handler has done its work then."""
    is_file = getattr(response, "file_to_stream", None) is not None
    return is_file and bool(environ.get("wsgi.file_wrapper"))
