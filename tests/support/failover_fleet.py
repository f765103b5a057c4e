"""Fake providers behind a failover, and helpers that its tests often need."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.training import teach

from recloser import Delivery, Failover, Fate, Provider, Registry, State
from recloser.testing import ManualClock

Send = Callable[[Any], Any]
Invoke = Callable[..., Any]
Run = Callable[[Awaitable[Any]], Any]


class Fleet:
    """Fake providers. It counts the calls to each one, and answers or raises as configured."""

    def __init__(self, registry: Registry, *keys: str, **options: Any) -> None:
        self.deliveries: list[Delivery] = []
        self.failover = Failover(
            registry,
            [Provider(key, f"https://{key}.example") for key in keys],
            on_delivery=self.deliveries.append,
            **options,
        )
        self.sent: Counter[str] = Counter()
        self.faults: dict[str, BaseException] = {}

    def send(self, attempt: Any) -> str:
        self.sent[attempt.key] += 1
        if attempt.key in self.faults:
            raise self.faults[attempt.key]
        return f"answer of {attempt.key}"


class StatusError(Exception):
    """An error with the attributes of those of requests and httpx."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = self
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def warm(registry: Registry, clock: ManualClock, key: str, latency: float = 0.1) -> None:
    """Let a breaker learn its baseline."""
    teach(registry[key], clock, [latency] * 200)


def fates(delivery: Delivery) -> list[tuple[str, Fate]]:
    return [(leg.key, leg.fate) for leg in delivery.legs]


def trip(registry: Registry, key: str) -> None:
    while (permit := registry[key].try_acquire()) is not None:
        permit.failure("test")
    assert registry[key].state is State.OPEN


async def hang() -> Any:
    await asyncio.get_running_loop().create_future()


def limits(failover: Failover[Any], **options: Any) -> list[tuple[float, float]]:
    """(timeout, connect_timeout) of all attempts of a call that fails at every provider."""
    seen: list[tuple[float, float]] = []

    def send(attempt: Any) -> None:
        seen.append((attempt.timeout, attempt.connect_timeout))
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        failover.call(send, **options)
    return seen
