"""A failover client of httpx or httpx2 over fake providers."""

from __future__ import annotations

import asyncio
import importlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib.util import find_spec
from typing import Any

from tests.support.training import teach

from recloser import Delivery, Failover, Fate, Provider, Registry
from recloser.testing import ManualClock

LIBRARIES = [name for name in ("httpx", "httpx2") if find_spec(name)]
HANG = b"hang"
Run = Callable[[Awaitable[Any]], Any]


class World:
    """A client over fake providers, and the requests that each provider got."""

    def __init__(
        self, library: str, *, asynchronous: bool, registry: Registry, clock: ManualClock, run: Run
    ) -> None:
        self.lib: Any = importlib.import_module(library)
        self.adapter: Any = importlib.import_module(f"recloser_adapters.{library}")
        self.asynchronous = asynchronous
        self.registry = registry
        self.clock = clock
        self.run = run
        self.targets: dict[str, Any] = {"a": "https://a.example/api", "b": "https://b.example"}
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.received: dict[str, list[Any]] = {}
        self.counts: Counter[str] = Counter()
        self.deliveries: list[Delivery] = []
        self.rules: dict[str, Any] = {}
        self.options: dict[str, Any] = {}

    def transport(self) -> Any:
        failover = Failover(
            self.registry,
            [Provider(key, target) for key, target in self.targets.items()],
            on_delivery=self.deliveries.append,
            **self.rules,
        )
        name = "AsyncFailoverTransport" if self.asynchronous else "FailoverTransport"
        kind = getattr(self.adapter, name)
        return kind(self.lib.MockTransport(self._handler()), failover, **self.options)

    def _handler(self) -> Callable[[Any], Any]:
        def received(request: Any) -> Any:
            host = request.url.host.partition(".")[0]
            self.counts[host] += 1
            self.received.setdefault(host, []).append(request)
            return self.answers.get(host, lambda request: self.lib.Response(200, text=host))

        def handle(request: Any) -> Any:
            return received(request)(request)

        async def ahandle(request: Any) -> Any:
            answer = received(request)(request)
            return await answer if hasattr(answer, "__await__") else answer

        return ahandle if self.asynchronous else handle

    def request(
        self,
        method: str,
        url: str = "http://failover/x",
        at_headers: Callable[[Any], object] = lambda response: None,
        follow_redirects: bool = False,
        **options: Any,
    ) -> Any:
        """Send a request and read the whole answer. `at_headers` is called before the body."""
        transport = self.transport()
        if not self.asynchronous:
            with self.lib.Client(transport=transport) as client:
                request = client.build_request(method, url, **options)
                response = client.send(request, stream=True, follow_redirects=follow_redirects)
                at_headers(response)
                response.read()
                return response

        async def sent() -> Any:
            async with self.lib.AsyncClient(transport=transport) as client:
                request = client.build_request(method, url, **options)
                response = await client.send(
                    request, stream=True, follow_redirects=follow_redirects
                )
                at_headers(response)
                await response.aread()
                return response

        return self.run(sent())

    def status(self, code: int, **headers: str) -> Callable[[Any], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda request: self.lib.Response(code, headers=named, text=f"answer {code}")

    def raising(self, error: str) -> Callable[[Any], Any]:
        def raise_(request: Any) -> Any:
            raise getattr(self.lib, error)("test")

        return raise_

    def events(
        self, *chunks: bytes | Exception, code: int = 200, kind: str = "text/event-stream"
    ) -> Callable[[Any], Any]:
        """Answer with a stream of these chunks. An exception among them breaks it off."""

        def pieces() -> Iterator[bytes]:
            for chunk in chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        async def apieces() -> AsyncIterator[bytes]:
            for chunk in pieces():
                if chunk == HANG:
                    await asyncio.get_running_loop().create_future()
                yield chunk

        def answer(request: Any) -> Any:
            content = apieces() if self.asynchronous else pieces()
            return self.lib.Response(code, headers={"content-type": kind}, content=content)

        return answer

    def hang(self, request: Any) -> Any:
        """Give no answer. The client's read time-out ends it, or on asyncio the cancellation."""
        if self.asynchronous:
            return asyncio.get_running_loop().create_future()
        self.clock.advance(request.extensions["timeout"]["read"])
        raise self.lib.ReadTimeout("test")

    def warm(self, key: str) -> None:
        teach(self.registry[key], self.clock, [0.1] * 200)

    def fates(self) -> list[tuple[str, Fate]]:
        return [(leg.key, leg.fate) for leg in self.deliveries[-1].legs]

    def in_flight(self) -> int:
        return sum(breaker.metrics().in_flight for breaker in self.registry.breakers())
