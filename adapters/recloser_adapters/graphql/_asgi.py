"""The ASGI middleware: reads the name of the operation before the breaker is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from recloser import Mode, Registry
from recloser.asgi import BreakerMiddleware, permit_of
from recloser.hints import knows_names
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters.graphql._answer import AnswerWatch, ClassifyError
from recloser_adapters.graphql._keys import OperationKeys
from recloser_adapters.graphql._request import LONGEST, Operation, of_body, of_query_string
from recloser_adapters.graphql._settings import KEY, check_functions, checked_paths, is_of

ASGIApp: TypeAlias = Callable[..., Any]
_Message: TypeAlias = "dict[str, Any]"


class GraphQLMiddleware:
    """Guard each operation of a GraphQL endpoint with its own breaker.

    The key is the name of the operation, such as `GRAPHQL Orders`. Requests for other paths pass, and
    so do WebSockets and pages. At most 64 KiB of a body are read before the app gets all of it.

    If breakers by route guard the same app, exempt the endpoint there.

    Args:
        app: The app: that of the endpoint, or the whole one.
        registry: Holds the breakers; by default a new one.
        path: The path of the endpoint, or several; with or without the path of a mount before it.
        operations: The names that have a key of their own; all others share `GRAPHQL <other>`. By
            default the first `max_operations` names that are seen have one.
        max_operations: Names that have a key of their own without `operations`, >= 1.
        classify_error: A function that takes one of the `errors` of an answer and returns its
            `Outcome`, or None for the default: a code such as `BAD_USER_INPUT` or an error without
            a path is the client's, any other is a failure.
        on_refuse: An ASGI app that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled.

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
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        path: str | Iterable[str] = "/graphql",
        operations: Iterable[str] | None = None,
        max_operations: int = 100,
        classify_error: ClassifyError | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        self._paths = checked_paths(path)
        self._keys = OperationKeys(operations, most=max_operations)
        check_functions(app, "an ASGI app", classify_error)
        self.app: ASGIApp = app
        self._guard = BreakerMiddleware(
            _Judged(app, classify_error, self._fault),
            registry,
            key=_key,
            exempt=(),
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
            cut_off=cut_off,
        )
        self.registry: Registry = self._guard.registry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not is_of(
            self._paths, scope["path"], scope.get("root_path") or ""
        ):
            return await self.app(scope, receive, send)  # type: ignore[no-any-return]
        if scope["method"] == "POST":
            beginning = _Beginning(receive)
            await beginning.read()
            receive = beginning
            operations = self._asked(beginning, scope)
        elif scope["method"] == "GET":
            operations = self._read(lambda: of_query_string(scope.get("query_string", b"")))
        else:
            operations = []
        if not operations:
            return await self.app(scope, receive, send)  # type: ignore[no-any-return]
        scope[KEY] = self._keys.key_of(operations)
        return await self._guard(scope, receive, send)

    def _asked(self, beginning: _Beginning, scope: Any) -> list[Operation]:
        def read() -> list[Operation]:
            body = b"".join(beginning.pieces)
            encoding = _header(scope["headers"], b"content-encoding")
            if encoding:
                body = Decoder(encoding).feed(body)
            kind = _header(scope["headers"], b"content-type")
            is_whole = beginning.is_whole and len(body) <= LONGEST
            return of_body(body, kind, is_whole=is_whole)

        return self._read(read)

    def _read(self, read: Callable[[], list[Operation]]) -> list[Operation]:
        try:
            return read()
        except Exception as error:
            self._fault("graphql", error)
            return [Operation("")]

    def _fault(self, where: str, error: BaseException) -> None:
        self.registry.fault(where, error)


class _Beginning:
    """The beginning of a body. It is the `receive` of the app, which gets all of it."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._messages: list[_Message] = []
        self.pieces: list[bytes] = []
        self.is_whole = False

    async def read(self) -> None:
        size = 0
        while not self.is_whole and size < LONGEST:
            message = await self._receive()
            self._messages.append(message)
            if message["type"] != "http.request":
                break  # the client has left
            piece = message.get("body", b"")
            self.pieces.append(piece)
            size += len(piece)
            self.is_whole = not message.get("more_body", False)
        self._messages.reverse()

    async def __call__(self) -> _Message:
        if self._messages:
            return self._messages.pop()
        message: _Message = await self._receive()
        return message


class _Judged:
    """The app inside of the breaker, whose answers are read."""

    def __init__(self, app: ASGIApp, classify: ClassifyError | None, fault: Any) -> None:
        self.app = app
        self._classify = classify
        self._fault = fault

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        watch = AnswerWatch(0, "", "")

        async def read(message: _Message) -> None:
            nonlocal watch
            try:
                kind = message["type"]
                if kind == "http.response.start":
                    headers = message.get("headers", ())
                    watch = AnswerWatch(
                        message["status"],
                        _header(headers, b"content-type"),
                        _header(headers, b"content-encoding"),
                    )
                elif kind == "http.response.body" and watch.reads:
                    watch.add(message.get("body", b""))
                    if not message.get("more_body"):
                        watch.end(permit_of(scope), self._classify, self._fault)
            except Exception as error:  # the message has an unknown form
                self._fault("message", error)
            await send(message)

        await self.app(scope, receive, read)


def _key(scope: Any) -> str | None:
    key: str | None = scope.get(KEY)
    return key


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return next((str(value, "latin-1") for each, value in headers if each.lower() == name), "")
