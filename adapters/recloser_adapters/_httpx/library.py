"""What the adapters use of httpx and httpx2, which have the same API and different classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from recloser import BreakerOpenError
from recloser_adapters._outbound.refusal import (
    ClientBreakerOpenError,
    refusal_body,
    refusal_headers,
)

SentT = TypeVar("SentT", contravariant=True)
AnswerT = TypeVar("AnswerT", covariant=True)


@dataclass(frozen=True, slots=True)
class Library:
    """The classes of one of the two libraries.

    Attributes:
        request: A request.
        response: A response.
        url: A URL.
        fixed_body: A request body that runs no code of the user's, and can be sent again.
        refusal: The refusal, as an error of the library.
        read_timeout: What is raised when an answer does not come in time.
        status_error: What stands for an answer whose status was bad: it has it as `response`.
        wire_errors: What a transport raises for all that happens on the wire.
        local_errors: What a transport raises for the caller's own mistakes and for a full pool.
        unsent_errors: What a transport raises before anything was sent.
    """

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
        """The error of a refused call; the client adds the request."""
        return self.refusal.of(refusal)

    def refusal_response(self, request: object, refusal: BreakerOpenError) -> Any:
        """The 503 of a refused call."""
        return self.response(503, headers=refusal_headers(refusal), content=refusal_body(refusal))

    def answer_of(self, error: Any) -> Any:
        """The answer whose status was bad, if an error stands for one; else None."""
        return error.response if isinstance(error, self.status_error) else None


class URL(Protocol):
    """What is asked of a request's URL."""

    @property
    def host(self) -> str:
        """The host, without brackets; "" if it has none."""
        ...

    @property
    def port(self) -> int | None:
        """The port; None for the usual one."""
        ...


class Request(Protocol):
    """What is asked of a request."""

    @property
    def url(self) -> URL:
        """Where it goes."""
        ...

    @property
    def stream(self) -> object:
        """Its body."""
        ...


class Response(Protocol):
    """What is asked of a response."""

    status_code: int
    stream: Any
    extensions: Any

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, in whatever case."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether its body is complete and closed."""
        ...


class SyncInner(Protocol[SentT, AnswerT]):
    """A sync transport."""

    def handle_request(self, request: SentT) -> AnswerT:
        """Send a request, and return its response when the headers are there."""
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
        """Send a request, and return its response when the headers are there."""
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
    """Key by host, with the port where it is not the usual one: `api.example.org:8443`."""
    url: Any = request.url
    try:
        # What its `host` and `port` read from, in all versions of both libraries, at a third of the
        # price. Here an international name is always as it is sent: `xn--...`.
        parts: URL = url._uri_reference
    except AttributeError:
        parts = url
    host = parts.host
    port = parts.port
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"
