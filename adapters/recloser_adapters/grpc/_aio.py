"""The interceptors of `grpc.aio` channels."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Unpack

import grpc

from recloser import BreakerOpenError, LoosePermit, Registry
from recloser_adapters.grpc._calls import CallInfo, Calls, CallSettings
from recloser_adapters.grpc._refusal import BreakerOpenAioRpcError
from recloser_adapters.grpc._watch import CallWatch


def aio_interceptors(
    target: str, registry: Registry | None = None, **settings: Unpack[CallSettings]
) -> list[grpc.aio.ClientInterceptor]:
    """Interceptors that guard each call of a `grpc.aio` channel, one for each kind of calls.

    Interceptors that are listed after them are part of the call, and so are the retries of the
    channel's service config. A refused call raises a `BreakerOpenAioRpcError`.

    Args:
        target: The target of the channel, such as `orders:50051`, for the keys.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by` and `cut_off`: see `CallSettings`.

    Returns:
        A list for `grpc.aio.insecure_channel(target, interceptors=...)`.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: The target or the key is empty.
    """
    # A channel sorts its interceptors by their class, and takes each one for one kind only.
    calls = Calls(target, registry, settings)
    return [_UnaryUnary(calls), _UnaryStream(calls), _StreamUnary(calls), _StreamStream(calls)]


class _Interceptor:
    """What all four do: admit a call, send it, and end its permit with it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def _send(
        self,
        continuation: Callable[..., Any],
        details: Any,
        request: Any,
        *,
        requests: bool = False,
        responses: bool = False,
    ) -> Any:
        method = details.method
        name = method.decode() if isinstance(method, bytes) else method
        info = CallInfo(self._calls.target, name, requests, responses)
        try:
            permit = self._calls.admit(info)
        except BreakerOpenError as refusal:
            raise BreakerOpenAioRpcError.of(refusal) from None
        if permit is None:
            return await continuation(details, request)
        watch = CallWatch(permit, info.name, getattr(details, "timeout", None))
        if requests:
            request = _requests(request, watch)
        elif self._calls.cut_off and not responses:
            details = _cut_off(details, permit)
        try:
            call = await continuation(details, request)
        except BaseException as error:
            watch.end_by_error(error)
            raise
        self._end_with(call, watch)
        return _responses(call, watch) if responses else call

    def _end_with(self, call: Any, watch: CallWatch) -> None:
        try:

            def ended(call: Any) -> None:
                watch.end(_status_of(call))

            call.add_done_callback(ended)
        except NotImplementedError:
            watch.end_by_error(None)  # another interceptor has made the answer
        except Exception as fault:
            self._calls.registry.fault("outbound outcome", fault)
            watch.left()


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return await self._send(continuation, client_call_details, request)


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return await self._send(continuation, client_call_details, request, responses=True)


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._send(continuation, client_call_details, request_iterator, requests=True)


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._send(
            continuation, client_call_details, request_iterator, requests=True, responses=True
        )


def _cut_off(details: Any, permit: LoosePermit) -> Any:
    limit = permit.timeout
    if limit == float("inf") or (details.timeout is not None and details.timeout <= limit):
        return details
    return details._replace(timeout=limit)  # it is a named tuple


def _status_of(call: Any) -> grpc.aio.AioRpcError:
    """The status of a call that has ended, good or bad."""
    metadata = grpc.aio.Metadata
    return grpc.aio.AioRpcError(
        _at_once(call.code()),
        metadata(),
        _at_once(call.trailing_metadata()) or metadata(),
        _at_once(call.details()),
    )


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that has nothing to wait for: a callback cannot await it."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a call that has ended has no status yet")


async def _responses(call: Any, watch: CallWatch) -> AsyncIterator[Any]:
    responses = aiter(call)
    while True:
        watch.asked()
        try:
            message = await anext(responses)
        except StopAsyncIteration:
            watch.read_all()
            return
        watch.arrived()
        yield message


async def _requests(
    requests: AsyncIterable[Any] | Iterable[Any], watch: CallWatch
) -> AsyncIterator[Any]:
    """The requests of a stream; the time that they take to be made is no latency."""
    watch.sends()
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                watch.sent()
                yield request
        else:
            for request in requests:
                watch.sent()
                yield request
    except Exception:
        watch.is_own_fault = True
        raise
    watch.sent_all()
