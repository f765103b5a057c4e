"""`protect` and `dependency` for single endpoints, and `refuse`, which answers a refusal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, ParamSpec, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope
from starlette.websockets import WebSocket

from recloser import (
    BreakerOpenError,
    Permit,
    Reason,
    Refused,
    Registry,
    State,
    Unguarded,
)
from recloser.asgi import PERMIT, UNMATCHED, Refusal, enabled, note_refusal
from recloser.hints import check_registry, knows_names, wrong
from recloser_adapters._routes.endpoint_watch import EndpointPermit
from recloser_adapters._routes.marks import mark, mark_protected
from recloser_adapters._routes.protect import check_endpoint, check_protect, guarded
from recloser_adapters.starlette._connection_argument import (
    signature_with_connection,
    take_connection,
)
from recloser_adapters.starlette._endpoint_watch import StarletteWatch
from recloser_adapters.starlette._route_keys import RouteKeys
from recloser_adapters.starlette._route_search import Search

_P = ParamSpec("_P")
_R = TypeVar("_R")
_OF_THE_BODY: Final = ("Content-Type", "Content-Length")
_TRY_AGAIN_LATER: Final = 1013  # WebSocket close code, IANA registry


class EndpointRefusedError(BreakerOpenError, HTTPException):
    """The breaker of an endpoint refused the call. It is also an `HTTPException` of status 503.

    The framework gives it to the handler for `BreakerOpenError`. Without one it uses the handler
    for 503 or `HTTPException`, and then its default.
    """

    def __init__(self, refusal: BreakerOpenError) -> None:
        # BreakerOpenError.__init__ is not called: its super() would be Starlette's constructor.
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after: float = refusal.retry_after
        answer = Refusal.after(refusal.retry_after)
        # The framework or a handler makes the body.
        headers = {name: value for name, value in answer.headers if name not in _OF_THE_BODY}
        HTTPException.__init__(self, 503, "Temporarily unavailable", headers=headers)


@knows_names
def protect(registry: Registry, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one endpoint, `def` or `async def`, with the breaker of `key`.

    Place it next to the function, below the decorator that registers the route. It needs no
    middleware. If there is a middleware, this breaker replaces that of the endpoint's route, and
    outer breakers do not count the refusals of this one.

    A returned or raised status of 500 or above is a failure; 4xx has no vote. A client that
    disconnects cancels the call. A streamed body is watched to its end; its latency is the time
    until the endpoint returns. A generator is also watched to its end; its latency is the time to
    the first item. For a WebSocket the call is the handshake, as in the middleware. If the
    WebSocket is accepted before the endpoint gets it, the call is the whole session. A
    `WebSocketException` is a failure if its code is 1011 (internal error); otherwise it has no
    vote.

    Middleware, dependencies and the framework itself (validation, exception handlers) are outside
    of the call, so their effects are not seen. With `RECLOSER_ENABLED=0` in the environment the
    endpoint stays unchanged.

    Args:
        registry: Holds the breaker.
        key: The breaker's key. Endpoints that depend on the same service may share it.

    Raises:
        TypeError: The decorated object is a class. Decorate its methods instead.
    """
    check_protect(registry, key)

    def decorate(endpoint: Callable[_P, _R]) -> Callable[_P, _R]:
        check_endpoint(endpoint)
        if not enabled():
            return endpoint

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> StarletteWatch | Unguarded:
            return _begin(registry, key, take_connection(args, kwargs))

        protected: Any = guarded(endpoint, begin)
        protected.__signature__ = signature_with_connection(endpoint)
        mark_protected(mark(protected, None), registry, key)
        return cast("Callable[_P, _R]", protected)

    return decorate


@knows_names
def dependency(
    registry: Registry, key: str | None = None
) -> Callable[[HTTPConnection], AsyncGenerator[None]]:
    """Make a FastAPI dependency that guards the routes it is declared on.

        router = APIRouter(dependencies=[Depends(dependency(registry, "payments"))])

    A refusal raises `EndpointRefusedError`. Like `protect`, the dependency sees the exceptions of
    the endpoint and the handshake of a WebSocket. It does not see the status of a response that the
    endpoint *returns*: `JSONResponse(..., 503)` counts as a success. On FastAPI before 0.118 it
    also does not see that a body fails while it streams. The latency is the time until the endpoint
    returns; on FastAPI 0.118 to 0.120 it cannot be told, and is not judged. With `RECLOSER_ENABLED=0` in the
    environment it does nothing.

    Args:
        registry: Holds the breaker.
        key: The breaker's key. By default it is the key of the route, the same as in the
            middleware. In that case a request is not guarded again if the innermost breaker around
            it has the same key.
    """
    check_registry(registry, Registry)
    if key is not None and not isinstance(key, str):
        raise wrong("key", "a str", key)
    keys = RouteKeys()
    is_off = not enabled()

    async def guard(connection: HTTPConnection) -> AsyncGenerator[None]:
        scope = connection.scope
        name = key
        if name is None and not is_off:
            try:
                name = _own_key(keys, scope)
            except Exception as error:
                registry.fault("key", error)
        if name is None or is_off:
            yield
            return
        watch = _begin(registry, name, connection)
        if isinstance(watch, Unguarded):
            yield
            return
        _mark_at_return(scope, watch.permit)
        with watch:
            yield

    return mark_protected(guard, registry, key)


def _mark_at_return(scope: Scope, permit: Permit) -> None:
    """Take the latency when the endpoint returns.

    From FastAPI 0.118 on, a dependency ends after the response and its background tasks. Another
    stack ends before them; from 0.118 to 0.120 there is none, so the latency is not judged.
    """
    stack = scope.get("fastapi_function_astack")
    if isinstance(stack, AsyncExitStack):
        stack.callback(permit.mark)
    elif "fastapi_inner_astack" in scope:
        permit.mark()


def _own_key(keys: RouteKeys, scope: Scope) -> str | None:
    """The key of the route, or None if the innermost breaker around it has that key."""
    # The cache is not used: one `Depends` may serve several applications that have equal paths.
    key = keys.resolve(scope, Search())
    if key == UNMATCHED:
        raise LookupError("the route of this endpoint was not found: give dependency() a key")
    around: Permit | None = scope.get(PERMIT)
    return None if around is not None and around.breaker.key == key else key


async def refuse(connection: HTTPConnection, error: Exception) -> Any:
    """Answer a `BreakerOpenError` that an endpoint raised with the middleware's 503.

        app.add_exception_handler(BreakerOpenError, refuse)

    If the breaker of an outbound call refuses, the response tells the client when to try again, and
    the request is not counted against its own route.
    """
    note_refusal(connection.scope)
    if isinstance(connection, WebSocket):
        await connection.close(code=_TRY_AGAIN_LATER)
        return None
    answer = Refusal.after(getattr(error, "retry_after", 0.0))
    return Response(answer.body, 503, dict(answer.headers))


def _begin(
    registry: Registry, key: str, connection: HTTPConnection | None
) -> StarletteWatch | Unguarded:
    """Begin a call.

    Raises:
        EndpointRefusedError: The call is refused.
    """
    admission = registry[key].admit(EndpointPermit)
    if isinstance(admission, Refused):
        if connection is not None:
            note_refusal(connection.scope)
        raise EndpointRefusedError(admission.error())
    return admission if isinstance(admission, Unguarded) else StarletteWatch(admission, connection)
