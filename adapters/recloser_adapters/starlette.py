"""Breakers for Starlette and FastAPI: one per route, in one line.

    app.add_middleware(BreakerMiddleware)

The key of a request is its method and route template, such as `GET /items/{id}`, known before
the application has routed it. Requests that no route answers share a key that never opens.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope
from starlette.websockets import WebSocket

from recloser import (
    Breaker,
    BreakerOpenError,
    Mode,
    Outcome,
    Permit,
    Reason,
    Refused,
    Registry,
    State,
    Unguarded,
)
from recloser.asgi import DEFAULT_EXEMPT, PERMIT, Refusal, enabled, note_refusal
from recloser.asgi import BreakerMiddleware as _BreakerMiddleware
from recloser_adapters._routing import (
    UNMATCHED,
    exempt,
    is_async,
    keyed,
    mark,
)
from recloser_adapters._starlette_calls import (
    EndpointCall,
    EndpointPermit,
    connection_of,
    signature_with_connection,
)
from recloser_adapters._starlette_keys import RouteKeys
from recloser_adapters._starlette_routes import Search

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "EndpointRefusedError",
    "RouteKeys",
    "dependency",
    "exempt",
    "keyed",
    "protect",
    "refuse",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_OF_THE_BODY: Final = ("Content-Type", "Content-Length")
_TRY_AGAIN_LATER: Final = 1013  # WebSocket close code, IANA registry


class BreakerMiddleware(_BreakerMiddleware):
    """Guard every route of a Starlette or FastAPI application by a breaker of its own.

    Works as `app.add_middleware(BreakerMiddleware, registry=registry)`, in `Middleware(...)`, on
    a Mount or a Router, and plainly as `app = BreakerMiddleware(app)`; the latter also sees what
    the application's other middleware and its handler of last resort do.

    Args:
        app: The application.
        registry: Where the breakers live; one of its own by default.
        key: A function from the scope to a key, or to `None` to exempt the request. By default
            `RouteKeys`: method and route template.
        routes: Where to read the routes, should they not be found inside `app`.
        exempt: What is not guarded: patterns, or a function of the scope. See
            `recloser.asgi.BreakerMiddleware`, as for all the following.
        classify: Status to `Outcome`.
        on_refuse: An ASGI application that answers refused requests.
        mode: What the breakers may do; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.
    """

    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        routes: Sequence[BaseRoute] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        super().__init__(
            app,
            registry,
            key=RouteKeys(app, routes=routes) if key is None else key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
        )


class EndpointRefusedError(BreakerOpenError, HTTPException):
    """A breaker around an endpoint refused the call: also the framework's own 503.

    A handler for `BreakerOpenError` is asked first, then one for 503 or `HTTPException`; without
    either the framework's default answers.
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
    middleware; where there is one, the endpoint has this breaker instead of its route's, and what
    it refuses is held against no breaker around it.

    A returned or raised status of 500 and above is a failure, 4xx has no vote, and a client that
    goes away cancels. A streamed body is watched to its end, and so are the items of a generator;
    its latency is that of the first. Of a WebSocket the handshake is the call, as it is for the
    middleware; one that comes accepted already is one call to its end. A `WebSocketException` has
    no vote but for code 1011, internal error, which is a failure.

    Not seen: what middleware, dependencies and the framework's own handling (validation, exception
    handlers) make of the call. With `RECLOSER_ENABLED=0` in the environment the endpoint stays as
    it is.

    Args:
        registry: Where the breaker lives.
        key: Its key. Endpoints that depend on the same thing may share it.

    Raises:
        TypeError: What is decorated is a class: decorate its methods.
    """

    def decorate(endpoint: Callable[_P, _R]) -> Callable[_P, _R]:
        if isinstance(endpoint, type) or not callable(endpoint):
            raise TypeError(f"protect needs a function, got {endpoint!r}: decorate its methods")

        if not enabled():
            return endpoint
        call: Callable[..., Any] = endpoint

        @functools.wraps(endpoint)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            connection = connection_of(args, kwargs)
            with EndpointCall(_acquire(registry, key, connection), connection) as ending:
                return ending.watch(call(*args, **kwargs))

        @functools.wraps(endpoint)
        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            connection = connection_of(args, kwargs)
            with EndpointCall(_acquire(registry, key, connection), connection) as ending:
                return ending.watch(await call(*args, **kwargs))

        protected: Any = guarded_async if is_async(endpoint) else guarded
        protected.__signature__ = signature_with_connection(endpoint)
        return cast("Callable[_P, _R]", mark(protected, None))

    return decorate


def dependency(
    registry: Registry, key: str | None = None
) -> Callable[[HTTPConnection], AsyncGenerator[None]]:
    """Make a FastAPI dependency that guards the routes it is declared on.

        router = APIRouter(dependencies=[Depends(dependency(registry, "payments"))])

    It refuses by `EndpointRefusedError`, and sees what the endpoint raises, as `protect` does, and
    the handshake of a WebSocket. It does not see the status of a response that the endpoint
    *returns*: `JSONResponse(..., 503)` passes for a success. Nor, on FastAPI before 0.118, a body
    that fails while it streams. With `RECLOSER_ENABLED=0` in the environment it does nothing.

    Args:
        registry: Where the breaker lives.
        key: Its key; by default that of the route, the same that a middleware gives it. In that
            case it leaves requests alone that the innermost breaker around guards by that key.
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
        with EndpointCall(_acquire(registry, name, connection), connection):
            yield

    return guard


def _own_key(keys: RouteKeys, scope: Scope) -> str | None:
    """The key of the route that a dependency serves, None where it is guarded by that already."""
    # Without a memory: by one path one Depends may be reached through several applications.
    key = keys.resolve(scope, Search())
    if key == UNMATCHED:
        raise LookupError("no route found for an endpoint that was reached: give dependency a key")
    around: Permit | None = scope.get(PERMIT)
    return None if around is not None and around.breaker.key == key else key


async def refuse(connection: HTTPConnection, error: Exception) -> Any:
    """Answer a `BreakerOpenError` from anywhere below an endpoint by the middleware's 503.

        app.add_exception_handler(BreakerOpenError, refuse)

    So a request whose outbound call was refused tells its client when to come again, and is not
    counted against its own route.
    """
    note_refusal(connection.scope)
    if isinstance(connection, WebSocket):
        await connection.close(code=_TRY_AGAIN_LATER)
        return None
    answer = Refusal.after(getattr(error, "retry_after", 0.0))
    return Response(answer.body, 503, dict(answer.headers))


def _acquire(registry: Registry, key: str, connection: HTTPConnection | None) -> Permit:
    breaker = registry[key]
    permit = breaker.admit(EndpointPermit)
    if isinstance(permit, Unguarded):
        return Breaker(key, mode=Mode.DISABLED).acquire()
    if isinstance(permit, Refused):
        if connection is not None:
            note_refusal(connection.scope)
        raise EndpointRefusedError(breaker.refusal())
    return permit
