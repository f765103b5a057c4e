"""BreakerMiddleware for any ASGI 3 app.

    app = BreakerMiddleware(app)

It alters nothing and holds nothing back: every message passes as it is, when it is sent. A call
begins when the app is called and ends once, at the first of

- the last message of the response (body, `pathsend`, or trailers if they were announced): its
  status decides, 4xx being the client's own fault. Work after it, in the background, is not judged;
- an exception before that: a failure;
- the client leaving before that, in whatever way the server says so (`http.disconnect`, an
  `OSError` from `send`, cancellation) and the app returning without it: no verdict.

Latency is taken at the start of the response. Of a WebSocket the handshake is the call: accepting
it is a success, closing it (the server answers 403) is the app's right and no verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from recloser._breaker import Breaker
from recloser._events import Mode
from recloser._http import (
    DEFAULT_EXEMPT,
    PERMIT,
    REFUSAL,
    REFUSED,
    UNMATCHED,
    Classify,
    Exempt,
    Gate,
    KeyFunction,
)
from recloser._permit import Permit
from recloser._refusal import Refusals
from recloser._registry import Registry

__all__ = ["DEFAULT_EXEMPT", "PERMIT", "REFUSAL", "REFUSED", "UNMATCHED", "BreakerMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRAILERS = "http.response.trailers"
# Messages that can be the last of a response, and what in them says that more is to come.
_SAYS_MORE: Mapping[str, str] = {
    "http.response.body": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.pathsend": "more_body",
    _TRAILERS: "more_trailers",
}
_TRY_AGAIN_LATER = 1013  # RFC 6455 close code registry


class BreakerMiddleware:
    """Guards an ASGI app: answers 503 at once while a breaker is open.

    A handler finds the permit of its call in `scope["recloser.permit"]`, and may end it by
    itself: `permit.failure("stale data served")`. Two of these around one app with the same
    registry and key count a call once.

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
        expose_details: Whether a refusal tells key, state and reason to the client.

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
        kind = scope.get("type")
        if kind != "http" and kind != "websocket":
            return await self.app(scope, receive, send)
        gate = self._gate
        permit = gate.admit(scope)
        if permit is None:
            return await self.app(scope, receive, send)
        if isinstance(permit, Breaker):
            return await self._refuse(permit, scope, receive, send)
        exchange = _new(_Exchange if kind == "http" else _Handshake)
        # Plain stores: an __init__ would cost each request one more frame.
        exchange._gate = gate
        exchange._permit = permit
        exchange._receive = receive
        exchange._scope = scope
        exchange._send = send
        exchange._status = None
        exchange._trailers = exchange.ended = False
        try:
            # An illegal app returns a value; the server is to see it.
            return await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            permit.end_by_error(error)
            raise
        finally:
            if not exchange.ended:
                # The client had left, or the app broke the protocol.
                permit.cancel()

    async def _refuse(self, breaker: Breaker, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.note_refusal(scope)
        if self._on_refuse is not None:
            scope[REFUSAL] = breaker.refusal()
            if await self._refused_by_app(self._on_refuse, scope, receive, send):
                return
        refusal = self._refusals.of(breaker, _accept(scope))
        start, end = "http.response.start", "http.response.body"
        if scope["type"] == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or ()):
                if not _says_gone(await receive()):
                    await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
                return
            start, end = "websocket.http.response.start", "websocket.http.response.body"
        # A new list of headers each time: middleware further out may add to it.
        await send({"type": start, "status": 503, "headers": [*refusal.raw_headers]})
        body = b"" if scope.get("method") == "HEAD" else refusal.body
        await send({"type": end, "body": body})

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


_new = object.__new__


class _Exchange:
    """One HTTP request and its response: watched, and passed on as they are."""

    __slots__ = ("_gate", "_permit", "_receive", "_scope", "_send", "_status", "_trailers", "ended")

    _gate: Gate
    _permit: Permit
    _receive: Receive
    _scope: Scope
    _send: Send
    _status: int | None
    _trailers: bool
    ended: bool

    async def receive(self) -> Message:
        message = await self._receive()
        if not self.ended and _says_gone(message):
            self._permit.cancel()
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # No coroutine of its own where it need not be: one for each message would cost more than
        # all that is done here.
        if self.ended:
            return self._send(message)
        try:
            kind = message["type"]
            if kind == "http.response.start":
                self._permit.mark()
                self._status = message["status"]
                self._trailers = message.get("trailers", False)
            elif (
                kind in _SAYS_MORE
                and not message.get(_SAYS_MORE[kind])
                and self._status is not None
                and (not self._trailers or kind == _TRAILERS)
            ):
                self.ended = True
                if self._status < 400 and self._gate.plain:
                    self._permit.success()
                else:
                    self._gate.judge(self._scope, self._permit, self._status)
                return self._send(message)
        except Exception as error:
            # A message that cannot be read is for the server to refuse.
            self._gate.registry.fault("message", error)
        return _until_lost(self._send(message), self._permit)


class _Handshake(_Exchange):
    """The opening of a WebSocket."""

    __slots__ = ()

    def send(self, message: Message) -> Awaitable[None]:
        if self.ended:
            return self._send(message)
        try:
            kind = message["type"]
            if kind == "websocket.accept":
                self.ended = True
                self._permit.success()
            elif kind == "websocket.close":
                self.ended = True
                self._permit.ignore()
            elif kind == "websocket.http.response.start":
                self._permit.mark()
                self._status = message["status"]
            elif (
                kind == "websocket.http.response.body"
                and not message.get("more_body")
                and self._status is not None
            ):
                self.ended = True
                self._gate.judge(self._scope, self._permit, self._status)
        except Exception as error:
            self._gate.registry.fault("message", error)
        return _until_lost(self._send(message), self._permit)


def _says_gone(message: Message) -> bool:
    try:
        return message["type"] in ("http.disconnect", "websocket.disconnect")
    except Exception:
        return False  # not a message; the app will say so


async def _until_lost(sending: Awaitable[None], permit: Permit) -> None:
    """Send, and take an `OSError` for what the ASGI spec says it is: the client has gone."""
    try:
        return await sending
    except OSError:
        permit.cancel()
        raise


def _accept(scope: Scope) -> str | None:
    """The value of the Accept header."""
    found: bytes | None = None
    try:
        for name, value in scope["headers"]:
            if name == b"accept":
                found = value if found is None else found + b"," + value
        return None if found is None else found.decode("latin-1")
    except Exception:
        return None  # not the headers of a request; the default form will do
