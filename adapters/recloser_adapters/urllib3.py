"""Breakers for urllib3, and for libraries that hand out their pools: Kubernetes, Elasticsearch.

    http = wrap_manager(urllib3.PoolManager(), registry)

guards every pool of a manager, `wrap_pool` a single one. A call is one attempt: each retry
(`Retry`) and each hop of a redirect asks the breaker again, and counts. The sleep between two
attempts belongs to none of them.

A call ends with its body. Its latency is the time to the headers, also if urllib3 reads the body
at once (`preload_content`, the default); for a stream that answers a POST it is the time to the
first piece with content, and a stall after it is a failure. 5xx, 408 and errors on the wire are
failures. 429 is throttling; its Retry-After is obeyed once all callers are asked to wait. Other
4xx, a full pool and the caller's own mistakes have no vote.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeVar, Unpack

import urllib3

from recloser import BreakerOpenError, Registry
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.keys import ReadyKey
from recloser_adapters._outbound.permit import CallReport
from recloser_adapters._outbound.refusal import (
    ClientBreakerOpenError,
    refusal_body,
    refusal_headers,
)
from recloser_adapters._outbound.settings import CallSettings, RaiseOrResponse
from recloser_adapters._urllib3.attempt import Calls
from recloser_adapters._urllib3.guarded_pool import GuardedPool, guarded_kind
from recloser_adapters._urllib3.pool_request import PoolRequest, keys_of

__all__ = [
    "BreakerOpenRetryError",
    "CallReport",
    "CallSettings",
    "PoolRequest",
    "RefusedResponse",
    "by_credential",
    "by_host",
    "by_model",
    "by_route",
    "nothing_sent",
    "wrap_manager",
    "wrap_pool",
]

ManagerT = TypeVar("ManagerT", bound=urllib3.PoolManager)
PoolT = TypeVar("PoolT", bound=urllib3.HTTPConnectionPool)

_KEYS = keys_of(__name__)
by_model: ReadyKey[PoolRequest] = _KEYS.by_model
by_route: ReadyKey[PoolRequest] = _KEYS.by_route
by_credential: ReadyKey[PoolRequest] = _KEYS.by_credential
by_host: Callable[[PoolRequest], str] = _KEYS.read.host

_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.EmptyPoolError,
    urllib3.exceptions.ClosedPoolError,
)


class _GaveUpError(urllib3.exceptions.MaxRetryError):
    """A `MaxRetryError` that takes its message, and has no pool."""

    pool: Any = None
    url: str | None = None

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


class BreakerOpenRetryError(ClientBreakerOpenError, _GaveUpError):  # type: ignore[misc]  # `reason` differs
    """The breaker refused the request; nothing was sent.

    It is a `urllib3.exceptions.MaxRetryError`, which urllib3 raises for a host that it cannot
    reach, so code that handles that handles this, too. urllib3 itself does not retry it. Its
    `reason` is that of the breaker.
    """


class RefusedResponse(urllib3.HTTPResponse):
    """The 503 of a refused call. Outer breakers ignore it."""

    recloser_refused: bool = True


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent. For `Failover(nothing_sent=...)`.

    The error of a request that urllib3 has retried is that of its last attempt. So do not let it
    retry requests that must not be sent twice: `retries=False`.
    """
    if isinstance(error, BreakerOpenError):
        return True
    if isinstance(error, urllib3.exceptions.MaxRetryError):
        return isinstance(error.reason, _UNSENT)
    return isinstance(error, _UNSENT)


def _refusal_error(request: PoolRequest, refusal: BreakerOpenError) -> BreakerOpenRetryError:
    error = BreakerOpenRetryError.of(refusal)
    error.request = request  # type: ignore[attr-defined]  # as the errors of other adapters have it
    error.url = request.url
    return error


def _refusal_response(request: PoolRequest, refusal: BreakerOpenError) -> urllib3.HTTPResponse:
    return RefusedResponse(
        BytesIO(refusal_body(refusal)),
        headers=refusal_headers(refusal),
        status=503,
        reason="Service Unavailable",
        version=11,
        preload_content=False,
        request_method=request.method,
        request_url=request.target,
    )


def _outbound(
    registry: Registry | None,
    settings: CallSettings[PoolRequest, urllib3.BaseHTTPResponse, RaiseOrResponse],
) -> Calls:
    return OutboundCalls(
        registry,
        settings,
        keys=_KEYS,
        refusal_error=_refusal_error,
        refusal_response=_refusal_response,
    )


def wrap_manager(
    manager: ManagerT,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[PoolRequest, urllib3.BaseHTTPResponse, RaiseOrResponse]],
) -> ManagerT:
    """Guard every pool of a manager: those that it has, and those that it will make.

    Args:
        manager: A `PoolManager`, a `ProxyManager` or a manager of a class of your own. Pools that are
            guarded already stay unchanged.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by`, `on_refuse`, `classify`, `sse_errors`, `verdict`, `cut_off`
            and `on_end`: see `CallSettings`.

    Returns:
        The same manager.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `manager` is no manager.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if not isinstance(manager, urllib3.PoolManager):
        hint = "; use wrap_pool" if isinstance(manager, urllib3.HTTPConnectionPool) else ""
        raise TypeError(f"manager must be a urllib3.PoolManager, not {manager!r}{hint}")
    outbound = _outbound(registry, settings)
    # A new mapping, because that of the manager may be the one of all managers.
    manager.pool_classes_by_scheme = {
        scheme: guarded_kind(kind, outbound)
        for scheme, kind in manager.pool_classes_by_scheme.items()
    }
    for key in manager.pools.keys():  # noqa: SIM118  # it cannot be iterated over
        pool = manager.pools.get(key)
        if pool is not None:
            _guard(pool, outbound)
    return manager


def wrap_pool(
    pool: PoolT,
    registry: Registry | None = None,
    **settings: Unpack[CallSettings[PoolRequest, urllib3.BaseHTTPResponse, RaiseOrResponse]],
) -> PoolT:
    """Guard a pool, such as the one that a library has made for its host.

    Args:
        pool: An `HTTPConnectionPool` or `HTTPSConnectionPool`. A guarded one stays unchanged.
        registry: Holds the breakers; by default a new one.
        **settings: Those of `wrap_manager`.

    Returns:
        The same pool.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `pool` is no pool.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if not isinstance(pool, urllib3.HTTPConnectionPool):
        hint = "; use wrap_manager" if isinstance(pool, urllib3.PoolManager) else ""
        raise TypeError(f"pool must be a urllib3.HTTPConnectionPool, not {pool!r}{hint}")
    _guard(pool, _outbound(registry, settings))
    return pool


def _guard(pool: urllib3.HTTPConnectionPool, outbound: Calls) -> None:
    if not isinstance(pool, GuardedPool):
        # A pool has threads in it, so it is not replaced: it gets a class that guards.
        pool.__class__ = guarded_kind(type(pool), outbound)
