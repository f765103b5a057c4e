"""The WSGI middleware: reads the name of the operation before the breaker is asked."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from recloser import Mode, Registry
from recloser.hints import knows_names
from recloser.wsgi import BreakerMiddleware, permit_of
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters.graphql._answer import AnswerWatch, ClassifyError
from recloser_adapters.graphql._keys import OperationKeys
from recloser_adapters.graphql._request import LONGEST, Operation, of_body, of_query_string
from recloser_adapters.graphql._settings import KEY, check_functions, checked_paths, is_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class WsgiGraphQLMiddleware:
    """Guard each operation of a GraphQL endpoint of a WSGI app with its own breaker.

    See `GraphQLMiddleware`, which has the same arguments. A body without a `Content-Length` is read
    only if the server says that it ends (`wsgi.input_terminated`).

    Args:
        app: The app: that of the endpoint, or the whole one.
        registry: Holds the breakers; by default a new one.
        path: The path of the endpoint, or several; with or without the path of a mount before it.
        operations: The names that have a key of their own; all others share `GRAPHQL <other>`.
        max_operations: Names that have a key of their own without `operations`, >= 1.
        classify_error: A function that takes one of the `errors` of an answer and returns its
            `Outcome`, or None for the default.
        on_refuse: A WSGI app that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Attributes:
        app: The app.
        registry: The registry.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A path does not begin with a slash, or a number is out of range.
    """

    @knows_names
    def __init__(
        self,
        app: WSGIApplication,
        registry: Registry | None = None,
        *,
        path: str | Iterable[str] = "/graphql",
        operations: Iterable[str] | None = None,
        max_operations: int = 100,
        classify_error: ClassifyError | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        self._paths = checked_paths(path)
        self._keys = OperationKeys(operations, most=max_operations)
        check_functions(app, "a WSGI app", classify_error)
        self.app: WSGIApplication = app
        self._classify = classify_error
        self._guard = BreakerMiddleware(
            self._judged,
            registry,
            key=_key,
            exempt=(),
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
        )
        self.registry: Registry = self._guard.registry

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        root, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
        if not is_of(self._paths, path, root):
            return self.app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        operations: list[Operation] = []
        if method == "POST":
            body, is_whole = _beginning(environ)
            operations = self._read(lambda: _asked(environ, body, is_whole))
        elif method == "GET":
            query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
            operations = self._read(lambda: of_query_string(query))
        if not operations:
            return self.app(environ, start_response)
        environ[KEY] = self._keys.key_of(operations)
        return self._guard(environ, start_response)

    def _read(self, read: Callable[[], list[Operation]]) -> list[Operation]:
        try:
            return read()
        except Exception as error:
            self._fault("graphql", error)
            return [Operation("")]

    def _fault(self, where: str, error: BaseException) -> None:
        self.registry.fault(where, error)

    def _judged(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The app inside of the breaker, whose answers are read."""
        said: list[Any] = [None, 0]

        def read_head(
            status: str, headers: list[tuple[str, str]], *more: Any
        ) -> Callable[[bytes], object]:
            try:
                fields = {name.lower(): value for name, value in headers}
                code, encoding = int(status[:3]), fields.get("content-encoding", "")
                said[0] = AnswerWatch(code, fields.get("content-type", ""), encoding)
                said[1] = int(fields.get("content-length", -1))
            except Exception as error:  # to reject it is the server's task
                self._fault("message", error)
            return start_response(status, headers, *more)

        body = self.app(environ, read_head)
        watch: AnswerWatch | None = said[0]
        if watch is None or not watch.reads:
            return body
        if isinstance(body, list | tuple):
            for piece in body:
                watch.add(piece)
            watch.end(permit_of(environ), self._classify, self._fault)
            return body
        return _Read(body, watch, said[1], lambda: self._end(environ, watch))

    def _end(self, environ: WSGIEnvironment, watch: AnswerWatch) -> None:
        watch.end(permit_of(environ), self._classify, self._fault)


class _Read:
    """A body that is read while it is sent."""

    def __init__(
        self, body: Iterable[bytes], watch: AnswerWatch, length: int, end: Callable[[], None]
    ) -> None:
        self._body = body
        self._watch = watch
        self._left = length
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._watch.add(piece)
            self._left -= len(piece)
            if self._left == 0:
                self._end()  # the breaker ends the call with a piece that is the whole body
            yield piece
        self._end()

    def close(self) -> None:
        close: Any = getattr(self._body, "close", None)
        if close is not None:
            close()


class _Rest(io.RawIOBase):
    """A body of which the beginning was read: that, then the rest, and nothing beyond its length."""

    def __init__(self, beginning: bytes, rest: Any, left: int) -> None:
        super().__init__()
        self._beginning = beginning
        self._rest = rest
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self._beginning:
            piece, self._beginning = self._beginning[:size], self._beginning[size:]
        elif self._left > 0:
            piece = self._rest.read(min(size, self._left))
            self._left -= len(piece)
        else:
            piece = b""
        buffer[: len(piece)] = piece
        return len(piece)


class _Broken(io.RawIOBase):
    """A body that could not be read: the app meets that error as it would without us."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise self._error


def _beginning(environ: WSGIEnvironment) -> tuple[bytes, bool]:
    """Read the beginning of a body, and put it back; and whether it is the whole one."""
    try:
        return _read_beginning(environ)
    except Exception as error:
        if "wsgi.input" in environ:
            environ["wsgi.input"] = io.BufferedReader(_Broken(error))
        return b"", False


def _read_beginning(environ: WSGIEnvironment) -> tuple[bytes, bool]:
    stream: Any = environ["wsgi.input"]
    try:
        length = int(environ.get("CONTENT_LENGTH") or -1)
    except ValueError:
        length = -1
    if length < 0:
        if not environ.get("wsgi.input_terminated"):
            return b"", False
        body: bytes = stream.read(LONGEST)
        is_whole = len(body) < LONGEST
        left = 0 if is_whole else 1 << 62
    else:
        body = stream.read(min(length, LONGEST))
        left = length - len(body) if length > LONGEST else 0
        is_whole = left == 0
    if is_whole:
        environ["wsgi.input"] = io.BytesIO(body)
    else:
        environ["wsgi.input"] = io.BufferedReader(_Rest(body, stream, left))
    return body, is_whole


def _asked(environ: WSGIEnvironment, body: bytes, is_whole: bool) -> list[Operation]:
    encoding = environ.get("HTTP_CONTENT_ENCODING", "")
    if encoding:
        body = Decoder(encoding).feed(body)
    whole = is_whole and len(body) <= LONGEST
    return of_body(body, environ.get("CONTENT_TYPE", ""), is_whole=whole)


def _key(environ: WSGIEnvironment) -> str | None:
    key: str | None = environ.get(KEY)
    return key
