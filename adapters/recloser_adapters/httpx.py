"""Breakers for httpx clients, sync and async.

    client = wrap_client(httpx.Client(http2=True), registry)

guards every request of a client, with its proxies and mounts; `BreakerTransport` and
`AsyncBreakerTransport` guard one transport. A call is one request as the transport sees it: each
hop of a redirect (keyed by its own host), each request of an authentication flow and each attempt
of an SDK is one; a connection tried again within a transport (`retries=`) is not.

A call ends with its body. Its latency is the time to the headers, of an event stream the time to
the first chunk. 5xx, 408 and errors on the wire are failures, 429 is obeyed with its Retry-After;
other 4xx, time-outs of the client's own pool and the caller's own mistakes say nothing. An error
that stands for an answer (`raise_for_status` within the wrapped transport) counts as that answer.

An LLM SDK retries whatever its client raises, and hides it. It gets a response that it does not
retry, and each attempt that it makes is a call:

    http_client = wrap_client(
        openai.DefaultHttpxClient(), registry, key="openai", on_refuse="response", sse_errors=True
    )
    client = openai.OpenAI(http_client=http_client)
"""

from __future__ import annotations

from typing import ClassVar, TypeVar, Unpack

import httpx

from recloser import BreakerOpenError, Registry
from recloser_adapters._httpx.addressing import ANY_PROVIDER, REPEATABLE, LLMEndpoint
from recloser_adapters._httpx.bodies import (
    AsyncBody,
    AsyncReadAhead,
    AsyncWatchedBody,
    SyncBody,
    SyncReadAhead,
    SyncWatchedBody,
)
from recloser_adapters._httpx.failover import PROVIDER, AsyncFailover, SyncFailover
from recloser_adapters._httpx.library import Library, by_host
from recloser_adapters._httpx.transports import AsyncTransport, SyncTransport, wrap_transports
from recloser_adapters._outbound.permit import CallReport
from recloser_adapters._outbound.refusal import ClientBreakerOpenError
from recloser_adapters._outbound.settings import CallSettings, RaiseOrResponse

__all__ = [
    "ANY_PROVIDER",
    "PROVIDER",
    "REPEATABLE",
    "AsyncBreakerTransport",
    "AsyncFailoverTransport",
    "BreakerOpenTransportError",
    "BreakerTransport",
    "CallReport",
    "CallSettings",
    "FailoverTransport",
    "LLMEndpoint",
    "by_host",
    "nothing_sent",
    "wrap_client",
]

ClientT = TypeVar("ClientT", bound=httpx.Client | httpx.AsyncClient)

_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class BreakerOpenTransportError(ClientBreakerOpenError, httpx.TransportError):
    """The breaker refused the request; nothing was sent.

    It is an `httpx.TransportError`, so what handles an unreachable host handles this; retry rules
    made for that error will try again, at no cost to the host. It is no `ConnectError` and no
    `TimeoutException`: nothing of the kind happened.
    """


_LIBRARY = Library(
    request=httpx.Request,
    response=httpx.Response,
    url=httpx.URL,
    fixed_body=httpx.ByteStream,
    refusal=BreakerOpenTransportError,
    read_timeout=httpx.ReadTimeout,
    status_error=httpx.HTTPStatusError,
    wire_errors=(httpx.TransportError, OSError),
    local_errors=(
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.LocalProtocolError,
        httpx.InvalidURL,
        httpx.StreamError,
    ),
    unsent_errors=_UNSENT,
)


class _SyncBody(SyncBody, httpx.SyncByteStream):
    pass


class _SyncWatchedBody(SyncWatchedBody, httpx.SyncByteStream):
    pass


class _SyncReadAhead(SyncReadAhead, httpx.SyncByteStream):
    pass


class _AsyncBody(AsyncBody, httpx.AsyncByteStream):
    pass


class _AsyncWatchedBody(AsyncWatchedBody, httpx.AsyncByteStream):
    pass


class _AsyncReadAhead(AsyncReadAhead, httpx.AsyncByteStream):
    pass


class BreakerTransport(SyncTransport[httpx.Request, httpx.Response], httpx.BaseTransport):
    """A sync transport that guards the one it wraps; its settings are those of `wrap_client`."""

    library: ClassVar[Library] = _LIBRARY
    body: ClassVar[type[SyncBody | AsyncBody]] = _SyncBody
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]] = _SyncWatchedBody
    read_ahead: ClassVar[type[SyncReadAhead | AsyncReadAhead]] = _SyncReadAhead


class AsyncBreakerTransport(
    AsyncTransport[httpx.Request, httpx.Response], httpx.AsyncBaseTransport
):
    """An async transport that guards the one it wraps; its settings are those of `wrap_client`."""

    library: ClassVar[Library] = _LIBRARY
    body: ClassVar[type[SyncBody | AsyncBody]] = _AsyncBody
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]] = _AsyncWatchedBody
    read_ahead: ClassVar[type[SyncReadAhead | AsyncReadAhead]] = _AsyncReadAhead


class FailoverTransport(SyncFailover[httpx.Request, httpx.Response], BreakerTransport):
    """Sends each request to the first provider that can serve it.

        failover = Failover(registry, [Provider("eu", "https://eu.x"), Provider("us", "https://us.x")])
        transport = FailoverTransport(httpx.HTTPTransport(), failover)
        client = httpx.Client(transport=transport, base_url=ANY_PROVIDER)

    The target of a provider is a base URL, with all of them alike (replicas of one service:
    credentials and cookies go to each), or an `LLMEndpoint`. Requests to `ANY_PROVIDER` or to any
    of the base URLs go to the provider chosen; others (a redirect to elsewhere) pass unguarded.
    `response.extensions[PROVIDER]` is the key of the one that answered.

    Another provider is tried where nothing was sent, and after a failure or a 429 of a request
    that may be repeated: by its method (RFC 9110), by an `Idempotency-Key`, and, where all targets
    are `LLMEndpoint`, if it asks a model for an answer. An event stream must have sent its first
    chunk: an error event or a cut before that is a failure. A body from a generator or a file is
    sent once. If the last answer is bad it is the answer: give SDKs that retry `max_retries=0`.

    The time limits of the failover become time-outs of the wrapped transport, never above those
    of the client. Between the headers of a stream and its first chunk the client's own read
    time-out holds; `AsyncFailoverTransport` cuts off there too.

    Args:
        transport: What sends.
        failover: The providers and their rules; its `classify` and `nothing_sent` are not asked.
        repeatable: Whether a request may be sent twice; None from it leaves the default. The
            extension `REPEATABLE` of a request comes before it.
        **settings: `on_refuse` (what follows when all refuse), `classify` and `sse_errors` of
            `CallSettings`; the last is True unless given.

    Raises:
        TypeError: A setting of the wrong type, or a target that is neither of the two.
        ValueError: A base URL that is none.
    """


class AsyncFailoverTransport(AsyncFailover[httpx.Request, httpx.Response], AsyncBreakerTransport):
    """`FailoverTransport` for an `httpx.AsyncClient`.

    On asyncio an attempt that takes too long is cut off, up to the first chunk of a stream.
    """


def nothing_sent(error: BaseException) -> bool:
    """Tell whether a request certainly never left: the rule for `Failover(nothing_sent=...)`."""
    return isinstance(error, (*_UNSENT, BreakerOpenError))


def wrap_client(
    client: ClientT,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[httpx.Request, httpx.Response, RaiseOrResponse]],
) -> ClientT:
    """Guard every request of a client, whichever of its transports, proxies or mounts sends it.

    Args:
        client: An `httpx.Client` or `httpx.AsyncClient`, before or after its first request. What
            is guarded already is left alone.
        registry: Where the breakers are; a new one unless given.
        **settings: `key`, `on_refuse`, `classify`, `sse_errors` and `on_end`: see `CallSettings`.

    Returns:
        The same client.

    Raises:
        TypeError: A setting of the wrong type, or no client of this library.
        ValueError: An empty key, or an unknown `on_refuse`.
    """
    if not isinstance(client, (httpx.Client, httpx.AsyncClient)):
        raise TypeError(f"client must be an httpx client, not {client!r}")
    kind = BreakerTransport if isinstance(client, httpx.Client) else AsyncBreakerTransport
    wrap_transports(client, kind, registry, settings)
    return client
