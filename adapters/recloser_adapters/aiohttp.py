"""Breakers for aiohttp client sessions, version 3.12 and later.

    guard = BreakerMiddleware(registry)
    session = aiohttp.ClientSession(middlewares=[guard], trace_configs=[guard.trace_config])

or, for an existing session, `wrap_session(session, registry)`. A request with its own
`middlewares=` does not use those of the session, so it is not guarded. A call is one request as a
middleware sees it. Each hop of a redirect is a call (keyed by its own host), and so is the second
attempt that aiohttp makes by itself when a kept-alive connection turns out to be dead.

A call ends with its body. Its latency is the time to the headers; for a stream that answers a POST
it is the time to the first piece with content, and a stall after it is a failure. 5xx, 408 and
errors on the wire are failures. 429 is throttling; its Retry-After is obeyed once all callers are
asked to wait. Other 4xx, the caller's own mistakes and time-outs of the session's own pool have no
vote. Only the trace shows a time-out of the pool: aiohttp raises the same error if a host is slow
to connect. An error that was raised for the status of an answer (`raise_for_status` in an inner
middleware) counts as that answer.
"""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from typing import Any, Unpack

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from recloser import BreakerOpenError, Deadline, Injected, Refused, Registry, Unguarded
from recloser.hints import wrong
from recloser_adapters._aiohttp.body import WIRE, watch_body
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.good_answers import is_plain
from recloser_adapters._outbound.keys import Keys, ReadyKey
from recloser_adapters._outbound.permit import CallPermit, CallReport, WatchingPermit
from recloser_adapters._outbound.refusal import ClientBreakerOpenError
from recloser_adapters._outbound.request_reader import RequestReader
from recloser_adapters._outbound.settings import CallSettings, Raise

__all__ = [
    "BreakerMiddleware",
    "BreakerOpenConnectionError",
    "CallReport",
    "CallSettings",
    "by_credential",
    "by_host",
    "by_model",
    "by_route",
    "nothing_sent",
    "wrap_session",
]

_JSON = "application/json"
_LOCAL = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)

# Whether the call in this context waits for a free connection from its session's pool.
_queued: ContextVar[bool] = ContextVar("recloser_queued", default=False)


class BreakerOpenConnectionError(ClientBreakerOpenError, aiohttp.ClientConnectionError):
    """The breaker refused the request; nothing was sent.

    It is an `aiohttp.ClientConnectionError`, so code that handles an unreachable host handles it,
    too. Retry rules for that error will retry, which costs the host nothing.
    """


def by_host(request: ClientRequest) -> str:
    """Key by host, plus the port if it is not the default: `api.example.org:8443`."""
    return request.url.host_port_subcomponent or ""


def _tail(request: ClientRequest) -> str:
    path = request.url.raw_path
    return path[path.rfind("/") + 1 :]


def _query(request: ClientRequest) -> str:
    return request.url.raw_query_string


def _target(request: ClientRequest) -> str:
    return request.url.raw_path_qs


def _header(request: ClientRequest, name: str) -> str:
    return request.headers.get(name, "")


def _body(request: ClientRequest) -> bytes:
    # In all versions the payload of bytes, of text and of JSON has them in this attribute.
    body: object = getattr(request.body, "_value", b"")
    return body if isinstance(body, bytes) else b""


_KEYS = Keys(__name__, RequestReader(by_host, _tail, _query, _target, _header, _body))
by_model: ReadyKey[ClientRequest] = _KEYS.by_model
by_route: ReadyKey[ClientRequest] = _KEYS.by_route
by_credential: ReadyKey[ClientRequest] = _KEYS.by_credential


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent. For `Failover(nothing_sent=...)`."""
    unsent = (BreakerOpenError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    return isinstance(error, unsent)


def _refusal_error(request: ClientRequest, refusal: BreakerOpenError) -> BreakerOpenConnectionError:
    return BreakerOpenConnectionError.of(refusal)


class BreakerMiddleware:
    """A client middleware that guards each request, one breaker per host.

    Put it first: the middlewares after it in the list are part of the call.

    Args:
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by`, `on_refuse`, `classify`, `sse_errors`, `verdict`, `cut_off`
            and `on_end`: see `CallSettings`.

    Raises:
        TypeError: A setting has the wrong type or does not exist.
        ValueError: The key is empty, or `on_refuse` is unknown.

    Attributes:
        outbound: Admits the calls and decides their outcomes.
        trace_config: For the session's `trace_configs`. With it a wait for the session's pool can
            be told from a wait for the host.
    """

    outbound: OutboundCalls[ClientRequest, ClientResponse]

    def __init__(
        self,
        registry: Registry | None = None,
        **settings: Unpack[CallSettings[ClientRequest, ClientResponse, Raise]],
    ) -> None:
        self.outbound = OutboundCalls(
            registry,
            settings,
            keys=_KEYS,
            refusal_error=_refusal_error,
            refusal_response=None,
        )
        self.outbound.injects = True
        self.trace_config: aiohttp.TraceConfig = aiohttp.TraceConfig()
        self.trace_config.on_connection_queued_start.append(_wait_begins)
        self.trace_config.on_connection_queued_end.append(_wait_ends)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request if its breaker admits it."""
        permit = self.outbound.admit(request, WatchingPermit)
        if isinstance(permit, Refused):
            return self.outbound.answer_refusal(request, permit.error())
        if isinstance(permit, Unguarded):
            if not isinstance(permit, Injected):
                return await handler(request)
            limit = permit.permit.timeout if self.outbound.cut_off else inf
            permit = await permit.strike_async(aiohttp.ClientConnectionError, limit)
        # An earlier call in this context may have been cancelled while it waited.
        _queued.set(False)
        try:
            if self.outbound.cut_off:
                response = await _in_time(request, handler, permit.timeout)
            else:
                response = await handler(request)
        except BaseException as error:
            self._end_by_error(permit, request, error, queued=_queued.get())
            # The call may have been made by the handler of an outer call. That call does not wait.
            _queued.set(False)
            raise
        self._watch(permit, request, response)
        return response

    def _watch(self, permit: CallPermit, request: ClientRequest, response: ClientResponse) -> None:
        outbound = self.outbound
        try:
            status = response.status
            headers = response.headers
            content_type = headers.get("content-type", "")
            if (
                status in outbound.good_statuses
                and response.content.is_eof()
                and (content_type == _JSON or is_plain(content_type))
                and not (request.method == "POST" and outbound.looks_into(request))
            ):
                # A small body arrives with its headers, so there is nothing to watch.
                permit.mark()
                permit.success()
                return
            watch = outbound.watch_answer(permit, response, status, headers, content_type, request)
            if watch is not None:
                watch_body(response, watch)
        except Exception as fault:
            outbound.registry.fault("outbound outcome", fault)

    def _end_by_error(
        self, permit: CallPermit, request: ClientRequest, error: BaseException, *, queued: bool
    ) -> None:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            self.outbound.end_by_error(permit, error, status=error.status, request=request)
            return
        if isinstance(error, aiohttp.ClientResponseError) and error.__cause__ is None:
            # An inner middleware has raised an error for the status of its answer. For an answer
            # that cannot be parsed, aiohttp raises the same class, but with a cause and with a
            # status of its own.
            self.outbound.end_by_error(
                permit, error, status=error.status, headers=error.headers, request=request
            )
            return
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            # An error of another middleware.
            or not isinstance(error, WIRE)
            or _is_of_request_body(error)
            or (queued and isinstance(error, TimeoutError))
        )
        self.outbound.end_by_error(permit, error, local=local, request=request)


async def _in_time(
    request: ClientRequest, handler: ClientHandlerType, limit: float
) -> ClientResponse:
    """Send a request, and cancel that after some seconds without an answer, as aiohttp does."""
    with Deadline(limit):
        return await handler(request)
    raise aiohttp.ServerTimeoutError(f"no answer of {by_host(request)} within {limit:.3g} s")


def _is_of_request_body(error: Exception) -> bool:
    """Whether user code that makes the request body raised it. aiohttp wraps such errors."""
    cause = error.__cause__
    return (
        isinstance(error, aiohttp.ClientConnectionError)
        and isinstance(cause, Exception)
        and not isinstance(cause, WIRE)
    )


async def _wait_begins(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    _queued.set(True)


async def _wait_ends(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    _queued.set(False)


def wrap_session(
    session: aiohttp.ClientSession,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[ClientRequest, ClientResponse, Raise]],
) -> aiohttp.ClientSession:
    """Put a `BreakerMiddleware` first in a session, and add its trace.

    A session that already has one stays unchanged.

    Args:
        session: The session.
        registry: Holds the breakers; by default a new one.
        **settings: The settings of `BreakerMiddleware`.

    Returns:
        The same session.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `session` is no session.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if not isinstance(session, aiohttp.ClientSession):
        raise wrong("session", "an aiohttp.ClientSession", session)
    guard = BreakerMiddleware(registry, **settings)
    # Middlewares are given to the constructor. There is no public way to add one later.
    present = vars(session)["_middlewares"]
    if not any(isinstance(each, BreakerMiddleware) for each in present):
        vars(session)["_middlewares"] = (guard, *present)
        guard.trace_config.freeze()
        session.trace_configs.append(guard.trace_config)
    return session
