"""What the `httpx` and `httpx2` adapters share: all but the classes they derive from.

The two libraries have the same transport API and different classes. This module imports neither:
it sees them through protocols, and each adapter completes its classes with its own library's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters._httpx_body import (
    AsyncWatchedBody,
    Body,
    SyncWatchedBody,
)
from recloser_adapters._outbound import (
    ClientBreakerOpenError,
    Exchange,
    Outbound,
    refusal_body,
    refusal_headers,
)
from recloser_adapters._outbound_body import Ticket, is_event_stream

REFUSED = "recloser.refused"
"""In the extensions of a response that we made up: an outer breaker must not count it."""

OnRefuse = Literal["raise", "response"]


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


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)
InnerT = TypeVar("InnerT")
SentT = TypeVar("SentT", contravariant=True)
AnswerT = TypeVar("AnswerT", covariant=True)


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


class Transport(Generic[InnerT, RequestT, ResponseT]):
    """Guards the transport it wraps, one breaker per host.

    Args:
        transport: What sends. `Client(transport=...)` ignores the client's own `verify`, `http2`
            and `proxy`: set them there, or use `wrap_client`.
        registry: Where the breakers are; a new one unless given.
        key: One key for all requests (a provider's name), or what makes it from a request. A
            callable that returns None leaves the request unguarded; one that raises is a fault,
            and the request is then keyed by host.
        on_refuse: `"raise"` raises `BreakerOpenTransportError`. `"response"` answers a 503 that
            the OpenAI and Anthropic SDKs do not retry. A callable makes the response.
        classify: Overrules the verdict on a response (its headers are there, its body is not) or
            on an error; None from it leaves the default.
        sse_errors: Whether an error event within an event stream is a failure.
        on_end: Told of each admitted call after its end, on the thread that ended it.

    Raises:
        TypeError: A setting of the wrong type.
        ValueError: An empty key, or an unknown `on_refuse`.

    Attributes:
        wrapped: The transport that sends.
        outbound: The settings.
        local_errors: What a transport raises for the caller's own mistakes and for a full pool.
        transport_errors: What a transport raises for all that happens on the wire.
        fixed_body: The class of a request body that runs no code of the user's.
        body: The permit of a call, which replaces the stream of a response whose headers said that
            all is well.
        watched_body: What replaces it where the body has a say, too.
        refusal_class: The refusal as an error of the library.
        response_class: The library's response.
    """

    wrapped: InnerT
    outbound: Outbound[RequestT, ResponseT]

    local_errors: ClassVar[tuple[type[BaseException], ...]]
    transport_errors: ClassVar[tuple[type[BaseException], ...]]
    fixed_body: ClassVar[type]
    body: ClassVar[type[Body]]
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]]
    refusal_class: ClassVar[type[ClientBreakerOpenError]]
    response_class: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        transport: InnerT,
        registry: Registry | None = None,
        *,
        key: str | Callable[[RequestT], str | None] = by_host,
        on_refuse: OnRefuse | Callable[[RequestT, BreakerOpenError], ResponseT] = "raise",
        classify: Callable[[ResponseT | BaseException], Outcome | None] | None = None,
        sse_errors: bool = False,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.wrapped = transport
        self.outbound = Outbound(
            registry,
            by_host,
            key=key,
            on_refuse=on_refuse,
            classify=classify,
            sse_errors=sse_errors,
            on_end=on_end,
        )

    @classmethod
    def sharing(cls, outbound: Outbound[RequestT, ResponseT], transport: InnerT) -> Self:
        """Guard one more transport with the same settings; one that is guarded stays as it is."""
        if isinstance(transport, cls):
            return transport
        guard = cls.__new__(cls)
        guard.wrapped = transport
        guard.outbound = outbound
        return guard

    def refused(self, request: RequestT, refusal: BreakerOpenError) -> ResponseT:
        """Answer a refused request, or raise."""
        response = self.outbound.substitute(request, refusal)
        if response is None:
            if self.outbound.on_refuse != "response":
                raise self.refusal_class(
                    refusal.key, refusal.state, refusal.reason, refusal.retry_after
                )
            response = self.response_class(
                503, headers=refusal_headers(refusal), content=refusal_body(refusal)
            )
        response.extensions = {**response.extensions, REFUSED: True}
        return response

    def watch(self, ticket: Ticket, response: ResponseT) -> None:
        """Judge a response by its headers; where they do not decide, watch its body."""
        outbound = self.outbound
        try:
            if (
                isinstance(ticket, Body)
                and 200 <= response.status_code < 400
                and outbound.classify is None
                and not response.is_closed
                and not _is_event_stream(response.headers)
            ):
                # The usual answer, without the detour.
                ticket.mark()
                ticket.stream = response.stream
                response.stream = ticket
            elif REFUSED in response.extensions:
                ticket.ignore()
            else:
                self._watch_closely(ticket, response)
        except Exception as fault:
            outbound.registry.fault("outbound verdict", fault)

    def _watch_closely(self, ticket: Ticket, response: ResponseT) -> None:
        outbound = self.outbound
        headers = response.headers
        content_type = headers.get("content-type", "")
        watch = outbound.judge(ticket, response, response.status_code, headers, content_type)
        if watch is None:
            return
        if response.is_closed:
            # Made in memory: there is no stream that anybody would read.
            watch.eof()
        else:
            response.stream = self.watched_body(response.stream, watch)

    def end_by_error(self, ticket: Ticket, request: RequestT, error: BaseException) -> None:
        """End a call that raised before it had a response."""
        local = isinstance(error, self.local_errors) or (
            # A body that the user's own code makes raises through the transport.
            isinstance(error, Exception)
            and not isinstance(error, self.transport_errors)
            and not isinstance(request.stream, self.fixed_body)
        )
        self.outbound.end_by_error(ticket, error, local=local)


class SyncTransport(Transport[SyncInner[RequestT, ResponseT], RequestT, ResponseT]):
    """The sync half."""

    def handle_request(self, request: RequestT) -> ResponseT:
        """Send a request if its breaker admits it."""
        ticket = self.outbound.admit(request, self.body)
        if isinstance(ticket, BreakerOpenError):
            return self.refused(request, ticket)
        try:
            response = self.wrapped.handle_request(request)
        except BaseException as error:
            self.end_by_error(ticket, request, error)
            raise
        self.watch(ticket, response)
        return response

    def close(self) -> None:
        """Close the wrapped transport."""
        self.wrapped.close()

    def __enter__(self) -> Self:
        self.wrapped.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.wrapped.__exit__(exc_type, exc_value, traceback)


class AsyncTransport(Transport[AsyncInner[RequestT, ResponseT], RequestT, ResponseT]):
    """The async half."""

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Send a request if its breaker admits it."""
        ticket = self.outbound.admit(request, self.body)
        if isinstance(ticket, BreakerOpenError):
            return self.refused(request, ticket)
        try:
            response = await self.wrapped.handle_async_request(request)
        except BaseException as error:
            self.end_by_error(ticket, request, error)
            raise
        self.watch(ticket, response)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self.wrapped.aclose()

    async def __aenter__(self) -> Self:
        await self.wrapped.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.wrapped.__aexit__(exc_type, exc_value, traceback)


def _is_event_stream(headers: Any) -> bool:
    """Whether the headers announce server-sent events."""
    try:
        # Names as they came, names in lower case, and values, all as bytes, in all versions of both
        # libraries. `headers.get()` decodes each of them, and would be the dearest step of a call.
        for _, name, value in headers._list:
            if name == b"content-type":
                return bool(value[:17].lower() == b"text/event-stream")
    except (AttributeError, TypeError, ValueError):
        return is_event_stream(headers.get("content-type", ""))
    return False


def wrap_transports(
    client: object,
    kind: type[Transport[Any, RequestT, ResponseT]],
    registry: Registry | None,
    *,
    key: str | Callable[[RequestT], str | None],
    on_refuse: OnRefuse | Callable[[RequestT, BreakerOpenError], ResponseT],
    classify: Callable[[ResponseT | BaseException], Outcome | None] | None,
    sse_errors: bool,
    on_end: Callable[[Exchange], None] | None,
) -> None:
    """Put a guard around every transport of a client: its own, its proxies' and its mounts'.

    There is no public way to reach them; both libraries, in all versions supported, keep them in
    these two attributes.
    """
    attributes = vars(client)
    guard = kind(
        attributes["_transport"],
        registry,
        key=key,
        on_refuse=on_refuse,
        classify=classify,
        sse_errors=sse_errors,
        on_end=on_end,
    )
    attributes["_transport"] = kind.sharing(guard.outbound, guard.wrapped)
    # None stands for "no proxy here": the client's own transport is used.
    attributes["_mounts"] = {
        pattern: None if mount is None else kind.sharing(guard.outbound, mount)
        for pattern, mount in attributes["_mounts"].items()
    }
