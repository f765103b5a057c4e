"""Cutting off ASGI handlers that have sent nothing when an answer is hopeless: the client gets 504."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from recloser._circuit.in_flight import WAITING
from recloser._deadline import Deadline
from recloser._errors import HopelessError
from recloser._http.asgi_watch import BODY, START, Message, Receive, RequestWatch, Scope, Send
from recloser._http.gate import Gate
from recloser._problem import PROBLEM_TYPE, problem_document

_BODY = problem_document(504, "Gateway Timeout", "The request took too long and was cancelled.")
_HEADERS = (
    (b"content-type", PROBLEM_TYPE.encode()),
    (b"content-length", str(len(_BODY)).encode()),
    (b"cache-control", b"no-store"),
)
# While a handler waits for its client, it is looked at after this share of its time at the soonest.
_SOONEST = 0.125


_App = Callable[[Scope, Receive, Send], Awaitable[Any]]


class CutOff:
    """Runs an ASGI app inside a breaker's middleware, and cancels handlers in time.

    Args:
        app: The app.
        gate: The gate of the middleware. Requests that it has admitted can be cut off.
        through: Lets middleware further in see the 504: a function from a scope and an app that
            answers to an app.

    Attributes:
        app: The app.
    """

    __slots__ = ("_gate", "_through", "app")

    def __init__(self, app: _App, gate: Gate, through: Callable[[Scope, _App], _App]) -> None:
        self.app = app
        self._gate = gate
        self._through = through

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one request: to the middleware it is the app."""
        # The middleware gives the watch of a guarded request as `receive`.
        watch: Any = receive
        if type(watch) is not RequestWatch or watch.gate is not self._gate:
            return await self.app(scope, receive, send)
        limit = watch.timeout
        deadline = None if limit == inf else self._begin(watch, limit)
        if deadline is None:
            return await self.app(scope, receive, send)
        result: Any = None

        async def send_in_time(message: Message) -> None:
            # What a handler sends after it was cut off goes nowhere: the client gets the 504.
            return None if deadline.expired else await send(message)

        with deadline:
            result = await self.app(scope, receive, send_in_time)
        if not deadline.expired:
            return result
        watch.failure(HopelessError(watch.breaker.key, limit))
        return await self._through(scope, _answer)(scope, receive, send)

    def _begin(self, watch: RequestWatch, limit: float) -> Deadline | None:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError as error:  # trio
            self._gate.registry.fault("cut_off, which needs asyncio", error)
            return None
        return _RequestDeadline(limit, watch)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": START, "status": 504, "headers": [*_HEADERS]})
    await send({"type": BODY, "body": b"" if scope.get("method") == "HEAD" else _BODY})


class _RequestDeadline(Deadline):
    """The deadline of one request. It stops at the start of the response.

    Time in which the handler waits for its client does not count.
    """

    __slots__ = ("_watch",)

    def __init__(self, limit: float, watch: RequestWatch) -> None:
        super().__init__(limit)
        self._watch = watch

    def left(self) -> float:
        """Seconds that are left, as far as is known now; infinite to let the handler go on."""
        watch = self._watch
        waits = watch.answered == WAITING
        if not watch.token or watch.status or (watch.answered != inf and not waits):
            return inf
        try:
            now = watch.waits_since if waits else watch.breaker.clock()
        except Exception as error:
            watch.gate.registry.fault("clock", error)
            return inf
        left = self.limit - (now - watch.started)
        if waits:
            return max(left, _SOONEST * self.limit)
        return left if left == left else inf  # NaN, from a user's clock
