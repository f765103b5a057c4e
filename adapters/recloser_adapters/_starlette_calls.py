"""How a call to an endpoint ended: what it raised, returned, streamed, or told a WebSocket."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, Self, cast

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from recloser import BreakerOpenError, LoosePermit, Outcome, Permit
from recloser.asgi import note_refusal
from recloser_adapters._routing import resolved_signature

_CONNECTION: Final = "recloser_connection"
_INTERNAL_ERROR: Final = 1011  # RFC 6455 section 7.4.1
# How an endpoint learns that its client has gone, which is not its own fault.
_LEFT: Final = (WebSocketDisconnect, ClientDisconnect)


class EndpointPermit(LoosePermit):
    """The permit of a call to an endpoint: what it lets out is a 500, whatever status that names."""

    __slots__ = ()

    reads_status = False


class EndpointCall:
    """Ends a permit by what an endpoint makes of a call.

    Args:
        permit: Of the call.
        connection: What the endpoint answers, if that is known. Of a WebSocket that is not yet
            accepted the handshake is the call, as it is for the middleware.
    """

    __slots__ = ("_connection", "_goes_on", "_opens", "_permit")

    def __init__(self, permit: Permit, connection: HTTPConnection | None) -> None:
        self._permit = permit
        self._connection = connection
        self._goes_on = False
        self._opens = (
            isinstance(connection, WebSocket)
            and connection.application_state is WebSocketState.CONNECTING
        )
        if self._opens:
            _watch_handshake(connection, permit)  # type: ignore[arg-type]  # seen above

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        permit = self._permit
        if error is not None:
            self._end_by_error(error)
        elif self._opens:
            # It was neither accepted nor closed.
            permit.cancel()
        elif not self._goes_on:
            permit.success()

    def _end_by_error(self, error: BaseException) -> None:
        permit = self._permit
        if _is_only(error, BreakerOpenError):
            if self._connection is not None:
                # Whatever answers it, and wherever: the breakers around must not count that.
                note_refusal(self._connection.scope)
            permit.ignore()
        elif _is_only(error, _LEFT):
            permit.cancel()
        elif isinstance(error, HTTPException):
            permit.end(Outcome.of_status(error.status_code), error=error)
        elif isinstance(error, WebSocketException) and error.code != _INTERNAL_ERROR:
            permit.ignore()
        else:
            permit.end_by_error(error)

    def watch(self, result: object) -> Any:
        """Take what the endpoint returned, and hand on what the framework is to have instead."""
        if isinstance(result, Response):
            return self._watch_response(result)
        follow = _FOLLOW.get(type(result))
        if follow is None:
            return result
        self._goes_on = True
        return follow(self, result)

    def _watch_response(self, response: Response) -> Response:
        outcome = Outcome.of_status(response.status_code)
        body: AsyncIterator[Any] | None = getattr(response, "body_iterator", None)
        if outcome is Outcome.SUCCESS and body is not None:
            self._goes_on = True
            self._permit.mark()
            response.body_iterator = self._chunks(body)  # type: ignore[attr-defined]
        else:
            self._permit.end(outcome, error=f"HTTP {response.status_code}")
        return response

    # What nobody awaits or iterates is dropped with its permit, which cancels itself.

    async def _awaited(self, result: Coroutine[Any, Any, Any]) -> Any:
        self._goes_on = False
        with self:
            return self.watch(await result)

    async def _chunks(self, body: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        self._goes_on = False
        with self:
            async for chunk in body:
                yield chunk

    async def _items_async(self, items: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any]:
        self._goes_on = False
        first = True
        with self:
            try:
                async for item in items:
                    if first:
                        self._permit.mark()
                        first = False
                    yield item
            finally:
                await items.aclose()

    def _items(self, items: Generator[Any, Any, Any]) -> Generator[Any]:
        self._goes_on = False
        first = True
        with self:
            try:
                for item in items:
                    if first:
                        self._permit.mark()
                        first = False
                    yield item
            finally:
                items.close()


# What only begins when it is called.
_FOLLOW: Final[dict[type, Callable[[EndpointCall, Any], Any]]] = {
    GeneratorType: EndpointCall._items,
    AsyncGeneratorType: EndpointCall._items_async,
    # A plain function around a coroutine function.
    CoroutineType: EndpointCall._awaited,
}


def _is_only(error: BaseException, kinds: Any) -> bool:
    """Whether an error is of these kinds, or a group of none but such."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(_is_only(leaf, kinds) for leaf in group.exceptions)
    return isinstance(error, kinds)


def _watch_handshake(websocket: WebSocket, permit: Permit) -> None:
    """End a permit with the opening of a WebSocket: accepted is a success, closed no verdict."""
    instance = vars(websocket)
    before = instance.get("send")
    send = websocket.send
    status = 0

    async def noted(message: Message) -> None:
        nonlocal status
        kind = message["type"]
        more = False
        if kind == "websocket.accept":
            permit.success()
        elif kind == "websocket.close":
            permit.ignore()
        elif kind == "websocket.http.response.start":
            status, more = message["status"], True
            permit.mark()
        elif kind == "websocket.http.response.body":
            more = message.get("more_body", False)
            if not more:
                permit.end(Outcome.of_status(status), error=f"HTTP {status}")
        if not more and instance.get("send") is noted:
            # The session is none of ours.
            if before is None:
                del instance["send"]
            else:
                instance["send"] = before
        await send(message)

    instance["send"] = noted


def connection_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection | None:
    """Find the connection in what an endpoint is called with; one that only we asked for goes."""
    connection: HTTPConnection | None = kwargs.pop(_CONNECTION, None)
    if connection is None:
        connection = next(filter(_is_connection, (*args, *kwargs.values())), None)
    return connection


def _is_connection(value: object) -> bool:
    return isinstance(value, HTTPConnection)


def signature_with_connection(endpoint: Callable[..., Any]) -> inspect.Signature:
    """The signature of an endpoint, and a parameter for the connection if it has none.

    FastAPI passes what is asked for; Starlette always passes the connection, and looks at no
    signature.
    """
    signature = resolved_signature(endpoint)
    parameters = list(signature.parameters.values())
    if any(_takes_connection(parameter.annotation) for parameter in parameters):
        return signature
    place = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        place -= 1
    asking = inspect.Parameter(
        _CONNECTION, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=HTTPConnection
    )
    return signature.replace(parameters=[*parameters[:place], asking, *parameters[place:]])


def _takes_connection(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, HTTPConnection)
    # FastAPI fills one such parameter only; this one may be text that could not be resolved.
    return "HTTPConnection" in str(annotation)
