# Generated from httpx.py by .ci/generate_httpx2.py: change that one, and run the script.
"""Breakers for httpx2 clients, sync and async.

    client = wrap_client(httpx2.Client(http2=True), registry)

guards every request of a client, with its proxies and mounts. `BreakerTransport` and
`AsyncBreakerTransport` guard one transport. A call is one request as the transport sees it. Each
hop of a redirect is a call (keyed by its own host), and so is each request of an authentication
flow and each attempt of an SDK. A second connection attempt in a transport (`retries=`) is not.

A call ends with its body. Its latency is the time to the headers; for a stream that answers a POST
it is the time to the first piece with content, and a stall after it is a failure. 5xx, 408 and
errors on the wire are failures. 429 is throttling; its Retry-After is obeyed once all callers are
asked to wait. Other 4xx, the caller's own mistakes and time-outs of the client's own pool have no
vote. An error that was raised for the status of an answer (`raise_for_status` in the wrapped
transport) counts as that answer.

Each attempt of an SDK is a call. The SDKs of OpenAI and Anthropic retry every error that their
client raises, so a refusal is a response that they do not retry (`on_refuse` in `CallSettings`). Use
the adapter that is named like the library of the SDK: openai 3 and anthropic 2 are built on httpx2,
earlier ones on its predecessor:

    http_client = wrap_client(openai.DefaultHttpxClient(), registry)
    client = openai.OpenAI(http_client=http_client)
"""

from __future__ import annotations

from typing import ClassVar, TypeVar, Unpack

import httpx2

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
from recloser_adapters._httpx.library import Library, by_host, keys_of
from recloser_adapters._httpx.transports import (
    AsyncTransport,
    SyncTransport,
    told,
    wrap_transports,
)
from recloser_adapters._outbound.keys import ReadyKey
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
    "by_credential",
    "by_host",
    "by_model",
    "by_route",
    "nothing_sent",
    "wrap_client",
]

ClientT = TypeVar("ClientT", bound=httpx2.Client | httpx2.AsyncClient)

_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class BreakerOpenTransportError(ClientBreakerOpenError, httpx2.TransportError):
    """The breaker refused the request; nothing was sent.

    It is an `httpx2.TransportError`, so code that handles an unreachable host handles it, too.
    Retry rules for that error will retry, which costs the host nothing. It is not a `ConnectError`
    or a `TimeoutException`, because neither happened.
    """


_KEYS = keys_of(__name__)
by_model: ReadyKey[httpx2.Request] = _KEYS.by_model
by_route: ReadyKey[httpx2.Request] = _KEYS.by_route
by_credential: ReadyKey[httpx2.Request] = _KEYS.by_credential

_LIBRARY = Library(
    name="httpx2",
    keys=_KEYS,
    request=httpx2.Request,
    response=httpx2.Response,
    url=httpx2.URL,
    fixed_body=httpx2.ByteStream,
    refusal=BreakerOpenTransportError,
    read_timeout=httpx2.ReadTimeout,
    status_error=httpx2.HTTPStatusError,
    wire_errors=(httpx2.TransportError, OSError),
    local_errors=(
        httpx2.PoolTimeout,
        httpx2.UnsupportedProtocol,
        httpx2.LocalProtocolError,
        httpx2.InvalidURL,
        httpx2.StreamError,
    ),
    unsent_errors=_UNSENT,
)


class _SyncBody(SyncBody, httpx2.SyncByteStream):
    pass


class _SyncWatchedBody(SyncWatchedBody, httpx2.SyncByteStream):
    pass


class _SyncReadAhead(SyncReadAhead, httpx2.SyncByteStream):
    pass


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    pass


class _AsyncWatchedBody(AsyncWatchedBody, httpx2.AsyncByteStream):
    pass


class _AsyncReadAhead(AsyncReadAhead, httpx2.AsyncByteStream):
    pass


class BreakerTransport(SyncTransport[httpx2.Request, httpx2.Response], httpx2.BaseTransport):
    """A sync transport that guards the one it wraps. The settings are those of `wrap_client`."""

    library: ClassVar[Library] = _LIBRARY
    body: ClassVar[type[SyncBody | AsyncBody]] = _SyncBody
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]] = _SyncWatchedBody
    read_ahead: ClassVar[type[SyncReadAhead | AsyncReadAhead]] = _SyncReadAhead


class AsyncBreakerTransport(
    AsyncTransport[httpx2.Request, httpx2.Response], httpx2.AsyncBaseTransport
):
    """An async transport that guards the one it wraps. The settings are those of `wrap_client`."""

    library: ClassVar[Library] = _LIBRARY
    body: ClassVar[type[SyncBody | AsyncBody]] = _AsyncBody
    watched_body: ClassVar[type[SyncWatchedBody | AsyncWatchedBody]] = _AsyncWatchedBody
    read_ahead: ClassVar[type[SyncReadAhead | AsyncReadAhead]] = _AsyncReadAhead


class FailoverTransport(SyncFailover[httpx2.Request, httpx2.Response], BreakerTransport):
    """Sends each request to the first provider that can serve it.

        failover = Failover(registry, [Provider("eu", "https://eu.x"), Provider("us", "https://us.x")])
        transport = FailoverTransport(httpx2.HTTPTransport(), failover)
        client = httpx2.Client(transport=transport, base_url=ANY_PROVIDER)

    The target of a provider is a base URL or an `LLMEndpoint`. Base URLs must be replicas of one
    service, because credentials and cookies go to each of them. Requests to `ANY_PROVIDER` or to
    any of the base URLs go to the chosen provider. Another request is an error, because a client
    without the base URL would get round the failover; a redirect passes unguarded.
    `response.extensions[PROVIDER]` is the key of the provider that answered.

    The next provider is tried if nothing was sent. It is also tried after a failure or a 429, if
    the request is repeatable: by its method (RFC 9110), or, if all targets are `LLMEndpoint`, because
    a model answers it and it does nothing else. `_httpx/llm_requests.py` has the table. What may act
    is sent once: tools that the provider executes, `background`, and all that is not in the table.
    What names something that a provider has made (a file, a batch, a stored response) goes only to
    that provider; if the name is not known, to the first one. An `Idempotency-Key` changes nothing:
    another provider does not know it.

    A 401, 402, 403 or an unknown model goes on to the next `LLMEndpoint`, whatever the request, since
    nothing was carried out. That provider is asked last for a while, which is logged once. A 400 or
    422 is the caller's, and is returned at once. If no provider serves, the caller gets the last
    failure, and a rejection only if there is no other.

    A stream of events is given to the caller after its first token; an error event or a cut before
    that is a failure. A body from a generator or a file is sent once, but a form for a model, such as
    audio, is read first. If the last answer is bad, the caller gets it, so give SDKs that retry
    `max_retries=0`.

    The time limits of the failover become time-outs of the wrapped transport. They are never above
    those of the client. Between the headers of a stream and its first piece the client's own read
    time-out applies; `AsyncFailoverTransport` also applies its time limit there.

    `Failover(on_delivery=...)` is called when the body of the answer has ended: only then the tokens
    are known (`Delivery.answer`).

    Args:
        transport: The transport that sends.
        failover: The providers and their rules. Its `classify` and `nothing_sent` are not used.
        repeatable: Takes a request and returns whether it may be sent twice, or None for the
            default rule. The extension `REPEATABLE` of a request takes precedence.
        pass_others: Whether requests that are for none of the providers are sent as they are,
            unguarded. By default they are a ValueError.
        **settings: `on_refuse` (for the case that all providers refuse), `classify`,
            `sse_errors` and `verdict` of `CallSettings`. `sse_errors` is True by default.

    Raises:
        TypeError: A setting has the wrong type, or a target is neither a base URL nor an
            `LLMEndpoint`.
        ValueError: A base URL is not valid, `on_refuse` is unknown, or the failover has a `hedge`: a
            transport sends no request twice at a time.
    """


class AsyncFailoverTransport(AsyncFailover[httpx2.Request, httpx2.Response], AsyncBreakerTransport):
    """`FailoverTransport` for an `httpx2.AsyncClient`.

    On asyncio an attempt that takes too long is cancelled, up to the first piece of a stream.
    """


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent. For `Failover(nothing_sent=...)`."""
    return isinstance(error, (*_UNSENT, BreakerOpenError))


def wrap_client(
    client: ClientT,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[httpx2.Request, httpx2.Response, RaiseOrResponse]],
) -> ClientT:
    """Guard every request of a client, also those that its proxies and mounts send.

    Args:
        client: An `httpx2.Client` or `httpx2.AsyncClient`, before or after its first request. Its
            transports that are guarded already stay unchanged.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by`, `on_refuse`, `classify`, `sse_errors`, `verdict`, `cut_off`
            and `on_end`: see `CallSettings`.

    Returns:
        The same client.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `client` is no httpx2 client.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if not isinstance(client, (httpx2.Client, httpx2.AsyncClient)):
        raise TypeError(f"client must be an httpx2 client, not {told(client, _LIBRARY)}")
    kind = BreakerTransport if isinstance(client, httpx2.Client) else AsyncBreakerTransport
    wrap_transports(client, kind, registry, settings)
    return client
