"""The parts of httpx and httpx2 that the adapters use: same API, different classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from recloser import BreakerOpenError
from recloser_adapters._outbound.keys import Keys
from recloser_adapters._outbound.refusal import (
    ClientBreakerOpenError,
    refusal_body,
    refusal_headers,
)
from recloser_adapters._outbound.request_reader import RequestReader

SentT = TypeVar("SentT", contravariant=True)
AnswerT = TypeVar("AnswerT", covariant=True)


LIBRARIES = frozenset({"httpx", "httpx2"})


@dataclass(frozen=True, slots=True)
class Library:
    """The classes of one of the two libraries.

    Attributes:
        name: Its name.
        keys: The ready-made keys.
        request: The class of requests.
        response: The class of responses.
        url: The class of URLs.
        fixed_body: The class of request bodies that run no user code and can be sent again.
        refusal: The error for a refused call, a subclass of an error of the library.
        read_timeout: The error for an answer that does not arrive in time.
        status_error: The error for an answer with a bad status. Its `response` is that answer.
        wire_errors: Errors that a transport raises for problems on the wire.
        local_errors: Errors that a transport raises for the caller's own mistakes and for a full
            pool.
        unsent_errors: Errors that a transport raises before it has sent anything.
    """

    name: str
    keys: Keys[Any]
    request: type[Any]
    response: type[Any]
    url: type[Any]
    fixed_body: type[Any]
    refusal: type[ClientBreakerOpenError]
    read_timeout: type[Any]
    status_error: type[Any]
    wire_errors: tuple[type[BaseException], ...]
    local_errors: tuple[type[BaseException], ...]
    unsent_errors: tuple[type[BaseException], ...]

    def refusal_error(self, request: object, refusal: BreakerOpenError) -> BreakerOpenError:
        """The error of a refused call. The client adds the request to it."""
        return self.refusal.of(refusal)

    def refusal_response(self, request: object, refusal: BreakerOpenError) -> Any:
        """The 503 of a refused call."""
        response: Any = self.response(
            503, headers=refusal_headers(refusal), content=refusal_body(refusal)
        )
        response.recloser_refused = True  # for breakers around an SDK that raises an error for it
        return response

    def answer_of(self, error: Any) -> Any:
        """The answer that an error reports, if the error was raised for a bad status; else None."""
        return error.response if isinstance(error, self.status_error) else None


class URL(Protocol):
    """The parts of a request's URL that are used here."""

    @property
    def host(self) -> str:
        """The host, without brackets; "" if the URL has none."""
        ...

    @property
    def port(self) -> int | None:
        """The port; None for the default port of the scheme."""
        ...


class Request(Protocol):
    """The parts of a request that are used here."""

    @property
    def url(self) -> URL:
        """The URL it is sent to."""
        ...

    @property
    def stream(self) -> object:
        """Its body."""
        ...

    @property
    def method(self) -> str:
        """Its method, in upper case."""
        ...


class Response(Protocol):
    """The parts of a response that are used here."""

    status_code: int
    stream: Any
    extensions: Any

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; names may be in any case."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether its body is complete and closed."""
        ...

    @property
    def content(self) -> bytes:
        """Its decoded body, if it is complete."""
        ...


class SyncInner(Protocol[SentT, AnswerT]):
    """A sync transport."""

    def handle_request(self, request: SentT) -> AnswerT:
        """Send a request, and return its response as soon as the headers have arrived."""
        ...

    def close(self) -> None:
        """Close the connections."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...


class AsyncInner(Protocol[SentT, AnswerT]):
    """An async transport."""

    async def handle_async_request(self, request: SentT) -> AnswerT:
        """Send a request, and return its response as soon as the headers have arrived."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...


def by_host(request: Request) -> str:
    """Key by host, plus the port if it is not the default: `api.example.org:8443`."""
    url: Any = request.url
    try:
        # In all versions of both libraries `host` and `port` read this attribute. Reading it here
        # costs a third. It has an international name as it is sent: `xn--...`.
        parts: URL = url._uri_reference
    except AttributeError:
        parts = url
    host = parts.host
    port = parts.port
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _tail(request: Any) -> str:
    try:
        # As in `by_host`: from `url.raw_path` it would take five times as long.
        path: str = request.url._uri_reference.path
    except AttributeError:
        path = request.url.path
    return path[path.rfind("/") + 1 :]


def _query(request: Any) -> str:
    try:
        query: str | None = request.url._uri_reference.query
    except AttributeError:
        query = request.url.query.decode("ascii", "replace")
    return query or ""


def _target(request: Any) -> str:
    target: bytes = request.url.raw_path
    return target.decode("ascii", "replace")


def _header(request: Any, name: str) -> str:
    value: str = request.headers.get(name, "")
    return value


def _body(request: Any) -> bytes:
    # Set where the body was given as bytes, text, JSON or a form. Other bodies are never read here.
    body: object = getattr(request, "_content", b"")
    return body if isinstance(body, bytes) else b""


def keys_of(module: str) -> Keys[Any]:
    """The ready-made keys of one of the two libraries.

    Args:
        module: The name of its adapter.
    """
    return Keys(module, RequestReader(by_host, _tail, _query, _target, _header, _body))
