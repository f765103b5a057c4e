"""The watch over one ASGI request and its response, or over the handshake of a WebSocket."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from math import inf
from typing import Any, TypeVar, cast

from recloser._circuit.in_flight import WAITING, Timing
from recloser._http.client_waits import ClientPermit
from recloser._http.first_piece import (
    end_stream,
    follow_pieces,
    is_piece,
    kind_of_stream,
)
from recloser._http.gate import APP, Gate
from recloser._http.server_errors import code_of, was_raised_in
from recloser._pieces import Pieces

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

START, BODY = "http.response.start", "http.response.body"
DENIAL_START, DENIAL_BODY = "websocket.http.response.start", "websocket.http.response.body"
# Messages that can be the last of a response, and the field that says that more will follow.
_LAST: Mapping[str, str] = {
    BODY: "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.pathsend": "more_body",
}
_LAST_IF_ANNOUNCED: Mapping[str, str] = {"http.response.trailers": "more_trailers"}
_LAST_OF_DENIAL: Mapping[str, str] = {DENIAL_BODY: "more_body"}
NONE_YET: Mapping[str, str] = {}
# Versions of the ASGI HTTP spec in which `send` does nothing once the client has left.
_NEVER_LOSES = ("2.3", "2.2", "2.1", "2.0")


_Function = TypeVar("_Function", bound=Callable[..., Awaitable[Any]])


def _as_async(function: _Function) -> _Function:
    """Let `inspect` see that a plain function is as good as an async one: it returns an awaitable.

    Libraries ask that of `send`: asgiref warns, and others refuse.
    """
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    if sys.implementation.name == "cpython":
        # Python 3.11 has no such mark. It reads this flag, and its interpreter does not.
        plain: Any = function
        code = plain.__code__
        plain.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    return function


class RequestWatch(ClientPermit):
    """Watches the messages of one HTTP request until its call has ended, and passes them on.

    It is also the permit of the call, which saves one object for each request, and it is the
    `receive` of the app.

    Attributes:
        gate: Decides what a status means.
        head: The message that announced the response; from the first piece on, the kind of the
            stream, and whether that piece came in time. Not set before.
        kept: What the table of calls keeps of it, if it takes long; not set before.
        is_received: Whether the client has sent its whole request.
        last_kinds: The message types that can be the last now; see `_LAST`.
        further: Told of each piece of a stream, if it is watched; not set before the first.
        pass_receive: The server's `receive`.
        pass_send: The server's `send`.
        sending: What the server's `send` returned last for a part of a response that may wait for
            the client; not set before.
        scope: The scope of the request.
        status: The status of the response; 0 before it was sent.
    """

    __slots__ = (
        "__weakref__",
        "further",
        "gate",
        "head",
        "is_received",
        "kept",
        "last_kinds",
        "pass_receive",
        "pass_send",
        "scope",
        "sending",
        "status",
    )

    # Something of a function: by these, `inspect` sees that the `receive` of the app is async.
    __name__ = "receive"
    __defaults__ = __kwdefaults__ = None

    further: Pieces | None
    gate: Gate
    head: Message | tuple[str, bool]
    is_received: bool
    kept: Timing
    last_kinds: Mapping[str, str]
    pass_receive: Receive
    pass_send: Send
    scope: Scope
    sending: Awaitable[None]
    status: int

    @property
    def is_held(self) -> bool:
        # A coroutine that has been started, has not ended, and does not run now.
        sending: Any = getattr(self, "sending", None)
        return getattr(sending, "cr_await", None) is not None

    @property
    def announced(self) -> str:
        # It is set when the response starts.
        head: Any = getattr(self, "head", None)
        if head is None or type(head) is tuple:
            return ""
        scope = self.scope
        path = scope.get("path") if self.breaker.key == APP else ""
        return kind_of_stream(scope.get("method"), head.get("headers"), path, self.status)

    def times(self) -> Timing:
        # Not itself: it leads to the server's functions, and by them to the task. A call that nobody
        # runs any more could not be collected, and would be in flight for ever.
        kept = self.kept = Timing()
        kept.started, kept.answered = self.started, self.answered
        return kept

    def mark(self) -> None:
        """Take the latency now."""
        super().mark()
        self._tell_answered()

    def _tell_answered(self) -> None:
        kept = getattr(self, "kept", None)
        if kept is not None:
            kept.answered = self.answered

    async def __call__(self) -> Message:
        if self.token and not self.is_received:
            return await self.receive_request()
        message = await self.pass_receive()
        self._note_leaving(message)
        return message

    __code__ = __call__.__code__

    async def receive_request(self) -> Message:
        """Receive a part of the request. A slow client does not make the handler slow.

        After the request only the leaving of the client can be received. While the handler waits
        for that, it works, so that time counts.
        """
        self.wait()
        try:
            message = await self.pass_receive()
        finally:
            self.go_on()
        self.is_received = not _has_more(message)
        if self.token and says_gone(message):
            if self.answered == inf:
                self.answered = (
                    WAITING  # it has not waited for the handler, but the other way round
                )
            self.leave()
        return message

    def wait(self) -> None:
        """The handler now waits for its client, unless the response has begun."""
        if self.last_kinds is NONE_YET:
            super().wait()

    def _note_leaving(self, message: Message) -> None:
        if self.token and says_gone(message):
            self.leave()

    def _note_piece(self, message: Message) -> bool:
        """Take note of a part of the body, unless it is empty or carries no content.

        The first one is the begin of the response: it takes the latency.

        Returns:
            Whether the pieces after it are watched.
        """
        head: Any = self.head
        begun = type(head) is tuple
        kind = cast("tuple[str, bool]", head)[0] if begun else self.announced
        if not is_piece(kind, message.get("body", b"" if message["type"] == BODY else None)):
            return begun and self.further is not None
        if not begun:
            self.further = None
            self.head = kind, self.breaker.begin_stream(self)
            self._tell_answered()
            self.further = follow_pieces(self, kind)
        elif self.further is not None:
            self.further.arrived()
        return self.further is not None

    def _end_stream(self, *, ended: bool) -> None:
        """Learn from a stream; `ended` if the app ended it, and not the client."""
        head: Any = getattr(self, "head", None)
        if type(head) is tuple:
            kind, prompt = cast("tuple[str, bool]", head)
            end_stream(self, kind, prompt, self.further, ended=ended)
        elif ended and self.answered != WAITING:
            end_stream(self, self.announced, prompt=False, ended=True)

    def leave(self, error: BaseException | None = None) -> None:
        """End the call before its response has ended. A status of 500 or above stays a failure."""
        if self.token and not isinstance(error, Exception):
            self._end_stream(ended=False)
        # Interrupted at once, it has none. And the app may have sent anything as a status: to reject
        # that is the server's task.
        status = getattr(self, "status", 0)
        if isinstance(status, int) and status >= 500:
            self.gate.end_by_status(self.scope, self, status)
        elif error is None:
            self.cancel()
        elif self._is_servers(error):
            self.ignore()  # the client has gone, but not because it waited in vain
        else:
            self.end_by_error(error)

    def _is_servers(self, error: BaseException | None) -> bool:
        """Whether the server itself raised it, in `receive` or `send`: the client has gone."""
        if not isinstance(error, Exception):
            return False
        try:
            send: Any = self.pass_send
            while isinstance(outer := getattr(send, "__self__", None), RequestWatch):
                send = outer.pass_send
            codes = {*_PASSING, code_of(send)}
            return was_raised_in(error, codes)
        except Exception as fault:  # an object of the server or the user that is unlike others
            self.gate.registry.fault("server's error", fault)
            return False

    def _end_by_status(self) -> None:
        if self.status >= 500 and self._is_servers(sys.exception()):
            self.ignore()  # the framework made it of what the server raised
        else:
            self.gate.end_by_status(self.scope, self, self.status)

    @_as_async
    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine where it need not be one: that would cost more for each message than all
        # that is done here. Callables are read from their slots before they are called: Python 3.11
        # looks a method up slowly where there is a slot of that name.
        pass_send = self.pass_send
        if not self.token:
            return pass_send(message)
        is_last = is_followed = False
        try:
            kind = message["type"]
            if kind == START:
                self.status = message["status"]
                self.head = message
                if "trailers" in message and message["trailers"]:  # noqa: RUF019
                    self.last_kinds = _LAST_IF_ANNOUNCED
                else:
                    self.last_kinds = _LAST
                # While all is well, to measure it would cost each request more than it is worth.
                is_followed = self.breaker._calls.quick_latency < 0.0
            else:
                kinds = self.last_kinds
                if kind in kinds:
                    more = kinds[kind]
                    if more in message and message[more]:  # noqa: RUF019
                        is_followed = self._note_piece(message)
                    else:
                        is_last = True
                        if self.answered != inf:
                            self._end_stream(ended=True)
                        if self.status < 400 and self.gate.plain:
                            self.success()
                        else:
                            self._end_by_status()
                elif kinds is _LAST_IF_ANNOUNCED and kind in _LAST:
                    is_followed = self._note_piece(message)
        except Exception as error:
            # The message has an unknown form. To reject it is the server's task.
            self.gate.registry.fault("message", error)
        if is_last:
            return pass_send(message)
        if is_followed:
            return _sent(pass_send, message, self)
        try:
            never_loses = self.scope["asgi"]["spec_version"] in _NEVER_LOSES
        except (KeyError, TypeError):
            never_loses = False  # the server does not name a version
        sent = pass_send(message) if never_loses else _until_lost(pass_send, message, self)
        self.sending = sent
        return sent


class HandshakeWatch(RequestWatch):
    """Watches the handshake of a WebSocket."""

    __slots__ = ()

    @_as_async
    def send(self, message: Message) -> Awaitable[None]:
        if not self.token:
            return self.pass_send(message)
        try:
            kind = message["type"]
            if kind == "websocket.accept":
                self.success()
            elif kind == "websocket.close":
                self.mark()  # it answered
                self.ignore()
            elif kind == DENIAL_START:
                self.status = message["status"]
                self.mark()
                self.last_kinds = _LAST_OF_DENIAL
            elif kind in self.last_kinds and not message.get("more_body"):
                self.gate.end_by_status(self.scope, self, self.status)
        except Exception as error:
            self.gate.registry.fault("message", error)
        return _until_lost(self.pass_send, message, self)


def _has_more(message: Message) -> bool:
    try:
        return bool(message.get("more_body"))
    except Exception:
        return False  # not a message: the app will fail on it


def says_gone(message: Message) -> bool:
    try:
        return message["type"] in ("http.disconnect", "websocket.disconnect")
    except Exception:
        return False  # not a message: the app will fail on it


async def _sent(pass_send: Send, message: Message, watch: RequestWatch) -> None:
    """Send the head or a part of a stream. When the client has taken a part, the next is awaited.

    A server may hold the head back until the client has taken the answer before, if the client sends
    several requests at once. Its time is not the handler's.
    """
    is_head = watch.answered == inf
    if is_head:
        ClientPermit.wait(watch)
    try:
        return await _until_lost(pass_send, message, watch)
    finally:
        if is_head:
            watch.go_on()
        elif (further := getattr(watch, "further", None)) is not None:
            further.asked()


async def _until_lost(pass_send: Send, message: Message, watch: RequestWatch) -> None:
    """Send. An `OSError` means, by the ASGI specification, that the client has gone."""
    try:
        # Not called before this is awaited: if it never is, there is no second coroutine to warn of.
        return await pass_send(message)
    except OSError:
        watch.leave()
        raise


# Where this module awaits the server, so that an error came from there. A server need not be Python.
_PASSING = {
    RequestWatch.__code__,
    code_of(RequestWatch.receive_request),
    code_of(_sent),
    code_of(_until_lost),
}
