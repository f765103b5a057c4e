"""The interceptor of synchronous channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack
from weakref import ref

import grpc

from recloser import BreakerOpenError, LoosePermit, Registry
from recloser_adapters.grpc._calls import CallInfo, Calls, CallSettings
from recloser_adapters.grpc._refusal import BreakerOpenRpcError
from recloser_adapters.grpc._watch import CallWatch

if TYPE_CHECKING:
    _Future: TypeAlias = grpc.Future[Any]
else:
    _Future = grpc.Future  # generic in its stubs only

RequestT = TypeVar("RequestT")


class BreakerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Guards each call of a synchronous channel: give it to `grpc.intercept_channel`.

    Interceptors that are listed after it are part of the call, and so are the retries of the
    channel's service config. A refused call raises a `BreakerOpenRpcError`.

    Args:
        target: The target of the channel, such as `orders:50051`, for the keys.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by` and `cut_off`: see `CallSettings`.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: The target or the key is empty.
    """

    def __init__(
        self, target: str, registry: Registry | None = None, **settings: Unpack[CallSettings]
    ) -> None:
        self._calls = Calls(target, registry, settings)

    @property
    def registry(self) -> Registry:
        """The registry with the breakers."""
        return self._calls.registry

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Guard a call with one request and one response."""
        return self._one(continuation, client_call_details, request, streams=False)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Guard a call with a stream of requests and one response."""
        return self._one(continuation, client_call_details, request_iterator, streams=True)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Guard a call with one request and a stream of responses."""
        return self._many(continuation, client_call_details, request, streams=False)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Guard a call with streams in both directions."""
        return self._many(continuation, client_call_details, request_iterator, streams=True)

    def _one(
        self, continuation: Callable[..., Any], details: Any, request: Any, *, streams: bool
    ) -> Any:
        info = CallInfo(self._calls.target, details.method, streams)
        try:
            permit = self._calls.admit(info)
        except BreakerOpenError as refusal:
            return BreakerOpenRpcError.of(refusal)
        if permit is None:
            return continuation(details, request)
        watch = CallWatch(permit, info.name, getattr(details, "timeout", None))
        if streams:
            request = Requests(request, watch)
        elif self._calls.cut_off:
            details = _cut_off(details, permit)
        return self._send(continuation, details, request, watch)

    def _many(
        self, continuation: Callable[..., Any], details: Any, request: Any, *, streams: bool
    ) -> Any:
        info = CallInfo(self._calls.target, details.method, streams, streams_responses=True)
        try:
            permit = self._calls.admit(info)
        except BreakerOpenError as refusal:
            return BreakerOpenRpcError.of(refusal)
        if permit is None:
            return continuation(details, request)
        watch = CallWatch(permit, info.name, getattr(details, "timeout", None))
        if streams:
            request = Requests(request, watch)
        return ResponseStream(self._send(continuation, details, request, watch), watch)

    def _send(
        self, continuation: Callable[..., Any], details: Any, request: Any, watch: CallWatch
    ) -> Any:
        try:
            call = continuation(details, request)
        except BaseException as error:
            watch.end_by_error(error)
            raise
        try:
            _end_with(call, watch)
        except Exception as fault:  # the call of another interceptor may lack anything
            self.registry.fault("outbound outcome", fault)
            watch.left()
        return call


class _ClientCallDetails(grpc.ClientCallDetails):
    """The details of a call that is cut off."""

    def __init__(self, details: Any, timeout: float) -> None:
        # Those of another interceptor need not have all.
        self.method: str = details.method
        self.timeout: float | None = timeout
        self.metadata = getattr(details, "metadata", None)
        self.credentials = getattr(details, "credentials", None)
        self.wait_for_ready = getattr(details, "wait_for_ready", None)
        self.compression = getattr(details, "compression", None)


def _cut_off(details: Any, permit: LoosePermit) -> Any:
    limit, own = permit.timeout, getattr(details, "timeout", None)
    if limit == float("inf") or (own is not None and own <= limit):
        return details
    return _ClientCallDetails(details, limit)


def _end_with(call: Any, watch: CallWatch) -> None:
    """End the watch with its call: now, or on the channel's thread."""
    if call.done():
        watch.end(call)
        return
    # What gRPC keeps of a call in flight holds its callbacks. With a strong reference a call that
    # its caller drops would never be collected, which is what cancels it.
    weak = ref(call)

    def ended() -> None:
        alive = weak()
        if alive is None:
            watch.left()
        else:
            watch.end(alive)

    if not call.add_callback(ended):
        watch.end(call)


class Requests(Iterator[RequestT]):
    """The requests of a stream; the time that they take to be made is no latency."""

    __slots__ = ("_requests", "_watch")

    def __init__(self, requests: Iterable[RequestT], watch: CallWatch) -> None:
        self._requests = iter(requests)
        self._watch = watch
        watch.sends()

    def __next__(self) -> RequestT:
        try:
            request = next(self._requests)
        except StopIteration:
            self._watch.sent_all()
            raise
        except Exception:
            self._watch.is_own_fault = True
            raise
        self._watch.sent()
        return request


class ResponseStream(grpc.Call, _Future):
    """The responses of a call, and the call itself, as gRPC returns it.

    Args:
        call: The call.
        watch: Told of its messages.
    """

    def __init__(self, call: Any, watch: CallWatch) -> None:
        self._call = call
        self._watch = watch

    def __iter__(self) -> ResponseStream:
        return self

    def __next__(self) -> Any:
        self._watch.asked()
        try:
            message = next(self._call)
        except StopIteration:
            self._watch.read_all()
            raise
        self._watch.arrived()
        return message

    def next(self) -> Any:
        """The next response."""
        return self.__next__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    # The call

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call a function when the call ends; False if it has ended."""
        added: bool = self._call.add_callback(callback)
        return added

    def cancel(self) -> bool:
        """Cancel the call."""
        cancelled: bool = self._call.cancel()
        if cancelled:
            # A call of a channel without threads of its own calls nobody back now.
            self._watch.left()
        return cancelled

    def is_active(self) -> bool:
        """Whether it has not ended."""
        active: bool = self._call.is_active()
        return active

    def time_remaining(self) -> float:
        """Seconds until its deadline."""
        remaining: float = self._call.time_remaining()
        return remaining

    def code(self) -> grpc.StatusCode:
        """Its status; it waits for that."""
        code: grpc.StatusCode = self._call.code()
        return code

    def details(self) -> str:
        """The details of its status; it waits for them."""
        details: str = self._call.details()
        return details

    def initial_metadata(self) -> Any:
        """The metadata before the responses; it waits for them."""
        return self._call.initial_metadata()

    def trailing_metadata(self) -> Any:
        """The metadata after the responses; it waits for them."""
        return self._call.trailing_metadata()

    # The future

    def add_done_callback(self, fn: Callable[[grpc.Future[Any]], None]) -> None:
        """Call a function with the call when it has ended."""
        self._call.add_done_callback(fn)

    def cancelled(self) -> bool:
        """Whether it was cancelled on this side."""
        cancelled: bool = self._call.cancelled()
        return cancelled

    def running(self) -> bool:
        """Whether it has not ended."""
        running: bool = self._call.running()
        return running

    def done(self) -> bool:
        """Whether it has ended."""
        done: bool = self._call.done()
        return done

    def result(self, timeout: float | None = None) -> Any:
        """The last response, when the call has ended."""
        return self._call.result(timeout)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """The error of the call, when it has ended; None if it has none."""
        error: Exception | None = self._call.exception(timeout)
        return error

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """Where the error was raised."""
        traceback: TracebackType | None = self._call.traceback(timeout)
        return traceback
