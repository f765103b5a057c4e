"""Transports that guard another transport, for httpx and httpx2, sync and async."""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack

from recloser import BreakerOpenError, Injected, Outcome, Refused, Registry, Unguarded
from recloser.hints import knows_names
from recloser_adapters._httpx.bodies import (
    AsyncBody,
    AsyncReadAhead,
    AsyncWatchedBody,
    SyncBody,
    SyncReadAhead,
    SyncWatchedBody,
)
from recloser_adapters._httpx.cut_off import lower_read, lowered_timeouts
from recloser_adapters._httpx.library import (
    LIBRARIES,
    AsyncInner,
    Library,
    Request,
    Response,
    SyncInner,
)
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.good_answers import NOT_PLAIN
from recloser_adapters._outbound.permit import ReportedPermit
from recloser_adapters._outbound.settings import CallSettings, RaiseOrResponse
from recloser_adapters._outbound.streams import LONGEST_TYPE

REFUSED = "recloser.refused"
"""Key in the extensions of a response to a refused call: outer breakers ignore the response."""

_NOT_PLAIN = tuple(kind.encode("ascii") for kind in NOT_PLAIN)
_JSON = b"application/json"
_SYNC, _ASYNC = "handle_request", "handle_async_request"

RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)
InnerT = TypeVar("InnerT")


class Transport(Generic[InnerT, RequestT, ResponseT]):
    """Guards the transport it wraps, one breaker per host.

    Args:
        transport: The transport that sends. `Client(transport=...)` ignores the client's own
            `verify`, `http2` and `proxy`: set them on this transport, or use `wrap_client`.
        registry: Holds the breakers; by default a new one.
        **settings: See `CallSettings`.

    Raises:
        TypeError: A setting has the wrong type or does not exist.
        ValueError: The key is empty, or `on_refuse` is unknown.

    Attributes:
        wrapped: The transport that sends.
        outbound: Admits the calls and decides their outcomes.
        library: The classes of the library.
        sends: The method by which a transport of this kind sends.
        body: The class of permits. A permit replaces the stream of a good answer.
        watched_body: Replaces the stream if a watch must see the body.
        read_ahead: Replaces the stream if a failover has read the first chunk.
    """

    wrapped: InnerT
    outbound: OutboundCalls[RequestT, ResponseT]

    library: ClassVar[Library]
    sends: ClassVar[str]
    body: ClassVar[type[SyncBody | AsyncBody]]
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]]
    read_ahead: ClassVar[type[SyncReadAhead | AsyncReadAhead]]

    @knows_names
    def __init__(
        self,
        transport: InnerT,
        registry: Registry | None = None,
        **settings: Unpack[CallSettings[RequestT, ResponseT, RaiseOrResponse]],
    ) -> None:
        self._guard(transport, registry, settings)

    def _guard(
        self,
        transport: InnerT,
        registry: Registry | None,
        settings: CallSettings[RequestT, ResponseT, RaiseOrResponse],
    ) -> None:
        check_transport(transport, self.library, self.sends)
        self.wrapped = transport
        self.outbound = OutboundCalls(
            registry,
            settings,
            keys=self.library.keys,
            refusal_error=self.library.refusal_error,
            refusal_response=self.library.refusal_response,
        )
        self.outbound.injects = True

    def __getattr__(self, name: str) -> Any:
        """Say why a client cannot send with a transport of the other kind; called for no other name."""
        own = type(self).__name__
        if name not in (_SYNC, _ASYNC):
            raise AttributeError(f"{own!r} object has no attribute {name!r}")
        kind = "Async" if name == _ASYNC else ""
        client, write = f"{self.library.name}.{kind}Client", kind + own.removeprefix("Async")
        raise AttributeError(f"{own} is no transport of an {client}: write {write}")

    @classmethod
    def sharing(cls, outbound: OutboundCalls[RequestT, ResponseT], transport: InnerT) -> Self:
        """Guard one more transport with the same settings; return a guarded one unchanged."""
        if isinstance(transport, cls):
            return transport
        guard = cls.__new__(cls)
        guard.wrapped = transport
        guard.outbound = outbound
        return guard

    def hopeless_after(self, injected: Injected) -> float:
        """Seconds after which a call that hangs on purpose is cut off."""
        return injected.permit.timeout if self.outbound.cut_off else inf

    def refused(self, request: RequestT, refusal: BreakerOpenError) -> ResponseT:
        """Return the response to a refused request, or raise the refusal."""
        response = self.outbound.answer_refusal(request, refusal)
        response.extensions = {**response.extensions, REFUSED: True}
        return response

    def watch(
        self,
        permit: SyncBody | AsyncBody | ReportedPermit,
        response: ResponseT,
        request: RequestT | None = None,
        timeouts: dict[str, Any] | None = None,
    ) -> None:
        """Decide by the headers of a response. If they are not enough, watch its body.

        Args:
            permit: The permit of the call.
            response: The response.
            request: The request; None if it is unknown.
            timeouts: The time-outs by which the wrapped transport reads the body, if they may be
                lowered.
        """
        outbound = self.outbound
        try:
            if (
                isinstance(permit, self.body)
                and response.status_code in outbound.good_statuses
                and not response.is_closed
                and is_plain(response.headers)
                and (
                    request is None or request.method != "POST" or not outbound.looks_into(request)
                )
            ):
                # The usual case. `watch_answer` decides the same, but takes longer.
                permit.mark()
                permit.stream = response.stream
                response.stream = permit
            elif REFUSED in response.extensions:
                permit.end(Outcome.IGNORED)
            else:
                self._watch_closely(permit, response, request, timeouts)
        except Exception as fault:
            outbound.registry.fault("outbound outcome", fault)

    def _watch_closely(
        self,
        permit: SyncBody | AsyncBody | ReportedPermit,
        response: ResponseT,
        request: RequestT | None,
        timeouts: dict[str, Any] | None,
    ) -> None:
        headers = response.headers
        content_type = headers.get("content-type", "")
        watch = self.outbound.watch_answer(
            permit, response, response.status_code, headers, content_type, request
        )
        if watch is None:
            return
        if response.is_closed:
            # The response was made in memory, so its stream is never read.
            if watch.reads:
                watch.chunk(response.content)
            watch.eof()
            return
        if timeouts and watch.cuts_off:
            lower_read(timeouts, watch.longest_wait)
        response.stream = self.watched_body(response.stream, watch, self.library.read_timeout)

    def end_by_error(
        self,
        permit: SyncBody | AsyncBody | ReportedPermit,
        request: RequestT,
        error: BaseException,
    ) -> None:
        """End a call that raised before it had a response."""
        library = self.library
        answer = library.answer_of(error)
        if answer is not None:
            self.outbound.end_by_error(
                permit,
                error,
                local=REFUSED in answer.extensions,
                status=answer.status_code,
                headers=answer.headers,
                request=request,
            )
            return
        local = isinstance(error, library.local_errors) or (
            # If user code makes the request body, its errors come out of the transport.
            isinstance(error, Exception)
            and not isinstance(error, library.wire_errors)
            and not isinstance(request.stream, library.fixed_body)
        )
        self.outbound.end_by_error(permit, error, local=local, request=request)


class SyncTransport(Transport[SyncInner[RequestT, ResponseT], RequestT, ResponseT]):
    """The sync transport."""

    sends: ClassVar[str] = _SYNC

    def handle_request(self, request: RequestT) -> ResponseT:
        """Send a request if its breaker admits it."""
        permit = self.outbound.admit(request, self.body)
        if isinstance(permit, Refused):
            return self.refused(request, permit.error())
        if isinstance(permit, Unguarded):
            if not isinstance(permit, Injected):
                return self.wrapped.handle_request(request)
            permit = permit.strike(self.library.wire_errors[0], self.hopeless_after(permit))
        timeouts: dict[str, Any] | None = None
        try:
            if self.outbound.cut_off:
                with lowered_timeouts(request, permit.timeout) as timeouts:
                    response = self.wrapped.handle_request(request)
            else:
                response = self.wrapped.handle_request(request)
        except BaseException as error:
            self.end_by_error(permit, request, error)
            raise
        self.watch(permit, response, request, timeouts)
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
    """The async transport."""

    sends: ClassVar[str] = _ASYNC

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Send a request if its breaker admits it."""
        permit = self.outbound.admit(request, self.body)
        if isinstance(permit, Refused):
            return self.refused(request, permit.error())
        if isinstance(permit, Unguarded):
            if not isinstance(permit, Injected):
                return await self.wrapped.handle_async_request(request)
            limit = self.hopeless_after(permit)
            permit = await permit.strike_async(self.library.wire_errors[0], limit)
        timeouts: dict[str, Any] | None = None
        try:
            if self.outbound.cut_off:
                with lowered_timeouts(request, permit.timeout) as timeouts:
                    response = await self.wrapped.handle_async_request(request)
            else:
                response = await self.wrapped.handle_async_request(request)
        except BaseException as error:
            self.end_by_error(permit, request, error)
            raise
        self.watch(permit, response, request, timeouts)
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


def is_plain(headers: Any) -> bool:
    """Whether the headers of a response announce neither a stream nor HTML."""
    try:
        # In all versions of both libraries this list holds (name, lower-case name, value) as bytes.
        # `headers.get()` decodes all of them: it would be the most expensive step of a call.
        for _, name, value in headers._list:
            if name == b"content-type":
                return value == _JSON or not value[:LONGEST_TYPE].lower().startswith(_NOT_PLAIN)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def check_transport(transport: object, library: Library, sends: str) -> None:
    """Check that a transport may be one of this library, and of the kind that is wanted.

    Args:
        transport: What was given.
        library: The library.
        sends: The method by which it must send: `handle_request` or `handle_async_request`.

    Raises:
        TypeError: It is one of the other library or kind, a client, a class, or no transport.
    """
    theirs = {kind.__module__.partition(".")[0] for kind in type(transport).__mro__}
    if not isinstance(transport, type) and (library.name in theirs or not theirs & LIBRARIES):
        if hasattr(transport, sends):
            return
        if hasattr(transport, _ASYNC):
            raise TypeError(
                f"transport must be a sync transport, not {_named(transport)}: write an Async class "
                "around it, or give it a sync transport"
            )
        if hasattr(transport, _SYNC):
            raise TypeError(
                f"transport must be an async transport, not {_named(transport)}: write a class "
                "without Async around it, or give it an async transport"
            )
    raise TypeError(
        f"transport must be a transport of {library.name}, not {told(transport, library)}"
    )


def _named(given: object) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"


def told(given: object, wanted: Library) -> str:
    """Name an object that is of no use here, and what to write instead."""
    if isinstance(given, type):
        return f"the class {given.__name__}: write {given.__name__}(), with parentheses"
    if isinstance(given, Registry):
        return f"{given!r}: the client or transport comes first, and the registry after it"
    named = _named(given)
    theirs = {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
    if wanted.name in theirs and hasattr(given, "send"):
        return f"{named}: write wrap_client(client) to guard a client"
    if wanted.name in theirs and (hasattr(given, _SYNC) or hasattr(given, _ASYNC)):
        return f"{named}: write BreakerTransport(transport) to guard a transport"
    for library in sorted(LIBRARIES & theirs - {wanted.name}):
        return f"{named}: import recloser_adapters.{library} for it"
    inner = getattr(given, "_client", None)
    for library in sorted(LIBRARIES & {type(inner).__mro__[-2].__module__.partition(".")[0]}):
        return (
            f"{named}: make an {library} client, wrap it with recloser_adapters.{library}, and give "
            "it to the SDK (http_client=)"
        )
    return f"{named}: recloser_adapters has one module for each client library"


def wrap_transports(
    client: object,
    kind: type[Transport[Any, RequestT, ResponseT]],
    registry: Registry | None,
    settings: CallSettings[RequestT, ResponseT, RaiseOrResponse],
) -> None:
    """Guard every transport of a client: its own and those of its proxies and mounts.

    There is no public access to them. In all supported versions both libraries keep them in these
    two attributes.
    """
    attributes = vars(client)
    guard = kind(attributes["_transport"], registry, **settings)
    attributes["_transport"] = kind.sharing(guard.outbound, guard.wrapped)
    # None means that these URLs use no proxy, so the client's own transport sends them.
    attributes["_mounts"] = {
        pattern: None if mount is None else kind.sharing(guard.outbound, mount)
        for pattern, mount in attributes["_mounts"].items()
    }
