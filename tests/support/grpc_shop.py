"""A real gRPC server that does what its requests say, and clients of it, sync and `grpc.aio`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc

from recloser import Breaker, Registry
from recloser.testing import ManualClock
from recloser_adapters.grpc import BreakerInterceptor, aio_interceptors

SERVICE = "shop.Orders"
LATE = 20.0
"""Seconds after which a call of a test has failed."""


class Shop:
    """The server. Requests are words: `ok`, `take 2.5`, `fail UNAVAILABLE`, `hang`.

    Args:
        clock: What `take` advances.

    Attributes:
        target: Its address.
        trailers: Metadata after each bad answer.
        seen: Methods that were called.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.trailers: tuple[tuple[str, str | bytes], ...] = ()
        self.seen: list[str] = []
        self._clock = clock
        self._threads = ThreadPoolExecutor(8)
        self._server = grpc.server(self._threads)
        handlers: dict[str, Any] = {
            "Get": grpc.unary_unary_rpc_method_handler(self._get),
            "List": grpc.unary_stream_rpc_method_handler(self._list),
            "Watch": grpc.unary_stream_rpc_method_handler(self._list),
            "Put": grpc.stream_unary_rpc_method_handler(self._put),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, handlers)]
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait(LATE)
        self._threads.shutdown(wait=True)

    def _do(self, request: bytes, context: Any) -> None:
        word, _, rest = request.decode().partition(" ")
        if word == "take":
            self._clock.advance(float(rest))
        elif word == "fail":
            if self.trailers:
                context.set_trailing_metadata(self.trailers)
            context.abort(grpc.StatusCode[rest], f"as you say: {rest}")
        elif word == "hang":
            deadline = time.monotonic() + LATE
            while context.is_active() and time.monotonic() < deadline:
                time.sleep(0.01)

    def _get(self, request: bytes, context: Any) -> bytes:
        self.seen.append("Get")
        self._do(request, context)
        return request

    def _list(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Each line of the request is done, and answered by a message: `no answer` by none."""
        for line in request.split(b"\n"):
            self._do(line, context)
            yield line

    def _put(self, requests: Iterator[bytes], context: Any) -> bytes:
        together = b"\n".join(requests)
        for line in together.split(b"\n"):
            self._do(line, context)
        return together

    def _chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            self._do(request, context)
            yield request


class Client(Protocol):
    """What both clients can do."""

    registry: Registry

    def get(self, request: bytes, timeout: float | None = LATE) -> bytes: ...
    def watch(self, request: bytes, *, method: str = "List", messages: int = 99) -> list[bytes]: ...
    def put(self, requests: Iterable[bytes]) -> bytes: ...
    def chat(self, requests: Iterable[bytes]) -> list[bytes]: ...
    def give_up(self, request: bytes) -> None: ...
    def unserializable(self) -> None: ...
    def close(self) -> None: ...


def _path(method: str) -> str:
    return f"/{SERVICE}/{method}"


class SyncClient:
    """A synchronous channel. `watch` reads so many messages, and cancels the call then."""

    def __init__(self, target: str, registry: Registry, **settings: Any) -> None:
        self.registry = registry
        self._bare = grpc.insecure_channel(target)
        self.channel = grpc.intercept_channel(
            self._bare, BreakerInterceptor(target, registry, **settings)
        )

    def get(self, request: bytes, timeout: float | None = LATE) -> bytes:
        answer: bytes = self.channel.unary_unary(_path("Get"))(request, timeout=timeout)
        return answer

    def watch(self, request: bytes, *, method: str = "List", messages: int = 99) -> list[bytes]:
        call: Any = self.channel.unary_stream(_path(method))(request, timeout=LATE)
        found = []
        for message in call:
            found.append(message)
            if len(found) == messages:
                call.cancel()
                break
        return found

    def put(self, requests: Iterable[bytes]) -> bytes:
        answer: bytes = self.channel.stream_unary(_path("Put"))(iter(requests), timeout=LATE)
        return answer

    def chat(self, requests: Iterable[bytes]) -> list[bytes]:
        return list(self.channel.stream_stream(_path("Chat"))(iter(requests), timeout=LATE))

    def give_up(self, request: bytes) -> None:
        self.channel.unary_unary(_path("Get")).future(request).cancel()

    def unserializable(self) -> None:
        self.channel.unary_unary(_path("Get"), request_serializer=_fails)(b"")

    def close(self) -> None:
        self._bare.close()


class AioClient:
    """An asynchronous channel in an event loop of its own."""

    def __init__(self, target: str, registry: Registry, **settings: Any) -> None:
        self.registry = registry
        self._runner = asyncio.Runner()
        self._runner.run(self._open(target, settings))

    async def _open(self, target: str, settings: dict[str, Any]) -> None:
        interceptors = aio_interceptors(target, self.registry, **settings)
        self.channel = grpc.aio.insecure_channel(target, interceptors=interceptors)

    def get(self, request: bytes, timeout: float | None = LATE) -> bytes:
        return self.run(lambda: self._get(request, timeout))

    async def _get(self, request: bytes, timeout: float | None) -> bytes:
        answer: bytes = await self.channel.unary_unary(_path("Get"))(request, timeout=timeout)
        return answer

    def watch(self, request: bytes, *, method: str = "List", messages: int = 99) -> list[bytes]:
        return self.run(lambda: self._watch(request, method, messages))

    async def _watch(self, request: bytes, method: str, messages: int) -> list[bytes]:
        call: Any = self.channel.unary_stream(_path(method))(request, timeout=LATE)
        found = []
        async for message in call:
            found.append(message)
            if len(found) == messages:
                call.cancel()
                break
        return found

    def put(self, requests: Iterable[bytes]) -> bytes:
        return self.run(lambda: self._put(requests))

    async def _put(self, requests: Iterable[bytes]) -> bytes:
        answer: bytes = await self.channel.stream_unary(_path("Put"))(requests, timeout=LATE)
        return answer

    def chat(self, requests: Iterable[bytes]) -> list[bytes]:
        return self.run(lambda: self._chat(requests))

    async def _chat(self, requests: Iterable[bytes]) -> list[bytes]:
        call: Any = self.channel.stream_stream(_path("Chat"))(requests, timeout=LATE)
        return [message async for message in call]

    def give_up(self, request: bytes) -> None:
        self.run(lambda: self._give_up(request))

    async def _give_up(self, request: bytes) -> None:
        call: Any = self.channel.unary_unary(_path("Get"))(request)
        await call.wait_for_connection()
        call.cancel()
        await call.code()

    def unserializable(self) -> None:
        self.run(self._unserializable)

    async def _unserializable(self) -> None:
        await self.channel.unary_unary(_path("Get"), request_serializer=_fails)(b"")

    def run(self, function: Callable[[], Any]) -> Any:
        async def main() -> Any:
            try:
                return await function()
            finally:
                await asyncio.sleep(0.01)  # gRPC calls back what has ended

        return self._runner.run(main())

    def close(self) -> None:
        async def close() -> None:
            await self.channel.close()

        self._runner.run(close())
        self._runner.close()


def _fails(message: object) -> bytes:
    raise ValueError(f"no bytes for {message!r}")


def breaker_of(client: Client, target: str) -> Breaker:
    """The breaker of the service, as it is keyed by default."""
    return client.registry[f"{target} {SERVICE}"]
