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
is a failure all the same. Of a WebSocket the handshake is the call: accepting
it is a success, closing it (the server answers 403) is the app's right and no verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from math import inf
from typing import Any

from recloser._breaker import Breaker
from recloser._calls import WAITING
from recloser._events import Mode
from recloser._http import (
    DEFAULT_EXEMPT,
    PERMIT,
    REFUSAL,
    REFUSED,
    UNASKED,
    UNMATCHED,
    Classify,
    Exempt,
    Gate,
    KeyFunction,
    enabled,
    note_refusal,
    permit_of,
)
from recloser._permit import NO_TOKEN, Permit
from recloser._refusal import Refusal, Refusals
from recloser._registry import Registry

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

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_START, _BODY = "http.response.start", "http.response.body"
_DENIAL_START, _DENIAL_BODY = "websocket.http.response.start", "websocket.http.response.body"
# Messages that can be the last of a response, and what in them says that more is to come.
_LAST: Mapping[str, str] = {
    _BODY: "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.pathsend": "more_body",
}
_LAST_IF_ANNOUNCED: Mapping[str, str] = {"http.response.trailers": "more_trailers"}
_LAST_OF_DENIAL: Mapping[str, str] = {_DENIAL_BODY: "more_body"}
_NONE_YET: Mapping[str, str] = {}
# Seconds of waiting for the client from which on a call is put back in line: that takes a decision.
_MOMENT = 0.001
_TRY_AGAIN_LATER = 1013  # RFC 6455 close code registry
# Versions of the ASGI HTTP spec in which `send` does nothing once the client has left.
_NEVER_LOSES = ("2.3", "2.2", "2.1", "2.0")


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
        kind = scope.get("type")
        gate = self._gate
        breaker = exchange = None
        if kind == "http":
            # gate.breaker_of() and gate.admit(), written out for the usual request, of a path and a
            # key that are known and with nothing to decide: a tenth less than by calling them.
            key: str | None = UNASKED
            try:
                if scope["path"] in gate._guarded[scope["method"]]:
                    key = gate._key(scope)
                    breaker = gate._breakers[key]  # type: ignore[index]  # None is in no registry
                    calls = breaker._calls
                    in_flight = calls.in_flight  # before `check_at`: see `Calls`
                    check_at = calls.check_at
                    if check_at > 0.0 and PERMIT not in scope:
                        now = breaker._clock()
                        if now < check_at:
                            exchange = _Exchange()
                            exchange.breaker = breaker
                            exchange.started = now
                            exchange.answered = inf
                            exchange._outer = None
                            exchange._token = token = next(calls.tokens)
                            scope[PERMIT] = exchange
                            in_flight[token] = exchange
            except Exception:
                exchange = None  # the gate will meet the same fault, and tell
            if breaker is None:
                breaker = gate.breaker_of(scope, key)
        elif kind == "websocket":
            breaker = gate.breaker_of(scope)
        if breaker is None:
            return await self.app(scope, receive, send)
        if exchange is None:
            admitted = gate.admit(breaker, scope, _Exchange if kind == "http" else _Handshake)
            if admitted is None:
                return await self.app(scope, receive, send)
            if type(admitted) is Breaker:
                if self._on_refuse is not None or kind == "websocket":
                    return await self._refuse(breaker, scope, receive, send)
                # Here, and not in a coroutine of its own: refusals are to cost next to nothing.
                refusal = self._refusals.of(breaker, breaker._calls.refused_at)
                # A new list of headers each time: middleware further out may add to it.
                await send({"type": _START, "status": 503, "headers": [*refusal.raw_headers]})
                return await send({"type": _BODY, "body": _body(refusal, scope)})
            exchange = admitted
        # Plain stores: an __init__ would cost each request one more frame.
        exchange.gate = gate
        exchange.pass_receive = receive
        exchange.pass_send = send
        exchange.scope = scope
        exchange.status = 0
        exchange.last_kinds = _NONE_YET
        exchange.is_heard = False
        exchange.waited = 0.0
        try:
            # An illegal app returns a value; the server is to see it.
            return await self.app(scope, exchange, exchange.send)
        except BaseException as error:
            exchange.leave(error)
            raise
        finally:
            if exchange._token:
                # The client had left, or the app broke the protocol.
                exchange.leave()
            # Servers keep the scope where their send() is: a cycle, if we stayed in it.
            if exchange._outer is not None:
                scope[PERMIT] = exchange._outer
            elif PERMIT in scope:
                del scope[PERMIT]

    async def _refuse(self, breaker: Breaker, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a WebSocket, or by an app of the user."""
        if self._on_refuse is not None:
            scope[REFUSAL] = breaker.refusal()
            if await self._refused_by_app(self._on_refuse, scope, receive, send):
                return
        start, body = _START, _BODY
        if scope["type"] == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or ()):
                if not _says_gone(await receive()):
                    await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
                return
            start, body = _DENIAL_START, _DENIAL_BODY
        refusal = self._refusals.of(breaker, breaker._calls.refused_at)
        await send({"type": start, "status": 503, "headers": [*refusal.raw_headers]})
        await send({"type": body, "body": _body(refusal, scope)})

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


class _Exchange(Permit):
    """One HTTP request and its response: watched until the call has ended, and passed on.

    It is the permit of its call as well: one object less for each request. And it is what the app
    receives from.
    """

    __slots__ = (
        "gate",
        "is_heard",
        "last_kinds",
        "pass_receive",
        "pass_send",
        "scope",
        "status",
        "waited",
        "waits_since",
    )

    reads_status = False

    gate: Gate
    is_heard: bool
    last_kinds: Mapping[str, str]
    pass_receive: Receive
    pass_send: Send
    scope: Scope
    status: int
    waited: float
    waits_since: float

    async def __call__(self) -> Message:
        if self._token and not self.is_heard:
            return await self._hear()
        message = await self.pass_receive()
        self._heed(message)
        return message

    async def _hear(self) -> Message:
        """Receive a part of the request, on the client's time: that it is slow is not our slowness.

        What comes after the request is the client's leaving; while it is awaited the handler works.
        """
        self._wait()
        try:
            message = await self.pass_receive()
        finally:
            self._go_on()
        self.is_heard = not _has_more(message)
        self._heed(message)
        return message

    def _wait(self) -> None:
        if self.answered != inf:
            return  # another task of the handler waits already, or the response has begun
        try:
            self.waits_since = self.breaker._clock()
            self.answered = WAITING
        except Exception as error:
            self.gate.registry.fault("clock", error)

    def _go_on(self) -> None:
        if self.answered != WAITING:
            return
        self.answered = inf
        try:
            now = self.breaker._clock()
            self.waited += now - self.waits_since
            if self.waited > _MOMENT:
                self.breaker._delay(self, self.waited, now)
                self.waited = 0.0
        except Exception as error:
            self.gate.registry.fault("clock", error)

    def _heed(self, message: Message) -> None:
        if self._token and _says_gone(message):
            self.leave()

    def leave(self, error: BaseException | None = None) -> None:
        """End it before its response has ended; a failure that was told by then stays one."""
        # What the app sends as a status is for the server to refuse.
        if isinstance(self.status, int) and self.status >= 500:
            self.gate.judge(self.scope, self, self.status)
        elif error is None:
            self.cancel()
        else:
            self.end_by_error(error)

    def send(self, message: Message) -> Awaitable[None]:
        # No coroutine of its own where it need not be: one for each message would cost more than
        # all that is done here. What runs once per request is written out, and asks by `in`, which
        # takes half the time of `get`.
        token = self._token
        if not token:
            return self.pass_send(message)
        is_last = False
        try:
            kind = message["type"]
            if kind == _START:
                self.status = message["status"]
                has_trailers = "trailers" in message and message["trailers"]
                self.last_kinds = _LAST_IF_ANNOUNCED if has_trailers else _LAST
                self.answered = self.breaker._clock()  # mark()
            else:
                more = self.last_kinds.get(kind)
                is_last = more is not None and not (more in message and message[more])  # noqa: RUF019
                if is_last and (self.status >= 400 or not self.gate.plain):
                    self.gate.judge(self.scope, self, self.status)
                elif is_last:
                    calls = self.breaker._calls  # success()
                    latency = self.answered - self.started
                    is_quick = 0.0 <= latency <= calls.good_until
                    if is_quick and calls.in_flight.pop(token, None) is not None:
                        self._token = NO_TOKEN
                        calls.recent.append(latency)
                    else:
                        self.success()
        except Exception as error:
            # A message that cannot be read is for the server to refuse.
            self.gate.registry.fault("message", error)
        if is_last:
            return self.pass_send(message)
        try:
            never_loses = self.scope["asgi"]["spec_version"] in _NEVER_LOSES
        except (KeyError, TypeError):
            never_loses = False  # the server does not say
        if never_loses:
            return self.pass_send(message)
        return _until_lost(self.pass_send(message), self)


class _Handshake(_Exchange):
    """The opening of a WebSocket."""

    __slots__ = ()

    def send(self, message: Message) -> Awaitable[None]:
        if not self._token:
            return self.pass_send(message)
        try:
            kind = message["type"]
            if kind == "websocket.accept":
                self.success()
            elif kind == "websocket.close":
                self.ignore()
            elif kind == _DENIAL_START:
                self.status = message["status"]
                self.mark()
                self.last_kinds = _LAST_OF_DENIAL
            elif kind in self.last_kinds and not message.get("more_body"):
                self.gate.judge(self.scope, self, self.status)
        except Exception as error:
            self.gate.registry.fault("message", error)
        return _until_lost(self.pass_send(message), self)


def _body(refusal: Refusal, scope: Scope) -> bytes:
    return b"" if scope.get("method") == "HEAD" else refusal.body


def _has_more(message: Message) -> bool:
    try:
        return bool(message.get("more_body"))
    except Exception:
        return False  # not a message; the app will say so


def _says_gone(message: Message) -> bool:
    try:
        return message["type"] in ("http.disconnect", "websocket.disconnect")
    except Exception:
        return False  # not a message; the app will say so


async def _until_lost(sending: Awaitable[None], exchange: _Exchange) -> None:
    """Send, and take an `OSError` for what the ASGI spec says it is: the client has gone."""
    try:
        return await sending
    except OSError:
        exchange.leave()
        raise
