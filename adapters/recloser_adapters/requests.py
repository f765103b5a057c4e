"""Breakers for requests sessions.

    session = wrap_session(requests.Session(), registry)

guards every adapter mounted in a session; `BreakerAdapter` guards one. A call is one
`adapter.send`: each hop of a redirect (keyed by its own host) and each request of an
authentication flow is one. Retries that urllib3 makes within the adapter (`max_retries`) are all
one call, which ends with the last of them and took as long as all of them.

A call ends with its body. Its latency is the time to the headers, of an event stream the time to
the first chunk. 5xx, 408 and errors on the wire are failures, 429 is obeyed with its Retry-After;
other 4xx, a full pool and the caller's own mistakes say nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self

import requests
from requests.adapters import BaseAdapter

from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters._outbound import (
    ClientBreakerOpenError,
    Exchange,
    Outbound,
    refusal_body,
    refusal_headers,
)
from recloser_adapters._outbound_body import BodyWatch, Call, Ticket

__all__ = [
    "BreakerAdapter",
    "BreakerOpenConnectionError",
    "Exchange",
    "RefusedResponse",
    "by_host",
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
# Errors of urllib3, by name: it is no dependency of ours. The pool ones mean that our own pool is
# full or closed, the other one that the body does not decode.
_LOCAL_NAMES = frozenset({"EmptyPoolError", "ClosedPoolError", "DecodeError"})
# No connection, hence no request: no such name, no listener, no free connection in our own pool.
_UNSENT_NAMES = frozenset({"NewConnectionError", "EmptyPoolError", "ClosedPoolError"})
_WIRE = (requests.RequestException, OSError)
_USUAL_PORT = {"http:": ":80", "https:": ":443"}
_GAVE_UP = re.compile(r"too many ([0-9]{3}) error responses")


class BreakerOpenConnectionError(ClientBreakerOpenError, requests.ConnectionError):
    """The breaker refused the request; nothing was sent.

    It is a `requests.ConnectionError`, so what handles an unreachable host handles this; retry
    rules made for that error will try again, at no cost to the host.
    """


class RefusedResponse(requests.Response):
    """A 503 of our own making: an outer breaker must not count it."""


def by_host(request: requests.PreparedRequest) -> str:
    """Key by host, with the port where it is not the usual one: `api.example.org:8443`."""
    # A prepared URL has a lower-case host, and a path after it.
    parts = (request.url or "").split("/", 3)
    if len(parts) < 3:
        return ""
    host = parts[2]
    if "@" in host:
        host = host.rpartition("@")[2]
    return host.removesuffix(_USUAL_PORT.get(parts[0], ":"))


def nothing_sent(error: BaseException) -> bool:
    """Tell whether a request certainly never left: the rule for `Failover(nothing_sent=...)`.

    Where urllib3 retries within the adapter, what counts is its last attempt: do not let it retry
    what may not be sent twice (it does not, by default).
    """
    if isinstance(
        error, (BreakerOpenError, requests.ConnectTimeout, requests.exceptions.ProxyError)
    ):
        return True
    if not isinstance(error, requests.ConnectionError):
        return False
    # It carries urllib3's MaxRetryError, and that the error of the last attempt.
    reason = getattr(error.args[0] if error.args else None, "reason", error)
    return any(kind.__name__ in _UNSENT_NAMES for kind in type(reason).__mro__)


class BreakerAdapter(BaseAdapter):
    """An adapter that guards the one it wraps; its settings are those of `wrap_session`.

    Attributes:
        wrapped: The adapter that sends.
        outbound: The settings.
    """

    wrapped: BaseAdapter
    outbound: Outbound[requests.PreparedRequest, requests.Response]

    def __init__(
        self,
        adapter: BaseAdapter,
        registry: Registry | None = None,
        *,
        key: str | Callable[[requests.PreparedRequest], str | None] = by_host,
        on_refuse: Literal["raise", "response"]
        | Callable[[requests.PreparedRequest, BreakerOpenError], requests.Response] = "raise",
        classify: Callable[[requests.Response | BaseException], Outcome | None] | None = None,
        sse_errors: bool = False,
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        super().__init__()
        self.wrapped = adapter
        self.outbound = Outbound(
            registry,
            by_host,
            key=key,
            on_refuse=on_refuse,
            classify=classify,
            sse_errors=sse_errors,
            on_end=on_end,
        )

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
        ticket = self.outbound.admit(request, Call)
        if isinstance(ticket, BreakerOpenError):
            return self._refused(request, ticket)
        try:
            response = self.wrapped.send(request, stream, timeout, verify, cert, proxies)
        except BaseException as error:
            self._end_by_error(ticket, request, error)
            raise
        # Authentication sends its second request through this attribute.
        response.connection = self  # type: ignore[assignment]  # any adapter will do
        self._watch(ticket, response)
        return response

    def close(self) -> None:
        """Close the wrapped adapter."""
        self.wrapped.close()

    def __getattr__(self, name: str) -> Any:
        # `poolmanager`, `max_retries` and the like: others look them up on the mounted adapter.
        if name == "wrapped":  # not there yet, while unpickling
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def _refused(
        self, request: requests.PreparedRequest, refusal: BreakerOpenError
    ) -> requests.Response:
        response = self.outbound.substitute(request, refusal)
        if response is not None:
            return response
        if self.outbound.on_refuse != "response":
            error = BreakerOpenConnectionError(
                refusal.key, refusal.state, refusal.reason, refusal.retry_after
            )
            error.request = request
            raise error
        response = RefusedResponse()
        response.status_code = 503
        response.reason = "Service Unavailable"
        response.url = request.url or ""
        response.request = request
        response.headers.update(refusal_headers(refusal))
        response.raw = io.BytesIO(refusal_body(refusal))
        response.connection = self  # type: ignore[assignment]  # any adapter will do
        return response

    def _watch(self, ticket: Ticket, response: requests.Response) -> None:
        try:
            if isinstance(response, RefusedResponse):
                return ticket.ignore()
            outbound = self.outbound
            headers = response.headers
            content_type = _content_type(headers)
            watch = outbound.judge(ticket, response, response.status_code, headers, content_type)
            if watch is not None:
                watched = _new(_WatchedRaw)
                _set_raw(watched, response.raw)
                _set_watch(watched, watch)
                response.raw = watched
        except Exception as fault:
            self.outbound.registry.fault("outbound verdict", fault)

    def _end_by_error(
        self, ticket: Ticket, request: requests.PreparedRequest, error: BaseException
    ) -> None:
        gave_up = isinstance(error, requests.exceptions.RetryError) and _GAVE_UP.search(str(error))
        if gave_up:
            # urllib3 retried a status until it gave up: the answer was that status.
            self.outbound.end_by_status(ticket, error, int(gave_up[1]))
            return
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            or _is_local(error)
            or any(isinstance(cause, Exception) and _is_local(cause) for cause in error.args)
            # A body that the user's own code makes raises through the adapter.
            or (
                not isinstance(error, _WIRE)
                and not isinstance(request.body, (str, bytes, type(None)))
            )
        )
        self.outbound.end_by_error(ticket, error, local=local)


def _content_type(headers: Any) -> str:
    try:
        # Where requests keeps its headers, by name in lower case, in all versions: a third of what
        # `headers.get()` costs.
        _, value = headers._store.get("content-type", ("", ""))
    except (AttributeError, TypeError, ValueError):
        value = headers.get("content-type", "")
    return str(value)


def _is_local(error: BaseException) -> bool:
    return any(kind.__name__ in _LOCAL_NAMES for kind in type(error).__mro__)


class _WatchedRaw:
    """urllib3's response, telling a watch what becomes of the body; all else goes through."""

    __slots__ = ("_raw", "_watch")

    _raw: Any
    _watch: BodyWatch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._raw, name, value)

    @property
    def __class__(self) -> type[Any]:
        # For isinstance(): it is what it wraps.
        kind: type[Any] = self._raw.__class__
        return kind

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise TypeError("a watched response stays one")

    # The defaults are urllib3's; to pass on whatever comes would cost each body 200 ns.
    def stream(
        self, amt: int | None = 65536, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the body in pieces; this is how requests reads it."""
        watch = self._watch
        try:
            yield from watch.heard(self._raw.stream(amt, decode_content))
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error, local=_is_local(error))
            raise
        watch.eof()

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read the body, or some of it."""
        return self._read(self._raw.read, *args, **kwargs)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        """Read what is there."""
        return self._read(self._raw.read1, *args, **kwargs)

    def readline(self, *args: Any, **kwargs: Any) -> bytes:
        """Read a line."""
        return self._read(self._raw.readline, *args, **kwargs)

    def _read(self, read: Callable[..., bytes], *args: Any, **kwargs: Any) -> bytes:
        try:
            data = read(*args, **kwargs)
        except BaseException as error:
            self._watch.failed(error, local=_is_local(error))
            raise
        self._saw(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        try:
            count: int = self._raw.readinto(buffer)
        except BaseException as error:
            self._watch.failed(error, local=_is_local(error))
            raise
        self._saw(bytes(buffer[:count]))
        return count

    def _saw(self, data: bytes) -> None:
        if data:
            self._watch.chunk(data)
        # http.client closes its file with the last byte.
        if self._raw.closed:
            self._watch.eof()

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._watch.heard(iter(self._raw))
        try:
            yield from chunks
        except GeneratorExit:
            self._watch.closed()
            raise
        except BaseException as error:
            self._watch.failed(error, local=_is_local(error))
            raise
        self._watch.eof()

    def close(self) -> None:
        """Close it: the call ends here, if it had not ended before."""
        self._watch.closed()
        self._raw.close()

    def release_conn(self) -> None:
        """Give the connection back: the call ends here, if it had not ended before."""
        self._watch.closed()
        self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# Past its own `__setattr__`, and an `__init__` would double the price.
_new = object.__new__
_set_raw: Callable[[_WatchedRaw, object], None] = vars(_WatchedRaw)["_raw"].__set__
_set_watch: Callable[[_WatchedRaw, BodyWatch], None] = vars(_WatchedRaw)["_watch"].__set__


def wrap_session(
    session: requests.Session,
    registry: Registry | None = None,
    *,
    key: str | Callable[[requests.PreparedRequest], str | None] = by_host,
    on_refuse: Literal["raise", "response"]
    | Callable[[requests.PreparedRequest, BreakerOpenError], requests.Response] = "raise",
    classify: Callable[[requests.Response | BaseException], Outcome | None] | None = None,
    sse_errors: bool = False,
    on_end: Callable[[Exchange], None] | None = None,
) -> requests.Session:
    """Guard every adapter mounted in a session, with its pools, proxies and retries.

    Args:
        session: The session. An adapter that is guarded already is left alone; one mounted later
            is not guarded.
        registry: Where the breakers are; a new one unless given.
        key: One key for all requests (a provider's name), or what makes it from a request. A
            callable that returns None leaves the request unguarded; one that raises is a fault,
            and the request is then keyed by host.
        on_refuse: `"raise"` raises `BreakerOpenConnectionError`. `"response"` answers a 503.
            A callable makes the response.
        classify: Overrules the verdict on a response (its headers are there, its body is not) or
            on an error; None from it leaves the default.
        sse_errors: Whether an error event within an event stream is a failure.
        on_end: Told of each admitted call after its end, on the thread that ended it.

    Returns:
        The same session.

    Raises:
        TypeError: A setting of the wrong type, or no session.
        ValueError: An empty key, or an unknown `on_refuse`.
    """
    if not isinstance(session, requests.Session):
        raise TypeError(f"session must be a requests.Session, not {session!r}")
    registry = registry if registry is not None else Registry()
    for prefix, adapter in list(session.adapters.items()):
        if not isinstance(adapter, BreakerAdapter):
            session.adapters[prefix] = BreakerAdapter(
                adapter,
                registry,
                key=key,
                on_refuse=on_refuse,
                classify=classify,
                sse_errors=sse_errors,
                on_end=on_end,
            )
    return session
