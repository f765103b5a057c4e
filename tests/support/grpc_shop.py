"""A real gRPC server that does what its requests say, and clients of it, sync and `grpc.aio`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Protocol

import grpc

from recloser import Registry
from recloser.testing import ManualClock
from recloser_adapters.grpc import BreakerInterceptor, aio_interceptors

SERVICE = "shop.Orders"
LATE = 20.0
"""Seconds after which a call of a test has failed."""


class Shop:
    """The server. Requests are words: `ok`, `take 2.5`, `fail UNAVAILABLE`, `wait`, `hang`.

    Args:
        clock: What `take` advances.

    Attributes:
        target: Its address.
        trailers: Metadata after each bad answer.
        seen: Methods that were called.
        gate: What `wait` waits for.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.trailers: tuple[tuple[str, str | bytes], ...] = ()
        self.seen: list[str] = []
        self.gate = Event()
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
        elif word == "wait":
            assert self.gate.wait(LATE)
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
        """Each line of the request is done, and answered by a message."""
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
    def watch(
        self,
        request: bytes,
        *,
        method: str = "List",
        messages: int = 99,
        then: Callable[[], None] | None = None,
    ) -> list[bytes]: ...
    def put(self, requests: Iterable[bytes]) -> bytes: ...
    def chat(self, requests: Iterable[bytes]) -> list[bytes]: ...
    def give_up(self, request: bytes) -> None: ...
    def close(self) -> None: ...


def _path(method: str) -> str:
    return f"/{SERVICE}/{method}"


class SyncClient:
    """A synchronous channel. `watch` reads so many messages, calls `then` after each, and cancels then."""

    def __init__(self, target: str, registry: Registry, **settings: Any) -> None:
        self.registry = registry
        self._bare = grpc.insecure_channel(target)
        self.channel: Any = grpc.intercept_channel(
            self._bare, BreakerInterceptor(target, registry, **settings)
        )

    def get(self, request: bytes, timeout: float | None = LATE) -> bytes:
        answer: bytes = self.channel.unary_unary(_path("Get"))(request, timeout=timeout)
        return answer

    def watch(
        self,
        request: bytes,
        *,
        method: str = "List",
        messages: int = 99,
        then: Callable[[], None] | None = None,
    ) -> list[bytes]:
        call: Any = self.channel.unary_stream(_path(method))(request, timeout=LATE)
        found = []
        for message in call:
            found.append(message)
            if then is not None:
                then()
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

    def close(self) -> None:
        self._bare.close()


class AioClient:
    """An asynchronous channel in an event loop of its own."""

    def __init__(self, target: str, registry: Registry, **settings: Any) -> None:
        self.registry = registry
        self._target = target
        self._runner = asyncio.Runner()
        self._runner.run(self._open(target, settings))

    async def _open(self, target: str, settings: dict[str, Any]) -> None:
        interceptors = aio_interceptors(target, self.registry, **settings)
        self.channel: Any = grpc.aio.insecure_channel(target, interceptors=interceptors)

    def get(self, request: bytes, timeout: float | None = LATE) -> bytes:
        async def get() -> bytes:
            answer: bytes = await self.channel.unary_unary(_path("Get"))(request, timeout=timeout)
            return answer

        answer: bytes = self.run(get)
        return answer

    def watch(
        self,
        request: bytes,
        *,
        method: str = "List",
        messages: int = 99,
        then: Callable[[], None] | None = None,
    ) -> list[bytes]:
        async def watch() -> list[bytes]:
            call: Any = self.channel.unary_stream(_path(method))(request, timeout=LATE)
            found = []
            async for message in call:
                found.append(message)
                if then is not None:
                    then()
                if len(found) == messages:
                    call.cancel()
                    break
            return found

        found: list[bytes] = self.run(watch)
        return found

    def put(self, requests: Iterable[bytes]) -> bytes:
        answer: bytes = self.run(lambda: self._put(requests))
        return answer

    async def _put(self, requests: Iterable[bytes]) -> bytes:
        answer: bytes = await self.channel.stream_unary(_path("Put"))(requests, timeout=LATE)
        return answer

    def chat(self, requests: Iterable[bytes]) -> list[bytes]:
        found: list[bytes] = self.run(lambda: self._chat(requests))
        return found

    async def _chat(self, requests: Iterable[bytes]) -> list[bytes]:
        call: Any = self.channel.stream_stream(_path("Chat"))(requests, timeout=LATE)
        return [message async for message in call]

    def give_up(self, request: bytes) -> None:
        self.run(lambda: self._give_up(request))

    async def _give_up(self, request: bytes) -> None:
        call: Any = self.channel.unary_unary(_path("Get"))(request)
        # Its interceptors run first, and it is in flight then.
        while not self.registry[f"{self._target} {SERVICE}"].metrics().in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        call.cancel()
        await call.code()

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
