"""Breakers for aiohttp client sessions, version 3.12 and later.

    guard = BreakerMiddleware(registry)
    session = aiohttp.ClientSession(middlewares=[guard], trace_configs=[guard.trace_config])

or `wrap_session(session, registry)` for one that exists. A request that is given its own
`middlewares=` leaves the session's out, and this one with them. A call is one request as a
middleware sees it: each hop of a redirect (keyed by its own host) is one, and so is the second
attempt that aiohttp makes by itself when a kept-alive connection turns out to be dead.

A call ends with its body. Its latency is the time to the headers, of an event stream the time to
the first chunk. 5xx, 408 and errors on the wire are failures, 429 is obeyed with its Retry-After;
other 4xx, the caller's own mistakes and waiting in vain for the session's own pool say nothing.
The last is known from the trace only: aiohttp raises the same error for a host that is slow to
connect. An error that stands for an answer (`raise_for_status` within an inner middleware) counts
as that answer.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal, Unpack

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from recloser import BreakerOpenError, Refused, Registry, Unguarded
from recloser_adapters._aiohttp.body import WIRE, watch_body
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.permit import CallPermit, CallReport, WatchingPermit
from recloser_adapters._outbound.refusal import ClientBreakerOpenError
from recloser_adapters._outbound.settings import CallSettings

__all__ = [
    "BreakerMiddleware",
    "BreakerOpenConnectionError",
    "CallReport",
    "CallSettings",
    "by_host",
    "nothing_sent",
    "wrap_session",
]

_LOCAL = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)

# Whether the call of this context waits for a free connection of its own session.
_queued: ContextVar[bool] = ContextVar("recloser_queued", default=False)


class BreakerOpenConnectionError(ClientBreakerOpenError, aiohttp.ClientConnectionError):
    """The breaker refused the request; nothing was sent.

    It is an `aiohttp.ClientConnectionError`, so what handles an unreachable host handles this;
    retry rules made for that error will try again, at no cost to the host.
    """


def by_host(request: ClientRequest) -> str:
    """Key by host, with the port where it is not the usual one: `api.example.org:8443`."""
    return request.url.host_port_subcomponent or ""


def nothing_sent(error: BaseException) -> bool:
    """Tell whether a request certainly never left: the rule for `Failover(nothing_sent=...)`."""
    unsent = (BreakerOpenError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    return isinstance(error, unsent)


def _refusal_error(request: ClientRequest, refusal: BreakerOpenError) -> BreakerOpenConnectionError:
    return BreakerOpenConnectionError.of(refusal)


class BreakerMiddleware:
    """A client middleware that guards each request, one breaker per host.

    Put it first: what comes after it in the list counts as part of the call.

    Args:
        registry: Where the breakers are; a new one unless given.
        **settings: `key`, `on_refuse`, `classify`, `sse_errors` and `on_end`: see `CallSettings`.

    Raises:
        TypeError: A setting of the wrong type.
        ValueError: An empty key, or an unknown `on_refuse`.

    Attributes:
        outbound: What admits the calls and decides how they ended.
        trace_config: For the session's `trace_configs`: tells waiting for its pool from waiting
            for the host.
    """

    outbound: OutboundCalls[ClientRequest, ClientResponse]

    def __init__(
        self,
        registry: Registry | None = None,
        **settings: Unpack[CallSettings[ClientRequest, ClientResponse, Literal["raise"]]],
    ) -> None:
        self.outbound = OutboundCalls(
            registry,
            settings,
            by_host=by_host,
            refusal_error=_refusal_error,
            refusal_response=None,
        )
        self.trace_config: aiohttp.TraceConfig = aiohttp.TraceConfig()
        self.trace_config.on_connection_queued_start.append(_wait_begins)
        self.trace_config.on_connection_queued_end.append(_wait_ends)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request if its breaker admits it."""
        permit = self.outbound.admit(request, WatchingPermit)
        if isinstance(permit, Refused):
            return self.outbound.answer_refusal(request, permit.error())
        if isinstance(permit, Unguarded):
            return await handler(request)
        # Another call of this context may have been cut off while it waited.
        _queued.set(False)
        try:
            response = await handler(request)
        except BaseException as error:
            self._end_by_error(permit, error, queued=_queued.get())
            # A call around this one, whose handler made it, does not wait.
            _queued.set(False)
            raise
        self._watch(permit, response)
        return response

    def _watch(self, permit: CallPermit, response: ClientResponse) -> None:
        outbound = self.outbound
        try:
            status = response.status
            if (
                status in outbound.good_statuses
                and response.content.is_eof()
                and not outbound.sse_errors
            ):
                # A small body came with its headers: there is nothing left to watch.
                permit.mark()
                permit.success()
                return
            headers = response.headers
            content_type = headers.get("content-type", "")
            watch = outbound.watch_answer(permit, response, status, headers, content_type)
            if watch is not None:
                watch_body(response, watch)
        except Exception as fault:
            outbound.registry.fault("outbound outcome", fault)

    def _end_by_error(self, permit: CallPermit, error: BaseException, *, queued: bool) -> None:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            self.outbound.end_by_error(permit, error, status=error.status)
            return
        if isinstance(error, aiohttp.ClientResponseError) and error.__cause__ is None:
            # A middleware within has raised for the status of its answer. An answer that cannot be
            # parsed is the same error with a status of aiohttp's own; there it has a cause.
            self.outbound.end_by_error(permit, error, status=error.status, headers=error.headers)
            return
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            # Another middleware's error.
            or not isinstance(error, WIRE)
            or _is_of_request_body(error)
            or (queued and isinstance(error, TimeoutError))
        )
        self.outbound.end_by_error(permit, error, local=local)


def _is_of_request_body(error: Exception) -> bool:
    """Whether a body that the user's own code makes raised: aiohttp wraps what it did."""
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
    **settings: Unpack[CallSettings[ClientRequest, ClientResponse, Literal["raise"]]],
) -> aiohttp.ClientSession:
    """Put a `BreakerMiddleware` first in a session, with its trace; the settings are the same.

    A session that has one is left alone.

    Returns:
        The same session.

    Raises:
        TypeError: A setting of the wrong type, or no session.
        ValueError: An empty key, or an unknown `on_refuse`.
    """
    if not isinstance(session, aiohttp.ClientSession):
        raise TypeError(f"session must be an aiohttp.ClientSession, not {session!r}")
    guard = BreakerMiddleware(registry, **settings)
    # Middlewares are given at construction, and there is no public way to add one.
    present = vars(session)["_middlewares"]
    if not any(isinstance(each, BreakerMiddleware) for each in present):
        vars(session)["_middlewares"] = (guard, *present)
        guard.trace_config.freeze()
        session.trace_configs.append(guard.trace_config)
    return session
