"""Breakers around single endpoints, and the answer to a refusal from below one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
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
from recloser_adapters._routes.endpoint_watch import EndpointPermit
from recloser_adapters._routes.marks import mark
from recloser_adapters._routes.protect import check_endpoint, guarded
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
    """A breaker around an endpoint refused the call. It is an `HTTPException` of status 503, too.

    The framework gives it to the handler for `BreakerOpenError`, else to the one for 503 or
    `HTTPException`, else it answers by its default.
    """

    def __init__(self, refusal: BreakerOpenError) -> None:
        # Not through BreakerOpenError.__init__, whose super() is Starlette's constructor here.
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after: float = refusal.retry_after
        answer = Refusal.after(refusal.retry_after)
        # The body is the framework's, or that of a handler.
        headers = {name: value for name, value in answer.headers if name not in _OF_THE_BODY}
        HTTPException.__init__(self, 503, "Temporarily unavailable", headers=headers)


def protect(registry: Registry, key: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Guard one endpoint, `def` or `async def`, by the breaker of `key`.

    Place it next to the function, below the decorator that registers the route. It needs no
    middleware. Where there is one, the endpoint has this breaker instead of its route's, and no
    breaker around it counts what this one refuses.

    A returned or raised status of 500 and above is a failure, 4xx has no vote, and a client that
    goes away cancels the call. A streamed body is watched to its end; its latency ends with the
    endpoint's return. The items of a generator are watched to the end, too; their latency is that
    of the first item. Of a WebSocket the handshake is the call, as it is for the middleware; where
    the endpoint gets one that is accepted already, the whole session is the call. A
    `WebSocketException` is a failure if its code is 1011 (internal error), and has no vote
    otherwise.

    What middleware, dependencies and the framework itself (validation, exception handlers) do with
    the call is not seen. With `RECLOSER_ENABLED=0` in the environment the endpoint stays as it is.

    Args:
        registry: Where the breaker lives.
        key: Its key. Endpoints that depend on the same thing may share it.

    Raises:
        TypeError: A class is decorated, instead of its methods.
    """

    def decorate(endpoint: Callable[_P, _R]) -> Callable[_P, _R]:
        check_endpoint(endpoint)
        if not enabled():
            return endpoint

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> StarletteWatch | Unguarded:
            return _begin(registry, key, take_connection(args, kwargs))

        protected: Any = guarded(endpoint, begin)
        protected.__signature__ = signature_with_connection(endpoint)
        return cast("Callable[_P, _R]", mark(protected, None))

    return decorate


def dependency(
    registry: Registry, key: str | None = None
) -> Callable[[HTTPConnection], AsyncGenerator[None]]:
    """Make a FastAPI dependency that guards the routes it is declared on.

        router = APIRouter(dependencies=[Depends(dependency(registry, "payments"))])

    A refusal is raised as `EndpointRefusedError`. Like `protect` it sees what the endpoint raises,
    and the handshake of a WebSocket. It does not see the status of a response that the endpoint
    *returns*: `JSONResponse(..., 503)` counts as a success. On FastAPI before 0.118 it does not
    see a body that fails while it streams, either. With `RECLOSER_ENABLED=0` in the environment it
    does nothing.

    Args:
        registry: Where the breaker lives.
        key: Its key; by default that of the route, the same that a middleware gives it. In that
            case it does not guard a request that the innermost breaker around guards by that key.
    """
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
        with watch:
            yield

    return guard


def _own_key(keys: RouteKeys, scope: Scope) -> str | None:
    """The key of the route that is guarded, None where a breaker around has that key already."""
    # Without the memory: one `Depends` may be used in several applications, by the same path.
    key = keys.resolve(scope, Search())
    if key == UNMATCHED:
        raise LookupError("no route found for an endpoint that was reached: give dependency a key")
    around: Permit | None = scope.get(PERMIT)
    return None if around is not None and around.breaker.key == key else key


async def refuse(connection: HTTPConnection, error: Exception) -> Any:
    """Answer a `BreakerOpenError` from anywhere below an endpoint by the middleware's 503.

        app.add_exception_handler(BreakerOpenError, refuse)

    Where the breaker of an outbound call refuses, the client is then told when to try again, and
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
