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
connect.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters._aiohttp_content import WIRE, watch_content
from recloser_adapters._outbound import ClientBreakerOpenError, Exchange, Outbound
from recloser_adapters._outbound_body import Call, Ticket

__all__ = [
    "BreakerMiddleware",
    "BreakerOpenConnectionError",
    "Exchange",
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


class BreakerMiddleware:
    """A client middleware that guards each request, one breaker per host.

    Put it first: what comes after it in the list counts as part of the call.

    Args:
        registry: Where the breakers are; a new one unless given.
        key: One key for all requests (a provider's name), or what makes it from a request. A
            callable that returns None leaves the request unguarded; one that raises is a fault,
            and the request is then keyed by host.
        on_refuse: `"raise"` raises `BreakerOpenConnectionError`; a callable makes the response.
            aiohttp offers no way to make one up, so there is no `"response"`.
        classify: Overrules the verdict on a response (its headers are there, its body is not) or
            on an error; None from it leaves the default.
        sse_errors: Whether an error event within an event stream is a failure.
        on_end: Told of each admitted call after its end.

    Raises:
        TypeError: A setting of the wrong type.
        ValueError: An empty key, or an unknown `on_refuse`.

    Attributes:
        outbound: The settings.
        trace_config: For the session's `trace_configs`: tells waiting for its pool from waiting
            for the host.
    """

    outbound: Outbound[ClientRequest, ClientResponse]

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        key: str | Callable[[ClientRequest], str | None] = by_host,
        on_refuse: Literal["raise"]
        | Callable[[ClientRequest, BreakerOpenError], ClientResponse] = "raise",
        classify: Callable[[ClientResponse | BaseException], Outcome | None] | None = None,
        sse_errors: bool = False,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        if not callable(on_refuse) and on_refuse != "raise":
            raise ValueError(f'on_refuse must be "raise" or a callable, not {on_refuse!r}')
        self.outbound = Outbound(
            registry,
            by_host,
            key=key,
            on_refuse=on_refuse,
            classify=classify,
            sse_errors=sse_errors,
            on_end=on_end,
        )
        self.trace_config: aiohttp.TraceConfig = aiohttp.TraceConfig()
        self.trace_config.on_connection_queued_start.append(_wait_begins)
        self.trace_config.on_connection_queued_end.append(_wait_ends)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request if its breaker admits it."""
        ticket = self.outbound.admit(request, Call)
        if isinstance(ticket, BreakerOpenError):
            return self._refused(request, ticket)
        # Another call of this context may have been cut off while it waited.
        _queued.set(False)
        try:
            response = await handler(request)
        except BaseException as error:
            self._end_by_error(ticket, error, queued=_queued.get())
            # A call around this one, whose handler made it, does not wait.
            _queued.set(False)
            raise
        self._watch(ticket, response)
        return response

    def _refused(self, request: ClientRequest, refusal: BreakerOpenError) -> ClientResponse:
        response = self.outbound.substitute(request, refusal)
        if response is not None:
            return response
        raise BreakerOpenConnectionError(
            refusal.key, refusal.state, refusal.reason, refusal.retry_after
        )

    def _watch(self, ticket: Ticket, response: ClientResponse) -> None:
        outbound = self.outbound
        try:
            if (
                response.status < 400
                and response.content.is_eof()
                and outbound.classify is None
                and not outbound.sse_errors
            ):
                # A small body came with its headers: there is nothing left to watch.
                ticket.mark()
                ticket.success()
                return
            headers = response.headers
            content_type = headers.get("content-type", "")
            watch = outbound.judge(ticket, response, response.status, headers, content_type)
            if watch is not None:
                watch_content(response, watch)
        except Exception as fault:
            outbound.registry.fault("outbound verdict", fault)

    def _end_by_error(self, ticket: Ticket, error: BaseException, *, queued: bool) -> None:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            self.outbound.end_by_status(ticket, error, error.status)
            return
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            # Another middleware's error.
            or not isinstance(error, WIRE)
            or _is_of_request_body(error)
            or (queued and isinstance(error, TimeoutError))
        )
        self.outbound.end_by_error(ticket, error, local=local)


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
    *,
    key: str | Callable[[ClientRequest], str | None] = by_host,
    on_refuse: Literal["raise"]
    | Callable[[ClientRequest, BreakerOpenError], ClientResponse] = "raise",
    classify: Callable[[ClientResponse | BaseException], Outcome | None] | None = None,
    sse_errors: bool = False,
    on_end: Callable[[Exchange], None] | None = None,
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
    guard = BreakerMiddleware(
        registry,
        key=key,
        on_refuse=on_refuse,
        classify=classify,
        sse_errors=sse_errors,
        on_end=on_end,
    )
    # Middlewares are given at construction, and there is no public way to add one.
    present = vars(session)["_middlewares"]
    if not any(isinstance(each, BreakerMiddleware) for each in present):
        vars(session)["_middlewares"] = (guard, *present)
        guard.trace_config.freeze()
        session.trace_configs.append(guard.trace_config)
    return session
