"""Maps the errors, responses and generators of a Starlette endpoint to outcomes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, cast

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from recloser import Outcome, Permit
from recloser.asgi import note_refusal
from recloser_adapters._routes.endpoint_watch import EndpointWatch
from recloser_adapters.starlette._handshake import watch_handshake

_INTERNAL_ERROR: Final = 1011  # RFC 6455 section 7.4.1
# Raised in an endpoint when its client has disconnected. The endpoint is not at fault.
_CLIENT_LEFT: Final = (WebSocketDisconnect, ClientDisconnect)


class StarletteWatch(EndpointWatch):
    """Ends the permit of one call to an endpoint of Starlette or FastAPI.

    Args:
        permit: The permit of the call.
        connection: The request or WebSocket, if known. If it is a WebSocket that is not accepted
            yet, the call is the handshake, as in the middleware.
    """

    __slots__ = ("_connection", "_is_handshake")

    def __init__(self, permit: Permit, connection: HTTPConnection | None) -> None:
        self.permit = permit
        self.goes_on = False
        self._connection = connection
        self._is_handshake = False
        if (
            isinstance(connection, WebSocket)
            and connection.application_state is WebSocketState.CONNECTING
        ):
            self._is_handshake = True
            watch_handshake(connection, permit)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End the call, unless the endpoint has returned and the call goes on."""
        if error is not None:
            self.raised(error)
        elif self._is_handshake:
            # This has no effect if the WebSocket was accepted or closed: the permit has ended.
            self.permit.cancel()
        elif not self.goes_on:
            self.permit.success()

    def raised(self, error: BaseException) -> None:
        """End the call by the exception that the endpoint raised."""
        permit = self.permit
        if Outcome.of_error(error) is Outcome.IGNORED:  # it is a refusal, or stands for one
            if self._connection is not None:
                # Outer breakers must not count the answer, wherever it is made.
                note_refusal(self._connection.scope)
            permit.ignore()
        elif _is_only(error, _CLIENT_LEFT):
            permit.cancel()
        elif isinstance(error, WebSocketException) and error.code != _INTERNAL_ERROR:
            permit.mark()
            permit.ignore()
        else:
            super().raised(error)

    def status_of_error(self, error: BaseException) -> int | None:
        """The status of an `HTTPException`."""
        return error.status_code if isinstance(error, HTTPException) else None

    def returned(self, result: object) -> Any:
        """Take what the endpoint returned. If it is not finished, return a watched version."""
        if isinstance(result, Response):
            body: AsyncIterator[Any] | None = getattr(result, "body_iterator", None)
            if self.answered(result.status_code, streams=body is not None):
                result.body_iterator = self._chunks(body)  # type: ignore[attr-defined,arg-type]
            return result
        follow = _FOLLOW.get(type(result))
        if follow is None:
            return result
        self.goes_on = True
        return follow(self, result)

    # If the result is never awaited or iterated, it is collected together with its permit, which is
    # then cancelled.

    async def _awaited(self, result: Coroutine[Any, Any, Any]) -> Any:
        self.goes_on = False
        with self:
            return self.returned(await result)

    async def _chunks(self, body: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        self.goes_on = False
        with self:
            async for chunk in body:
                yield chunk

    async def _items_async(self, items: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any]:
        self.goes_on = False
        first = True
        with self:
            try:
                async for item in items:
                    if first:
                        self.permit.mark()
                        first = False
                    yield item
            finally:
                await items.aclose()

    def _items(self, items: Generator[Any, Any, Any]) -> Generator[Any]:
        self.goes_on = False
        first = True
        with self:
            try:
                for item in items:
                    if first:
                        self.permit.mark()
                        first = False
                    yield item
            finally:
                items.close()


# Results whose code begins to run only when they are awaited or iterated.
_FOLLOW: Final[dict[type, Callable[[StarletteWatch, Any], Any]]] = {
    GeneratorType: StarletteWatch._items,
    AsyncGeneratorType: StarletteWatch._items_async,
    # From a plain function that returns the coroutine of another one.
    CoroutineType: StarletteWatch._awaited,
}


def _is_only(error: BaseException, kinds: Any) -> bool:
    """Whether an error is of these kinds, or a group that has only such errors."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(_is_only(leaf, kinds) for leaf in group.exceptions)
    return isinstance(error, kinds)
