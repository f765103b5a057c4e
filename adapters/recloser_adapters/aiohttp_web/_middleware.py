"""The middleware that guards a whole application, with one key per route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

import aiohttp.web as web

from recloser import BreakerOpenError, Mode, Outcome, Permit, Registry, asgi
from recloser.asgi import DEFAULT_EXEMPT, REFUSAL, Refusal
from recloser.hints import knows_names
from recloser_adapters._routes.conversation import EXCHANGE
from recloser_adapters._routes.guarded import lasting
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.aiohttp_web._exchange import KEY, Exchange
from recloser_adapters.aiohttp_web._keys import key_of, known

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnRefuse = Callable[[web.Request, BreakerOpenError], Awaitable[web.StreamResponse]]


class BreakerMiddleware:
    """Guard every route of an aiohttp.web application with its own breaker.

    Put it first in `middlewares`, so that the other middlewares are part of the call. It guards
    sub-applications, too. What `recloser.asgi.BreakerMiddleware` promises holds here: a raised
    `web.HTTPException` is an answer, of a stream the first piece is the answer, of a WebSocket the
    handshake is the call, a client that leaves or is slow is nobody's fault.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the handler. It is
    not counted against the handler's route, and its answer is a 503 that says when to come again.

    Args:
        registry: Holds the breakers; by default a new one.
        key: A function that takes the request and returns a key, or `None` to exempt it. By default
            `key_of`: method and template of the resource.
        exempt: Requests that are not guarded: patterns such as `/internal/*` or `GET /search*`
            instead of `DEFAULT_EXEMPT`, or a function from the request to bool.
        classify: A function that takes a status and returns an `Outcome`. By default 5xx fails and
            4xx is ignored.
        on_refuse: A coroutine function that answers refused requests. It takes the request and the
            `BreakerOpenError`. If it raises, the default answer is given.
        mode: The mode of the breakers; by default the registry's mode. If both are given, the more
            lenient one applies.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504.

    Attributes:
        registry: Holds the breakers.
        key: Makes the keys.
        exempt: What is not guarded: patterns, or a function of the request.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    # What `web.middleware` sets: aiohttp calls it with the request and the handler.
    __middleware_version__: ClassVar[int] = 1
    guards_routes: ClassVar[bool] = True

    @knows_names
    def __init__(
        self,
        registry: Registry | None = None,
        *,
        key: Callable[[web.Request], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: OnRefuse | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        if on_refuse is not None and not callable(on_refuse):
            raise TypeError(f"on_refuse must be a function of request and error, not {on_refuse!r}")
        exempt = lasting(exempt)
        # It checks these functions, which are wrapped below: they get the request, not its scope.
        asgi.BreakerMiddleware(self._handle, registry, key=cast("Any", key), exempt=exempt)
        self._on_refuse = on_refuse
        self.key: Callable[[web.Request], str | None] = key_of if key is None else key
        self.exempt: Any = exempt
        self._breaker = asgi.BreakerMiddleware(
            self._handle,
            registry,
            key=self._key,
            exempt=self._is_exempt if callable(exempt) else exempt,
            classify=classify,
            on_refuse=None if on_refuse is None else self._refuse,
            mode=mode,
            expose_details=expose_details,
            cut_off=cut_off,
        )
        self.registry: Registry = self._breaker.registry
        self._unused = UnusedPatterns(exempt, self.registry) if key is None else None

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve one request. What the handler raises passes through."""
        around: Exchange | None = request.get(KEY)
        is_first = around is None
        if around is None:
            request[KEY] = around = Exchange(request)
        exchange: Exchange = around
        if self._unused is not None:
            self._tell_unused(request)
        outer = exchange.handler
        exchange.handler = handler
        try:
            await self._breaker(exchange.scope, exchange.receive, exchange.send)
        finally:
            exchange.handler = outer
            if is_first:
                del request[KEY]
                exchange.close()
        response: web.StreamResponse = exchange.response
        return response

    def _tell_unused(self, request: web.Request) -> None:
        unused, self._unused = self._unused, None
        if unused is not None:
            unused.tell(lambda: known(request.match_info.apps[0]))

    def _key(self, scope: Any) -> str | None:
        return self.key(scope[EXCHANGE].request)

    def _is_exempt(self, scope: Any) -> bool:
        return bool(self.exempt(scope[EXCHANGE].request))

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request by its handler: to the middleware of ASGI this is the app."""
        exchange: Exchange = scope[EXCHANGE]
        handler: Handler = exchange.handler
        if send is exchange.send:  # not guarded
            exchange.response = await handler(exchange.request)
            return
        outer = exchange.receive, exchange.send
        exchange.receive, exchange.send = receive, send
        try:
            try:
                exchange.attach()
            except Exception as error:  # another version of aiohttp
                self.registry.fault("aiohttp", error)
            exchange.response = await _answered(exchange, handler)
        finally:
            exchange.receive, exchange.send = outer

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        exchange: Exchange = scope[EXCHANGE]
        on_refuse = cast("OnRefuse", self._on_refuse)
        try:
            response = await on_refuse(exchange.request, scope[REFUSAL])
        except web.HTTPException as raised:
            # aiohttp does not want one to be returned.
            response = web.Response(
                status=raised.status, reason=raised.reason, headers=raised.headers, body=raised.body
            )
        if not isinstance(response, web.StreamResponse):
            raise TypeError(f"on_refuse must return a response, not {response!r}")
        exchange.send, outer = send, exchange.send
        try:
            await exchange.give(response)
        finally:
            exchange.send = outer


async def _answered(exchange: Exchange, handler: Handler) -> web.StreamResponse:
    """Call a handler, and tell the breaker how it answered."""
    try:
        response = await handler(exchange.request)
    except web.HTTPException as answer:
        # Told while it is handled, so that it is seen if it stands for a refusal. After the begin
        # of another response it is an error like others.
        if not exchange.has_begun:
            await exchange.answered(answer)
        raise
    except BreakerOpenError as error:
        if exchange.has_begun:
            raise
        response = refuse(exchange.request, error)
    except ConnectionError:
        if exchange.is_left:
            asgi.permit_of(exchange.scope).cancel()
        raise
    await exchange.answered(response)
    return response


def permit_of(request: web.Request) -> Permit:
    """The permit of the innermost breaker around a handler; one without effect if there is none.

    A handler may end its call itself: `permit_of(request).failure("stale data served")`.
    """
    exchange: Exchange | None = request.get(KEY)
    return asgi.permit_of({} if exchange is None else exchange.scope)


def note_refusal(request: web.Request) -> None:
    """Mark a request as refused: what is answered then is not counted against its route."""
    exchange: Exchange | None = request.get(KEY)
    if exchange is not None:
        asgi.note_refusal(exchange.scope)


def refuse(request: web.Request, error: BreakerOpenError) -> web.Response:
    """Answer a `BreakerOpenError` with the middleware's 503, not counted against the route.

    In a handler or a middleware that catches the error: `return refuse(request, error)`.
    """
    note_refusal(request)
    answer = Refusal.after(error.retry_after)
    return web.Response(status=503, headers=answer.headers, body=answer.body)
