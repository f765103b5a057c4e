"""A request of a framework that speaks neither ASGI nor WSGI, told as a conversation of ASGI.

The middleware of `recloser.asgi` watches the conversation, so all that it promises holds in that
framework as well. Each message from the handler carries what the framework has to do for it, such as
to write a piece. That is done at the end of the way: if it fails because the client has left, the
middleware sees it. A message without it is an answer that the middleware gives in place of the
handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

EXCHANGE: Final = "recloser.exchange"
"""The key in a scope for its conversation."""

_ACT: Final = "recloser.act"
_SWITCHING: Final = 101

Act = Callable[[], Awaitable[Any]]
"""What the framework has to do for a message."""


class Conversation:
    """One request, from the first breaker around it to its end.

    Args:
        method: The method of the request.
        path: The path of the request.
        client: The address of the client; "" if it is not known.
        is_websocket: Whether the request is the handshake of a WebSocket.

    Attributes:
        has_begun: Whether the handler has begun a response.
        receive: Through this the handler's reads go: the innermost watch, or the end of the way.
        scope: The scope of the conversation.
        send: Through this the handler's messages go, in the same way.
    """

    def __init__(self, method: str, path: str, client: str, *, is_websocket: bool) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket" if is_websocket else "http",
            "method": method,
            "path": path,
            "client": (client, 0),
            # So a refused handshake gets the same 503.
            "extensions": {"websocket.http.response": {}},
            EXCHANGE: self,
        }
        self.has_begun = False
        self.receive: Any = self._receive
        self.send: Any = self._send
        self._is_websocket = is_websocket
        self._kind = "websocket.http.response" if is_websocket else "http.response"
        self._reading: Any = None
        self._start: tuple[int, list[tuple[str, str]]] = 500, []

    def close(self) -> None:
        """Forget what refers to this object, which should not wait for the garbage collector."""
        self.receive = self.send = None
        self.scope.pop(EXCHANGE, None)

    async def read(self, read: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Read from the body of the request; the time is the client's."""
        if self.receive is None:
            return await read(*args, **kwargs)
        done: list[Any] = []
        # No other task can run before the end of the way takes it.
        self._reading = partial(read, *args, **kwargs), done
        await self.receive()
        return done[0]

    async def leave(self) -> None:
        """The client has left."""
        if self.receive is not None:
            self._reading = None
            await self.receive()

    def tell_start(
        self, status: int, headers: Iterable[tuple[str, str]], act: Act | None = None
    ) -> Awaitable[None]:
        """The handler begins a response."""
        self.has_begun = True
        if self._is_websocket and status == _SWITCHING:
            return self.send({"type": "websocket.accept", _ACT: act})  # type: ignore[no-any-return]
        return self.send(  # type: ignore[no-any-return]
            {
                "type": f"{self._kind}.start",
                "status": status,
                "headers": list(headers),
                _ACT: act,
            }
        )

    def tell_body(self, body: bytes, act: Act | None = None, *, more: bool) -> Awaitable[None]:
        """The handler sends a part of the body; `more` unless it is the last one."""
        return self.send(  # type: ignore[no-any-return]
            {"type": f"{self._kind}.body", "body": body, "more_body": more, _ACT: act}
        )

    # The ends of the way, and what a framework does there

    def has_more(self) -> bool:
        """Whether the client has not sent all of its request."""
        raise NotImplementedError

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer in place of the handler."""
        raise NotImplementedError

    async def _receive(self) -> dict[str, Any]:
        if self._reading is None:
            return {"type": "http.disconnect"}
        read, done = self._reading
        done.append(await read())
        return {"type": "http.request", "body": b"", "more_body": self.has_more()}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if _ACT in message:
            act: Act | None = message[_ACT]
            if act is not None:
                await act()
        elif message["type"].endswith(".start"):
            headers = message["headers"]
            self._start = (
                message["status"],
                [(str(name, "latin-1"), str(value, "latin-1")) for name, value in headers],
            )
        else:
            status, headers = self._start
            self.answer(status, headers, message["body"])
