"""BreakerMiddleware for any ASGI 3 app.

    app = BreakerMiddleware(app)

It changes no message and delays none. A call begins when the app is called. It ends once, at the
first of these:

- The last message of the response (body, `pathsend`, or trailers if they were announced). The
  status decides: 5xx is a failure, 4xx is the client's own fault. Background work after the last
  message does not count.
- An exception before that: a failure.
- The client leaves before that (`http.disconnect`, an `OSError` from `send`, cancellation), or the
  app returns without a complete response: the call has no vote. But if a status of 500 or above
  was sent before, it is a failure.

With `cut_off=True` a handler that has sent nothing when an answer is hopeless (`Permit.timeout`) is
cancelled, and the client gets a 504. That is a failure.

The response begins, and its latency is taken, at its first piece that is not empty, or at its last
message. Headers may come long before: of a stream they are the answer only where its first piece may
come at any time, as in a chat room (`recloser._circuit.subscriptions` says how that is learned). The
time during which the handler waits for the client to send its request does not count. For a WebSocket the call is the handshake: to accept it
is a success; to close it (the server answers 403) is the app's decision and no vote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from recloser._admission import Injected, Refused
from recloser._environment import enabled
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
from recloser._http.cut_off import CutOff
from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.gate import Classify, Exempt, KeyFunction
from recloser._http.middleware import Middleware
from recloser._http.refusal import Refusal
from recloser._http.request_marks import PERMIT, REFUSAL, REFUSED, note_refusal, permit_of
from recloser._registry import Registry
from recloser._special_keys import UNMATCHED
from recloser._state import Mode
from recloser.hints import knows_names

if TYPE_CHECKING:
    from recloser._fleet.fleet import Fleet

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


_LEFT_BY_OTHERS = "recloser.fleet"
_LAST_WORDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")

# Scope types that are guarded, and the class that watches each. Others pass.
_WATCHES = {"http": RequestWatch, "websocket": HandshakeWatch}


class BreakerMiddleware(Middleware[ASGIApp]):
    """Guards an ASGI app: answers 503 at once while a breaker is open.

    A handler may end its call itself: `permit_of(scope).failure("stale data served")`. If two
    middlewares around one app have the same registry and key, a call is counted once.

    Args:
        app: The app.
        registry: The registry that holds the breakers; None makes a new one.
        key: A function from the scope to a key; a request whose key is None is not guarded. The
            default is one key, "app", for the whole app. A raw path would be a bad key: clients
            can invent paths.
        exempt: What is not guarded: patterns such as `/static/*` or `GET /search*`, instead of
            `DEFAULT_EXEMPT`, or a function from the scope to bool.
        classify: A function from status to `Outcome`. By default 5xx fails and 4xx is ignored.
        on_refuse: An ASGI app that answers refused requests. `scope["recloser.refusal"]` is the
            `BreakerOpenError`. If the app fails before it has sent anything, the default answer is
            sent.
        mode: None: the mode of the registry. Otherwise the more lenient of the two applies.
        expose_details: Whether a refusal contains key, state and reason. The reason quotes the last
            exception, which may name a host or a user.
        cut_off: Whether a handler that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504. What it has done until then is done. Time in which it waits
            for its client does not count; a response that has begun is never cut off, nor is a
            WebSocket. A handler that runs in a thread goes on there. It needs asyncio: under trio
            nothing is cut off. Nor is it in another mode than enforce.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    _protocol = "ASGI"
    _method, _path, _root = "method", "path", "root_path"

    @knows_names
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
        cut_off: bool = False,
    ) -> None:
        super().__init__(
            app,
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
        )
        if not isinstance(cut_off, bool):
            raise TypeError(f"cut_off must be True or False, not {cut_off!r}")
        if cut_off and (mode is None or Mode(mode) is Mode.ENFORCE):
            # Around the app, so that a middleware that cuts nothing off does nothing more.
            self.app: ASGIApp = CutOff(app, self._gate, self._through)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. What the app returns or raises passes through."""
        try:
            kind = _WATCHES[scope["type"]]
        except (KeyError, TypeError):
            kind = None
        gate = self._gate
        if kind is None:  # not above: the app would run while an exception is handled
            return await self.app(scope, receive, _leaving(gate.registry.fleet, scope, send))
        watch = gate.admit(scope, kind)
        if type(watch) is not kind:
            if type(watch) is Injected:
                watch = gate.struck(scope, await watch.strike_async())
            elif not isinstance(watch, Refused):
                return await self.app(scope, receive, send)
            elif (
                self._on_refuse is not None
                or kind is HandshakeWatch
                or (self.passes_refusals and _has_origin(scope))
            ):
                return await self._refuse(watch, scope, receive, send)
            else:
                # Not in a coroutine of its own: a refusal must cost next to nothing.
                refusal = self._refusals.of(watch)
                # A new list of headers each time: middleware outside may append to it.
                await send({"type": START, "status": 503, "headers": [*refusal.raw_headers]})
                body = b"" if scope.get("method") == "HEAD" else refusal.body
                return await send({"type": BODY, "body": body})
        try:
            # No `try` further below: no handler covers its first bytecode.
            try:
                # Plain assignments: an __init__ would cost each request one more frame.
                watch.status = 0
                watch.pass_send = send
                watch.gate = gate
                watch.pass_receive = receive
                watch.scope = scope
                watch.last_kinds = NONE_YET
                watch.is_received = False
                # An app that breaks the protocol returns a value. The server must see it.
                app = self.app
                return await app(scope, watch, watch.send)
            except BaseException as error:
                watch.leave(error)
                raise
            finally:
                if watch.token:
                    # The client has left, or the app has broken the protocol.
                    watch.leave()
                # Servers keep the scope with their send(): a permit in it would close a cycle.
                if watch.outer is None:
                    try:  # noqa: SIM105 - suppress() is slower, and so is pop()
                        del scope[PERMIT]
                    except KeyError:
                        pass  # the app has taken it out
                else:
                    scope[PERMIT] = watch.outer
        except BaseException:
            watch.cancel()  # unless it has ended: a signal handler raised in the lines above
            raise

    def refusal_through(self, scope: Scope, answer: ASGIApp) -> ASGIApp:
        """For subclasses with `passes_refusals`: let middleware further in see an answer of ours.

        It is called for requests with an Origin header only.

        Args:
            scope: The scope of the request.
            answer: The app that answers instead of the handler.

        Returns:
            An app that calls `answer`, or `answer` itself.
        """
        return answer

    def _through(self, scope: Scope, answer: ASGIApp) -> ASGIApp:
        if self.passes_refusals and _has_origin(scope):
            try:
                return self.refusal_through(scope, answer)
            except Exception as error:
                self.registry.fault("refusal_through", error)
        return answer

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer_refused(refused, scope, receive, send)

        is_http = scope["type"] == "http"
        through = self._through(scope, answer) if is_http else answer
        if through is answer or not await self._refused_by_app(through, scope, receive, send):
            await answer(scope, receive, send)

    async def _answer_refused(
        self, refused: Refused, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Refuse a WebSocket, or let the user's app answer."""
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
                # A part of an answer was sent. Only the server can end it.
                raise
        return sent


def _leaving(fleet: Fleet | None, scope: Scope, send: Send) -> Send:
    """What to give to an app instead of `send`, so that the fleet is left when the app has shut down.

    Some servers end their process by a signal then, so that nothing of `atexit` runs: uvicorn does. What
    was learned in the last minute would be lost, and the others would count this worker for 16 s more.
    """
    if fleet is None:
        return send

    async def sent(message: Message) -> None:
        with suppress(Exception):
            if message["type"] in _LAST_WORDS:
                fleet.leave()
        return await send(message)

    try:
        # Of several layers around one app, the outermost does it: each could wait for a slow store.
        if scope["type"] != "lifespan" or scope.get(_LEFT_BY_OTHERS) is fleet:
            return send
        scope[_LEFT_BY_OTHERS] = fleet
    except (KeyError, TypeError):
        return send
    return sent


def _has_origin(scope: Scope) -> bool:
    try:
        # A loop: a generator expression costs more, and a refusal must cost next to nothing.
        for name, _ in scope["headers"]:
            if name == b"origin":
                return True
    except (KeyError, TypeError, ValueError):
        pass  # not what a server sends
    return False
