"""BreakerMiddleware for any ASGI 3 app.

    app = BreakerMiddleware(app)

It alters nothing and holds nothing back: every message passes as it is, when it is sent. A call
begins when the app is called and ends once, at the first of

- the last message of the response (body, `pathsend`, or trailers if they were announced): its
  status decides, 4xx being the client's own fault. Work after it, in the background, is not judged;
- an exception before that: a failure;
- the client leaving before that, in whatever way the server says so (`http.disconnect`, an
  `OSError` from `send`, cancellation) and the app returning without it: no verdict.

Latency is taken at the start of the response, and does not count the time that the handler waits
for the client to send its request. A status of 500 and above that was sent before the client left
is a failure all the same. Of a WebSocket the handshake is the call: accepting it is a success,
closing it (the server answers 403) is the app's right and no verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from recloser._admission import Refused
from recloser._http.asgi_watch import (
    BODY,
    DENIAL_BODY,
    DENIAL_START,
    NONE_YET,
    START,
    HandshakeWatch,
    Message,
    Receive,
    RequestWatch,
    Scope,
    Send,
    says_gone,
)
from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.gate import (
    PERMIT,
    REFUSAL,
    REFUSED,
    UNMATCHED,
    Classify,
    Exempt,
    Gate,
    KeyFunction,
    enabled,
    note_refusal,
    permit_of,
)
from recloser._http.refusal import Refusal, Refusals
from recloser._registry import Registry
from recloser._state import Mode

__all__ = [
    "DEFAULT_EXEMPT",
    "PERMIT",
    "REFUSAL",
    "REFUSED",
    "UNMATCHED",
    "BreakerMiddleware",
    "Refusal",
    "enabled",
    "note_refusal",
    "permit_of",
]

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRY_AGAIN_LATER = 1013  # RFC 6455 close code registry


# Scope types that are guarded, and what watches one. Others pass.
_WATCHES = {"http": RequestWatch, "websocket": HandshakeWatch}


class BreakerMiddleware:
    """Guards an ASGI app: answers 503 at once while a breaker is open.

    A handler may end its call by itself: `permit_of(scope).failure("stale data served")`. Two of
    these around one app with the same registry and key count a call once.

    Args:
        app: The app.
        registry: Where the breakers are; None for one of its own.
        key: Scope to key. The default is one key, "app", for the whole app: a raw path would make
            a key of whatever a client thinks of. None from it leaves a request unguarded.
        exempt: What is not guarded: patterns such as `/static/*` or `GET /search*`, replacing
            `DEFAULT_EXEMPT`, or a function of the scope.
        classify: Status to `Outcome`; the default counts 5xx as failures and ignores 4xx.
        on_refuse: An ASGI app that answers refused requests; `scope["recloser.refusal"]` is the
            `BreakerOpenError`. Should it fail before it sent anything, the default answer goes out.
        mode: None leaves it to the registry; else the more lenient of the two holds.
        expose_details: Whether a refusal tells key, state and reason to the client. The reason
            quotes the last exception: a host, a user, whatever its message says.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        key: KeyFunction | None = None,
        exempt: Exempt = DEFAULT_EXEMPT,
        classify: Classify | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI app, not {app!r}")
        if on_refuse is not None and not callable(on_refuse):
            raise TypeError(f"on_refuse must be an ASGI app, not {on_refuse!r}")
        self.app = app
        self._gate = Gate(
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            mode=mode,
            method="method",
            path="path",
            root="root_path",
        )
        self.registry: Registry = self._gate.registry
        self._refusals = Refusals(expose_details=expose_details)
        self._on_refuse = on_refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. What the app returns or raises passes through."""
        try:
            kind = _WATCHES[scope["type"]]
        except (KeyError, TypeError):
            return await self.app(scope, receive, send)
        gate = self._gate
        watch = gate.admit(scope, kind)
        if type(watch) is not kind:
            if not isinstance(watch, Refused):
                return await self.app(scope, receive, send)
            if self._on_refuse is not None or kind is HandshakeWatch:
                return await self._refuse(watch, scope, receive, send)
            # Here, and not in a coroutine of its own: refusals are to cost next to nothing.
            refusal = self._refusals.of(watch)
            # A new list of headers each time: middleware further out may add to it.
            await send({"type": START, "status": 503, "headers": [*refusal.raw_headers]})
            body = b"" if scope.get("method") == "HEAD" else refusal.body
            return await send({"type": BODY, "body": body})
        # Plain stores: an __init__ would cost each request one more frame.
        watch.gate = gate
        watch.pass_receive = receive
        watch.pass_send = send
        watch.scope = scope
        watch.status = 0
        watch.last_kinds = NONE_YET
        watch.is_heard = False
        watch.waited = 0.0
        try:
            # An illegal app returns a value; the server is to see it.
            app = self.app
            return await app(scope, watch, watch.send)
        except BaseException as error:
            watch.leave(error)
            raise
        finally:
            if watch.token:
                # The client had left, or the app broke the protocol.
                watch.leave()
            # Servers keep the scope where their send() is: a cycle, if we stayed in it.
            if watch.outer is None:
                try:  # noqa: SIM105 - suppress() costs more than the rest of this block
                    del scope[PERMIT]
                except KeyError:
                    pass
            else:
                scope[PERMIT] = watch.outer

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a WebSocket, or by an app of the user."""
        if self._on_refuse is not None:
            scope[REFUSAL] = refused.error()
            if await self._refused_by_app(self._on_refuse, scope, receive, send):
                return
        start, body = START, BODY
        if scope["type"] == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or ()):
                if not says_gone(await receive()):
                    await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
                return
            start, body = DENIAL_START, DENIAL_BODY
        refusal = self._refusals.of(refused)
        await send({"type": start, "status": 503, "headers": [*refusal.raw_headers]})
        is_head = scope.get("method") == "HEAD"
        await send({"type": body, "body": b"" if is_head else refusal.body})

    async def _refused_by_app(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Let the user's app answer; False if it failed and nothing was sent."""
        sent = False

        async def noted_send(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent = True

        try:
            await app(scope, receive, noted_send)
        except Exception as error:
            self.registry.fault("on_refuse", error)
            if sent:
                # Half an answer is out; only the server can end it.
                raise
        return sent
