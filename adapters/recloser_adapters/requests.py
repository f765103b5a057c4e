"""Breakers for requests sessions.

    session = wrap_session(requests.Session(), registry)

guards every adapter mounted in a session. `BreakerAdapter` guards one adapter. A call is one
`adapter.send`. Each hop of a redirect is a call (keyed by its own host), and so is each request of
an authentication flow. A request and the retries that urllib3 makes in the adapter (`max_retries`)
are one call. The call ends with the last retry, and its latency includes all of them, but not the
sleep between them.

A call ends with its body. Its latency is the time to the headers; for a stream that answers a POST
it is the time to the first piece with content, and a stall after it is a failure. 5xx, 408 and
errors on the wire are failures. 429 is throttling; its Retry-After is obeyed once all callers are
asked to wait. Other 4xx, a full pool and the caller's own mistakes have no vote. An error that was
raised for the status of an answer (`raise_for_status` in the wrapped adapter) counts as that
answer.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from math import inf
from typing import Any, Unpack

import requests
from requests.adapters import BaseAdapter

from recloser import BreakerOpenError, Injected, Outcome, Refused, Registry, Unguarded
from recloser.hints import knows_names, wrong
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.good_answers import is_plain
from recloser_adapters._outbound.keys import Keys, ReadyKey
from recloser_adapters._outbound.permit import CallPermit, CallReport, WatchingPermit
from recloser_adapters._outbound.refusal import (
    ClientBreakerOpenError,
    refusal_body,
    refusal_headers,
)
from recloser_adapters._outbound.request_reader import RequestReader
from recloser_adapters._outbound.settings import CallSettings, RaiseOrResponse
from recloser_adapters._requests.retries import sleeping_for, tells
from recloser_adapters._urllib3.body import is_local, watch_body
from recloser_adapters._urllib3.cut_off import lower_timeout, restore_timeout

__all__ = [
    "BreakerAdapter",
    "BreakerOpenConnectionError",
    "CallReport",
    "CallSettings",
    "RefusedResponse",
    "by_credential",
    "by_host",
    "by_model",
    "by_route",
    "nothing_sent",
    "wrap_session",
]

_LOCAL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.UnrewindableBodyError,
)
# Errors of urllib3, by name, because it is no dependency of this package. They mean that there was
# no connection and therefore no request: unknown host name, connection refused, no free connection
# in our own pool.
_UNSENT_NAMES = frozenset({"NewConnectionError", "EmptyPoolError", "ClosedPoolError"})
_WIRE = (requests.RequestException, OSError)
_USUAL_PORT = {"http:": ":80", "https:": ":443"}
_GAVE_UP = re.compile(r"too many ([0-9]{3}) error responses")


class BreakerOpenConnectionError(ClientBreakerOpenError, requests.ConnectionError):
    """The breaker refused the request; nothing was sent.

    It is a `requests.ConnectionError`, so code that handles an unreachable host handles it, too.
    Retry rules for that error will retry, which costs the host nothing.
    """


class RefusedResponse(requests.Response):
    """The 503 of a refused call. Outer breakers ignore it, and an error that is raised for it."""

    recloser_refused: bool = True


def by_host(request: requests.PreparedRequest) -> str:
    """Key by host, plus the port if it is not the default: `api.example.org:8443`."""
    # A prepared URL has a lower-case host and always a path.
    parts = (request.url or "").split("/", 3)
    if len(parts) < 3:
        return ""
    host = parts[2]
    if "@" in host:
        host = host.rpartition("@")[2]
    return host.removesuffix(_USUAL_PORT.get(parts[0], ":"))


def _tail(request: requests.PreparedRequest) -> str:
    path = (request.url or "").partition("?")[0]
    return path[path.rfind("/") + 1 :]


def _query(request: requests.PreparedRequest) -> str:
    return (request.url or "").partition("?")[2]


def _target(request: requests.PreparedRequest) -> str:
    return request.path_url


def _header(request: requests.PreparedRequest, name: str) -> str:
    value: object = request.headers.get(name, "")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(request: requests.PreparedRequest) -> bytes:
    body: object = request.body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    return body if isinstance(body, bytes) else b""


_KEYS = Keys(__name__, RequestReader(by_host, _tail, _query, _target, _header, _body))
by_model: ReadyKey[requests.PreparedRequest] = _KEYS.by_model
by_route: ReadyKey[requests.PreparedRequest] = _KEYS.by_route
by_credential: ReadyKey[requests.PreparedRequest] = _KEYS.by_credential


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent. For `Failover(nothing_sent=...)`.

    If urllib3 retries in the adapter, the error is that of its last attempt. So do not let it retry
    requests that must not be sent twice. (By default it does not.)
    """
    if isinstance(
        error, (BreakerOpenError, requests.ConnectTimeout, requests.exceptions.ProxyError)
    ):
        return True
    if not isinstance(error, requests.ConnectionError):
        return False
    # Its argument is urllib3's MaxRetryError, whose `reason` is the error of the last attempt.
    reason = getattr(error.args[0] if error.args else None, "reason", error)
    return any(kind.__name__ in _UNSENT_NAMES for kind in type(reason).__mro__)


def _refusal_error(
    request: requests.PreparedRequest, refusal: BreakerOpenError
) -> BreakerOpenConnectionError:
    error = BreakerOpenConnectionError.of(refusal)
    error.request = request
    return error


def _refusal_response(
    request: requests.PreparedRequest, refusal: BreakerOpenError
) -> requests.Response:
    response = RefusedResponse()
    response.status_code = 503
    response.reason = "Service Unavailable"
    response.url = request.url or ""
    response.request = request
    response.headers.update(refusal_headers(refusal))
    response.raw = io.BytesIO(refusal_body(refusal))
    return response


class BreakerAdapter(BaseAdapter):
    """An adapter that guards the one it wraps. The settings are those of `wrap_session`.

    Attributes:
        wrapped: The adapter that sends.
        outbound: Admits the calls and decides their outcomes.
    """

    wrapped: BaseAdapter
    outbound: OutboundCalls[requests.PreparedRequest, requests.Response]

    @knows_names
    def __init__(
        self,
        adapter: BaseAdapter,
        registry: Registry | None = None,
        **settings: Unpack[
            CallSettings[requests.PreparedRequest, requests.Response, RaiseOrResponse]
        ],
    ) -> None:
        super().__init__()
        if isinstance(adapter, (type, requests.Session)) or not hasattr(adapter, "send"):
            raise wrong("adapter", "an adapter", adapter)
        self.wrapped = adapter
        self._retries = tells(adapter)
        self.outbound = OutboundCalls(
            registry,
            settings,
            keys=_KEYS,
            refusal_error=_refusal_error,
            refusal_response=_refusal_response,
        )
        self.outbound.injects = True

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request if its breaker admits it."""
        permit = self.outbound.admit(request, WatchingPermit)
        if isinstance(permit, Refused):
            return self._refused(request, permit.error())
        if isinstance(permit, Injected):
            limit = permit.permit.timeout if self.outbound.cut_off else inf
            permit = permit.strike(requests.ConnectionError, limit)
        limited = timeout
        try:
            if self.outbound.cut_off and not isinstance(permit, Unguarded):
                limited = lower_timeout(timeout, permit.timeout)
            if self._retries and not isinstance(permit, Unguarded):
                with sleeping_for(permit):
                    response = self.wrapped.send(request, stream, limited, verify, cert, proxies)
            else:
                response = self.wrapped.send(request, stream, limited, verify, cert, proxies)
            if limited is not timeout:
                restore_timeout(response.raw, timeout)
        except BaseException as error:
            if not isinstance(permit, Unguarded):
                self._end_by_error(permit, request, error)
            raise
        # Authentication sends its second request through this attribute.
        response.connection = self  # type: ignore[assignment]  # any adapter will do
        if not isinstance(permit, Unguarded):
            self._watch(permit, request, response, timeout)
        return response

    def close(self) -> None:
        """Close the wrapped adapter."""
        self.wrapped.close()

    def __getattr__(self, name: str) -> Any:
        # Other code reads `poolmanager`, `max_retries` and so on from the mounted adapter.
        if name == "wrapped":  # not there yet, while unpickling
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def _refused(
        self, request: requests.PreparedRequest, refusal: BreakerOpenError
    ) -> requests.Response:
        response = self.outbound.answer_refusal(request, refusal)
        if isinstance(response, RefusedResponse):
            response.connection = self  # type: ignore[assignment]  # any adapter will do
        return response

    def _watch(
        self,
        permit: CallPermit,
        request: requests.PreparedRequest,
        response: requests.Response,
        timeout: Any,
    ) -> None:
        outbound = self.outbound
        try:
            if isinstance(response, RefusedResponse):
                return permit.end(Outcome.IGNORED)
            headers = response.headers
            content_type = _content_type(headers)
            status = response.status_code
            watch: AnyBodyWatch | None
            if (
                isinstance(permit, WatchingPermit)
                and status in outbound.good_statuses
                and is_plain(content_type)
                and (request.method != "POST" or not outbound.looks_into(request))
                and status != 101
            ):
                # The usual case. `watch_answer` decides the same, but takes longer.
                permit.mark()
                watch = permit
            else:
                watch = outbound.watch_answer(
                    permit, response, status, headers, content_type, request
                )
            if watch is not None:
                self._watch_body(response, watch, timeout)
        except Exception as fault:
            outbound.registry.fault("outbound outcome", fault)

    def _watch_body(self, response: requests.Response, watch: AnyBodyWatch, timeout: Any) -> None:
        if response.raw is None or response._content_consumed:  # type: ignore[attr-defined]
            # Another adapter made the response in memory, so its body is never read.
            if watch.reads:
                watch.chunk(response.content or b"")
            watch.eof()
            return
        if watch.cuts_off:
            restore_timeout(response.raw, lower_timeout(timeout, watch.longest_wait))
        response.raw = watch_body(response.raw, watch)

    def _end_by_error(
        self, permit: CallPermit, request: requests.PreparedRequest, error: BaseException
    ) -> None:
        gave_up = isinstance(error, requests.exceptions.RetryError) and _GAVE_UP.search(str(error))
        if gave_up:
            # urllib3 retried because of a status, and gave up. The last answer had that status.
            self.outbound.end_by_error(permit, error, status=int(gave_up[1]), request=request)
            return
        if isinstance(error, requests.HTTPError) and error.response is not None:
            # An inner adapter has raised an error for the status of its answer.
            answer = error.response
            self.outbound.end_by_error(
                permit,
                error,
                local=isinstance(answer, RefusedResponse),
                status=answer.status_code,
                headers=answer.headers,
                request=request,
            )
            return
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            or is_local(error)
            or any(isinstance(cause, Exception) and is_local(cause) for cause in error.args)
            # If user code makes the request body, its errors come out of the adapter.
            or (
                not isinstance(error, _WIRE)
                and not isinstance(request.body, (str, bytes, type(None)))
            )
        )
        self.outbound.end_by_error(permit, error, local=local, request=request)


def _content_type(headers: Any) -> str:
    try:
        # In all versions requests keeps its headers in this dict, by lower-case name. Reading it
        # costs a third of `headers.get()`.
        _, value = headers._store.get("content-type", ("", ""))
    except (AttributeError, TypeError, ValueError):
        value = headers.get("content-type", "")
    return str(value)


def wrap_session(
    session: requests.Session,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[requests.PreparedRequest, requests.Response, RaiseOrResponse]],
) -> requests.Session:
    """Guard every adapter mounted in a session, with its pools, proxies and retries.

    Args:
        session: The session. An adapter that is guarded already stays unchanged. An adapter that
            is mounted later is not guarded.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by`, `on_refuse`, `classify`, `sse_errors`, `verdict`, `cut_off`
            and `on_end`: see `CallSettings`.

    Returns:
        The same session.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `session` is no session.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if not isinstance(session, requests.Session):
        raise wrong("session", "a requests.Session", session)
    registry = registry if registry is not None else Registry()
    for prefix, adapter in list(session.adapters.items()):
        if not isinstance(adapter, BreakerAdapter):
            session.adapters[prefix] = BreakerAdapter(adapter, registry, **settings)
    return session
