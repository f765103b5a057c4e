"""`guard`, which puts breakers in front of the handlers of a Tornado application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any, Final, cast

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, OutputTransform, RequestHandler

from recloser import BreakerOpenError, Mode, Outcome, Permit, Registry, asgi
from recloser.asgi import DEFAULT_EXEMPT, REFUSAL, Refusal
from recloser.hints import knows_names
from recloser_adapters._routes.conversation import EXCHANGE
from recloser_adapters._routes.guarded import keys_of, lasting
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.tornado._exchange import ATTRIBUTE, Exchange, give
from recloser_adapters.tornado._keys import SpecKeys, applications_in

_SETTING: Final = "recloser"

OnRefuse = Callable[[RequestHandler, BreakerOpenError], Any]


class BreakerGuard:
    """Guards the handlers of an application. `guard` makes it.

    Attributes:
        exempt: What is not guarded: patterns, or a function of the request.
        keys: Makes the keys; None if a function of the user does.
        registry: Holds the breakers.
    """

    def __init__(
        self,
        app: Application,
        registry: Registry | None,
        *,
        key: Callable[[HTTPServerRequest], str | None] | None,
        exempt: Any,
        on_refuse: OnRefuse | None,
        **options: Any,
    ) -> None:
        if not isinstance(app, Application):
            raise TypeError(f"app must be a tornado.web.Application, not {app!r}")
        if on_refuse is not None and not callable(on_refuse):
            raise TypeError(f"on_refuse must be a function of handler and error, not {on_refuse!r}")
        exempt = lasting(exempt)
        # It checks these functions, which are wrapped below: they get the request, not its scope.
        asgi.BreakerMiddleware(self._handle, registry, key=cast("Any", key), exempt=exempt)
        self.exempt: Any = exempt
        self.keys: SpecKeys | None = SpecKeys(app) if key is None else None
        self._key_of_user = key
        self._on_refuse = on_refuse
        self._breaker = asgi.BreakerMiddleware(
            self._handle,
            registry,
            key=self._key,
            exempt=self._is_exempt if callable(exempt) else exempt,
            on_refuse=None if on_refuse is None else self._refuse,
            **options,
        )
        self.registry: Registry = self._breaker.registry
        self._unused = UnusedPatterns(exempt, self.registry) if key is None else None
        app.settings.setdefault(_SETTING, []).append(self)
        for each in applications_in(app):
            self._guard(each)

    def _guard(self, app: Application) -> None:
        keys = SpecKeys(app)
        get_handler_delegate: Any = app.get_handler_delegate

        def get_guarded_delegate(*args: Any, **kwargs: Any) -> Any:
            delegate = get_handler_delegate(*args, **kwargs)
            # What an application of the user has of its own is left alone.
            if hasattr(delegate, "handler_class"):
                delegate.handler_class = partial(self._make, delegate.handler_class, keys)
            return delegate

        vars(app)["get_handler_delegate"] = get_guarded_delegate

    def _make(
        self, make: Any, keys: SpecKeys, app: Application, request: HTTPServerRequest, **kwargs: Any
    ) -> RequestHandler:
        handler: RequestHandler = make(app, request, **kwargs)
        # The one method that is around the whole of a request: prepare, the method, the answer to
        # what they raise.
        own = vars(handler)
        own["_execute"] = partial(self._execute, handler, keys, handler._execute)
        return handler

    async def _execute(
        self,
        handler: RequestHandler,
        keys: SpecKeys,
        execute: Any,
        transforms: list[OutputTransform],
        *args: bytes,
        **kwargs: bytes,
    ) -> None:
        vars(handler).pop("_execute", None)  # it refers to the handler
        if self._unused is not None and self.keys is not None:
            self._unused.tell(self.keys.known)
        exchange: Exchange | None = getattr(handler.request, ATTRIBUTE, None)
        is_first = exchange is None
        if exchange is None:
            exchange = Exchange(handler, self.registry.fault)
            setattr(handler.request, ATTRIBUTE, exchange)
        outer = exchange.execute, exchange.keys
        exchange.keys = keys
        exchange.execute = partial(execute, transforms, *args, **kwargs)
        exchange.transforms = transforms
        try:
            await self._breaker(exchange.scope, exchange.receive, exchange.send)
            refusal, exchange.refusal = exchange.refusal, None
            if refusal is not None:
                await _answer(exchange, partial(give, handler, *refusal))
        except asyncio.CancelledError:
            if is_first and exchange.is_cancelled and not handler._finished:
                exchange.close()
                handler.send_error(500)
            raise
        finally:
            exchange.execute, exchange.keys = outer
            if is_first:
                delattr(handler.request, ATTRIBUTE)
                exchange.close()

    def _key(self, scope: Any) -> str | None:
        exchange: Exchange = scope[EXCHANGE]
        key_of: Any = exchange.keys if self._key_of_user is None else self._key_of_user
        key: str | None = key_of(exchange.handler.request)
        return key

    def _is_exempt(self, scope: Any) -> bool:
        return bool(self.exempt(scope[EXCHANGE].handler.request))

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Run a handler: to the middleware of ASGI this is the app."""
        exchange: Exchange = scope[EXCHANGE]
        execute: Any = exchange.execute
        if send is exchange.send:  # not guarded
            await execute()
            return
        outer = exchange.receive, exchange.send
        exchange.receive, exchange.send = receive, send
        try:
            try:
                exchange.attach()
            except Exception as error:  # another version of Tornado
                self.registry.fault("tornado", error)
            await execute()
        finally:
            exchange.receive, exchange.send = outer

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        exchange: Exchange = scope[EXCHANGE]
        error: BreakerOpenError = scope[REFUSAL]
        on_refuse = cast("OnRefuse", self._on_refuse)
        handler: Any = exchange.handler

        async def prepare() -> None:
            try:
                result = on_refuse(handler, error)
                if isawaitable(result):
                    await result
                if not handler._finished:
                    handler.finish()
            except Exception as fault:
                if handler._headers_written:
                    raise
                self.registry.fault("on_refuse", fault)
                handler.clear()
                answer = Refusal.after(error.retry_after)
                give(handler, 503, list(answer.headers), answer.body)

        await _answer(exchange, prepare)
        exchange.send, outer = send, exchange.send
        try:
            await exchange.tell_start(handler.get_status(), [])
            await exchange.tell_body(b"", more=False)
        finally:
            exchange.send = outer


async def _answer(exchange: Exchange, prepare: Any) -> None:
    """Answer a request in place of its handler: the rest of the handler is not called."""
    handler = exchange.handler
    if exchange.is_attached:  # it was cut off, and may have written something
        handler.clear()
    own = vars(handler)
    # Tornado calls no method of a handler that has finished in `prepare`.
    own.update(prepare=prepare, on_finish=lambda: None)
    try:
        await exchange.execute()
    finally:
        del own["prepare"], own["on_finish"]


@knows_names
def guard(
    app: Application,
    registry: Registry | None = None,
    *,
    key: Callable[[HTTPServerRequest], str | None] | None = None,
    exempt: Any = DEFAULT_EXEMPT,
    classify: Callable[[int], Outcome] | None = None,
    on_refuse: OnRefuse | None = None,
    mode: Mode | str | None = None,
    expose_details: bool = False,
    cut_off: bool = False,
) -> BreakerGuard:
    """Guard every handler of a Tornado application, each URL spec with its own breaker.

    Applications that are targets of its rules are guarded, too, so add them before. What
    `recloser.asgi.BreakerMiddleware` promises holds here: a raised `HTTPError` is an answer, of a
    stream the first piece is the answer, of a WebSocket the handshake is the call, a client that
    leaves or is slow is nobody's fault.

    If the breaker of an outbound call refuses, a `BreakerOpenError` may leave the handler. It is
    not counted against the URL spec, and its answer is a 503 that says when to come again, unless
    the handler has a `write_error` of its own.

    Args:
        app: The application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the request and returns a key, or `None` to exempt it. By default
            `SpecKeys`: method and pattern of the URL spec.
        exempt: Requests that are not guarded: patterns such as `/internal/*` or `GET /search*`
            instead of `DEFAULT_EXEMPT`, or a function from the request to bool.
        classify: A function that takes a status and returns an `Outcome`. By default 5xx fails and
            4xx is ignored.
        on_refuse: A function, plain or async, that answers refused requests. It takes the handler,
            whose `prepare` was not called, and the `BreakerOpenError`. If it raises, the default
            answer is given.
        mode: The mode of the breakers; by default the registry's mode. If both are given, the more
            lenient one applies.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """
    return BreakerGuard(
        app,
        registry,
        key=key,
        exempt=exempt,
        on_refuse=on_refuse,
        classify=classify,
        mode=mode,
        expose_details=expose_details,
        cut_off=cut_off,
    )


def guarded_keys(app: Application) -> dict[Registry, set[str]]:
    """Return the keys that guard URL specs of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application, guarded or not.
    """
    keys: dict[Registry, set[str]] = {}
    for each in app.settings.get(_SETTING, ()):
        found = keys.setdefault(each.registry, set())
        if each.keys is not None:
            for inner in applications_in(app):
                found.update(keys_of(SpecKeys(inner).known(), each.exempt))
    return keys


def permit_of(handler: RequestHandler) -> Permit:
    """The permit of the innermost breaker around a handler; one without effect if there is none.

    A handler may end its call itself: `permit_of(self).failure("stale data served")`.
    """
    exchange: Exchange | None = getattr(handler.request, ATTRIBUTE, None)
    return asgi.permit_of({} if exchange is None else exchange.scope)


def note_refusal(handler: RequestHandler) -> None:
    """Mark a request as refused: what is answered then is not counted against its URL spec."""
    exchange: Exchange | None = getattr(handler.request, ATTRIBUTE, None)
    if exchange is not None:
        asgi.note_refusal(exchange.scope)
