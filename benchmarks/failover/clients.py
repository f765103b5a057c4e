"""Users that send requests at a steady rate through a client, and time each request.

The load is an open loop: a request starts when it is due, even if earlier ones are not answered.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import requests
from requests.adapters import HTTPAdapter

from recloser import Attempt, Failover, Policy, Provider, Registry
from recloser_adapters.httpx import ANY_PROVIDER, REPEATABLE, AsyncFailoverTransport
from recloser_adapters.requests import nothing_sent

# Seconds that a user waits. It also limits the length of a run.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One user's request: its name, whether it succeeded, and how long it took."""

    name: str
    succeeded: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """A number of requests at a rate per second, declared repeatable or not."""

    count: int
    rate: float
    repeatable: bool
    prefix: str

    def due(self) -> Iterator[tuple[str, float]]:
        """Name and start of each request, in seconds; a Poisson process with a fixed seed."""
        chance = random.Random(self.prefix)
        at = 0.0
        for number in range(self.count):
            yield f"{self.prefix}-{number}", at
            at += chance.expovariate(self.rate)


def failover(urls: dict[str, str]) -> Failover[str]:
    """Make a failover over two providers, with its own registry."""
    providers = [Provider(name, url) for name, url in urls.items()]
    policy = Policy(slow_ceiling=5.0)
    return Failover(
        Registry(policy),
        providers,
        time_budget=PATIENCE,
        # On a loaded machine the healthy provider is sometimes slow. A slow answer is better than
        # none.
        when_all_open="least_bad",
        nothing_sent=nothing_sent,
    )


class AsyncUsers:
    """One event loop with an httpx client, over a failover transport or directly to one URL."""

    def __init__(self, target: Failover[str] | str) -> None:
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
        transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=limits)
        self._base = target if isinstance(target, str) else ANY_PROVIDER
        if not isinstance(target, str):
            transport = AsyncFailoverTransport(transport, target)
        self._client = httpx.AsyncClient(transport=transport, timeout=PATIENCE)
        self._runner = asyncio.Runner()

    def send(self, load: Load) -> list[Sent]:
        """Send a load."""
        return self._runner.run(self._send(load))

    async def _send(self, load: Load) -> list[Sent]:
        began = time.perf_counter()
        tasks: list[asyncio.Task[Sent]] = []
        for name, at in load.due():
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            tasks.append(asyncio.create_task(self._one(name, load.repeatable)))
        return await asyncio.gather(*tasks)

    async def _one(self, name: str, repeatable: bool) -> Sent:
        extensions = {REPEATABLE: repeatable}
        headers = {"x-id": name}
        began = time.perf_counter()
        try:
            answer = await self._client.post(
                f"{self._base}/", headers=headers, extensions=extensions
            )
            succeeded = answer.status_code == 200
        except Exception:
            succeeded = False
        return Sent(name, succeeded, time.perf_counter() - began)

    def close(self) -> None:
        """Close the client and the event loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()


class ThreadUsers:
    """Threads with one requests session, over a failover or directly to one URL."""

    def __init__(self, target: Failover[str] | str) -> None:
        self._target = target
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_connections=2, pool_maxsize=64))
        self._pool = ThreadPoolExecutor(64)

    def send(self, load: Load) -> list[Sent]:
        """Send a load."""
        began = time.perf_counter()
        results: list[Future[Sent]] = []
        for name, at in load.due():
            time.sleep(max(0.0, began + at - time.perf_counter()))
            results.append(self._pool.submit(self._one, name, load.repeatable))
        return [result.result() for result in results]

    def _one(self, name: str, repeatable: bool) -> Sent:
        began = time.perf_counter()
        try:
            if isinstance(self._target, str):
                self._post(self._target, name, (PATIENCE, PATIENCE))
            else:

                def send(attempt: Attempt[str]) -> None:
                    limits = (attempt.connect_timeout, attempt.timeout)
                    self._post(attempt.target, name, limits)

                self._target.call(send, repeatable=repeatable)
            succeeded = True
        except Exception:
            succeeded = False
        return Sent(name, succeeded, time.perf_counter() - began)

    def _post(self, url: str, name: str, timeout: tuple[float, float]) -> None:
        self._session.post(url, headers={"x-id": name}, timeout=timeout).raise_for_status()

    def close(self) -> None:
        """Close the session and end the threads."""
        self._pool.shutdown()
        self._session.close()


Users = AsyncUsers | ThreadUsers
MAKERS: dict[str, Callable[[Failover[str] | str], Users]] = {
    "httpx, asyncio": AsyncUsers,
    "requests, threads": ThreadUsers,
}
