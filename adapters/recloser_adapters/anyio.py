"""Deadlines on asyncio and trio: a call that is cancelled at its deadline counts as a failure.

All times are in seconds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio

from recloser import Breaker, Permit, problem_document

__all__ = ["DeadlineMiddleware", "guard"]

_Message: TypeAlias = MutableMapping[str, Any]
_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[Any]]

_CAN_END = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
_FAULT = "a DeadlineMiddleware's deadline function failed: the request has no deadline"
_logger = logging.getLogger("recloser")
_BODY = problem_document(504, "Gateway Timeout", "The request took too long and was cancelled.")
_HEADERS = (
    (b"content-type", b"application/problem+json"),
    (b"content-length", str(len(_BODY)).encode()),
    (b"cache-control", b"no-store"),
)


@asynccontextmanager
async def guard(breaker: Breaker, *, deadline: float | None) -> AsyncGenerator[Permit]:
    """Guard a block with a breaker, and cancel the block at a deadline.

    A block that is cancelled at its deadline is a failure. A block that is cancelled from outside
    is not, unless it has already taken longer than is normal for this key.

        async with guard(registry["payments"], deadline=2.0):
            await charge(order)

    Args:
        breaker: The breaker that guards the block.
        deadline: Seconds until the block is cancelled, > 0 and finite. `None` for no deadline.

    Yields:
        The call's permit. Use it for `mark()`, or to end the call with another outcome than the
        block's own end gives.

    Raises:
        BreakerOpenError: The breaker refused; the block was not entered.
        TimeoutError: The block was cancelled at its deadline.
        TypeError: The deadline is not a number.
        ValueError: The deadline is not above 0, or it is infinite.
    """
    _check(deadline)
    with breaker.acquire() as permit, anyio.fail_after(deadline):
        yield permit


class DeadlineMiddleware:
    """Cancel ASGI handlers at a deadline: 504 if nothing was sent yet, else the response breaks.

    Place it inside the breaker's middleware, which then counts both as failures. The deadline
    applies until the last piece of the body, so background tasks can take longer. If a response is
    cancelled midway, the middleware raises a `TimeoutError`: the server closes the connection, and
    the client can see that the response is incomplete. WebSockets and lifespan pass unchanged.

    Code that runs in a worker thread (a plain `def` endpoint) cannot be interrupted. Its deadline
    takes effect only when the thread is done.

    Args:
        app: The ASGI application.
        deadline: Seconds, > 0 and finite; or a function that takes the scope and returns seconds.
            It returns `None` for no deadline, such as for endpoints that stream for long. If it
            fails, that is logged, and the request has no deadline.

    Raises:
        TypeError: The deadline is neither a number nor a function.
        ValueError: The deadline is not above 0, or it is infinite.
    """

    def __init__(self, app: _App, *, deadline: float | Callable[[_Scope], float | None]) -> None:
        if not callable(deadline):
            _check(deadline)
        self.app = app
        self._deadline = deadline
        self._faulty = False

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> Any:
        """Run the application for one connection."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        deadline = self._deadline_of(scope)
        started = False
        with anyio.move_on_after(deadline) as cut:

            async def watched(message: _Message) -> None:
                nonlocal started
                started = True
                await send(message)
                if message["type"] in _CAN_END and not message.get("more_body"):
                    # The response is complete, so the client no longer waits for the handler.
                    cut.deadline = math.inf

            # An application must return None. If it does not, the server must get to see that.
            return await self.app(scope, receive, watched)
        if started:
            raise TimeoutError(f"the response was not complete after {deadline:g} s")
        await send({"type": "http.response.start", "status": 504, "headers": list(_HEADERS)})
        body = b"" if scope["method"] == "HEAD" else _BODY
        await send({"type": "http.response.body", "body": body})
        return None

    def _deadline_of(self, scope: _Scope) -> float | None:
        if not callable(self._deadline):
            return self._deadline
        try:
            deadline = self._deadline(scope)
            _check(deadline)
        except Exception:
            # A fault of this function must not fail the request. Only the first fault is logged as
            # an error, because it may occur on every request.
            _logger.log(logging.DEBUG if self._faulty else logging.ERROR, _FAULT, exc_info=True)
            self._faulty = True
            return None
        return deadline


def _check(deadline: float | None) -> None:
    if deadline is None:
        return
    if isinstance(deadline, bool) or not isinstance(deadline, int | float):
        raise TypeError(f"deadline must be a number of seconds above 0, not {deadline!r}")
    if not 0.0 < deadline < math.inf:
        raise ValueError(f"deadline must be a number of seconds above 0, not {deadline!r}")
