"""One request of Tornado as a conversation: what its handler sends, raises and waits for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from tornado.httputil import HTTPHeaders
from tornado.web import OutputTransform, RequestHandler
from tornado.websocket import WebSocketHandler

from recloser import BreakerOpenError, Outcome
from recloser.asgi import Refusal, note_refusal, permit_of
from recloser_adapters._routes.conversation import Conversation

ATTRIBUTE: Final = "_recloser_exchange"
"""The attribute of a request that has its exchange."""

# Methods of the handler that are replaced on the object while it is watched.
_REPLACED: Final = (
    "flush",
    "log_exception",
    "on_connection_close",
    "prepare",
    "send_error",
    "write_error",
)


class Exchange(Conversation):
    """One request, from the first breaker around it to its end.

    Args:
        handler: The handler of the request.
        fault: Told of faults in this adapter.

    Attributes:
        execute: Runs the handler inside the breaker that is asked at present.
        handler: The handler of the request.
        keys: Makes the key of the request, if the user does not.
        refusal: Status, headers and body that are given in place of the handler's; or None.
        transforms: Change the response; Tornado makes them for each request.
    """

    def __init__(
        self, handler: RequestHandler, fault: Callable[[str, BaseException], None]
    ) -> None:
        request = handler.request
        super().__init__(
            request.method or "GET",
            unquote(request.path),  # as ASGI has it, for patterns of exempt paths
            request.remote_ip or "",
            is_websocket=isinstance(handler, WebSocketHandler),
        )
        self.handler = handler
        self.execute: Any = None
        self.keys: Any = None
        self.transforms: list[OutputTransform] = []
        self.refusal: tuple[int, list[tuple[str, str]], bytes] | None = None
        self._fault = fault
        self._watch: _Seen | None = None
        self._seen: tuple[int | None, Any, bytes] | None = None
        self._arrived: asyncio.Event | None = None
        self._upload: asyncio.Future[Any] | None = None

    def attach(self) -> None:
        """Watch the handler, unless it is watched already."""
        if self._watch is not None:
            return
        handler: Any = self.handler
        # The last one: it sees what the client gets.
        self._watch = _Seen(self)
        self.transforms.append(self._watch)
        handler.send_error = partial(self._send_error, handler.send_error)
        handler.flush = partial(self._flush, handler.flush)
        handler.log_exception = partial(self._log_exception, handler.log_exception)
        handler.on_connection_close = partial(self._closed, handler.on_connection_close)
        handler.request.connection.set_close_callback(handler.on_connection_close)
        kind: type[Any] = type(self.handler)
        if kind.write_error is RequestHandler.write_error:
            handler.write_error = partial(self._write_error, handler.write_error)
        if getattr(kind, "_stream_request_body", False):
            self._arrived = asyncio.Event()
            handler.prepare = partial(self._prepare, handler.prepare)
            name = handler.request.method.lower()
            setattr(handler, name, partial(self._run_method, getattr(handler, name)))
        else:
            # Tornado has received the whole request.
            _step(self.read(_nothing))

    def close(self) -> None:
        """End the watch."""
        if self._upload is not None:
            self._upload.cancel()
        if self._watch is not None:
            self.transforms.remove(self._watch)
            self._watch = None
            own = vars(self.handler)
            for name in (*_REPLACED, (self.handler.request.method or "").lower()):
                if isinstance(own.get(name), partial):
                    del own[name]
        super().close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer in place of the handler."""
        self.refusal = status, headers, body

    def has_more(self) -> bool:
        """Whether the client has not sent all of its request."""
        return self._arrived is not None and not self._arrived.is_set()

    # What the handler does

    def saw(self, status: int | None, headers: Any, chunk: bytes) -> None:
        """Tornado is about to send a part of the response; with a status if it is the first."""
        self._seen = status, headers, chunk

    def _flush(self, flush: Any, include_footers: bool = False) -> Any:
        future = flush(include_footers)
        seen, self._seen = self._seen, None
        if seen is None or self.send is None:
            return future
        try:
            return self._tell(*seen, future, is_last=include_footers)
        except Exception as error:
            self._fault("flush", error)
            return future

    def _tell(
        self, status: int | None, headers: Any, chunk: bytes, future: Any, *, is_last: bool
    ) -> Any:
        def taken() -> Awaitable[Any]:
            return future  # type: ignore[no-any-return]

        if status is not None:
            begins_empty = not chunk and not is_last
            telling = self.tell_start(status, headers.get_all(), taken if begins_empty else None)
            if begins_empty:
                return _in_background(telling)
            _step(telling)
        if is_last:
            _step(self.tell_body(chunk, more=False))
            return future
        return _in_background(self.tell_body(chunk, taken, more=True))

    def _log_exception(self, log: Any, kind: Any, error: Any, traceback: Any) -> None:
        if Outcome.of_error(error) is Outcome.IGNORED:  # a refusal, or what stands for one
            note_refusal(self.scope)
        elif self.has_begun:
            # Tornado ends the response as if all were well.
            permit_of(self.scope).end_by_error(error)
        log(kind, error, traceback)

    def _send_error(self, send_error: Any, status_code: int = 500, **more: Any) -> None:
        # Tornado answers a handler whose task is cancelled. It has not failed, and may have been
        # cut off: then the middleware answers.
        if not self.is_cancelled:
            send_error(status_code, **more)

    @property
    def is_attached(self) -> bool:
        """Whether the handler is watched."""
        return self._watch is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the task of the handler is being cancelled."""
        task = asyncio.current_task()
        is_handled = isinstance(sys.exception(), asyncio.CancelledError)
        return is_handled and task is not None and task.cancelling() > 0

    def _write_error(self, write_error: Any, status_code: int, **more: Any) -> None:
        error = more.get("exc_info", (None, None))[1]
        if isinstance(error, BreakerOpenError):
            give(self.handler, 503, *_headers_and_body(error))
        else:
            write_error(status_code, **more)

    def _closed(self, on_connection_close: Any) -> Any:
        try:
            _step(self.leave())
        except Exception as error:
            self._fault("on_connection_close", error)
        return on_connection_close()

    # The body of a request that is streamed to the handler

    async def _prepare(self, prepare: Any) -> None:
        result = prepare()
        if result is not None:
            await result
        if self._arrived is not None:
            self._upload = asyncio.ensure_future(self.read(self._arrived.wait))

    async def _run_method(self, method: Any, *args: Any, **kwargs: Any) -> None:
        """Run the method of the handler. Tornado calls it when the whole body has arrived."""
        if self._arrived is not None and self._upload is not None:
            self._arrived.set()
            await self._upload
        result = method(*args, **kwargs)
        if result is not None:
            await result


class _Seen(OutputTransform):
    """Changes nothing of a response: it sees status, headers and each piece."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        self._exchange.saw(status_code, headers, chunk)
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        self._exchange.saw(None, None, chunk)
        return chunk


def give(handler: Any, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Answer a request with the handler, and finish it."""
    handler.set_status(status)
    for name, value in headers:
        handler.set_header(name, value)
    handler.finish(body)


def refuse(handler: RequestHandler, error: BreakerOpenError) -> None:
    """Answer a `BreakerOpenError` with the guard's 503, not counted against the URL spec.

    In a handler that catches the error: `return refuse(self, error)`.
    """
    exchange: Exchange | None = getattr(handler.request, ATTRIBUTE, None)
    if exchange is not None:
        note_refusal(exchange.scope)
    give(handler, 503, *_headers_and_body(error))


def _headers_and_body(error: BreakerOpenError) -> tuple[list[tuple[str, str]], bytes]:
    answer = Refusal.after(error.retry_after)
    return list(answer.headers), answer.body


async def _nothing() -> None:
    return None


def _step(awaitable: Awaitable[Any]) -> None:
    """Run to its end what waits for nothing."""
    for _ in awaitable.__await__():
        raise RuntimeError("this waits, although it has nothing to wait for")


def _in_background(awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
    future = asyncio.ensure_future(awaitable)
    # Handlers need not wait for it, and then nobody takes the error of a client that has left.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
