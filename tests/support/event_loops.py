"""Workers of a fleet on an event loop: asyncio, uvloop or trio."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from tests.support.waiting import PATIENCE

from recloser import BreakerOpenError, Registry, State
from recloser.asgi import BreakerMiddleware
from recloser.fleet import Store

LOOPS = ("asyncio", "uvloop", "trio")
KEY = "callee"
_TICK = 0.005  # seconds


def run(loop: str, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Run a coroutine function on a loop; the test is skipped if that is not installed."""
    if loop != "asyncio":
        pytest.importorskip(loop)
    options = {} if loop == "trio" else {"use_uvloop": loop == "uvloop"}
    backend = "trio" if loop == "trio" else "asyncio"
    anyio.run(function, *arguments, backend=backend, backend_options=options)


@contextmanager
def two_workers(open_store: Callable[[], Store]) -> Generator[list[Registry], None, None]:
    """Two registries with the same store, as two processes have."""
    with ExitStack() as stack:
        registries: list[Registry] = []
        for _ in range(2):
            registry = Registry(store=open_store())
            assert registry.fleet is not None
            stack.enter_context(closing(registry.fleet))
            registries.append(registry)
        yield registries


@dataclass
class Callee:
    """What is called; it fails at will."""

    is_well: bool = True

    async def answer(self) -> None:
        await anyio.sleep(0.002)
        if not self.is_well:
            raise ConnectionError("the callee is down")


async def call_in_block(registry: Registry, callee: Callee) -> None:
    try:
        async with registry[KEY]:
            await callee.answer()
    except (BreakerOpenError, ConnectionError):
        pass


async def call_a_function(registry: Registry, callee: Callee) -> None:
    with suppress(BreakerOpenError, ConnectionError):
        await registry[KEY].call(callee.answer)


async def call_through_middleware(registry: Registry, callee: Callee) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await callee.answer()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        """Nobody reads it."""

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with suppress(ConnectionError):
        await BreakerMiddleware(app, registry, key=lambda scope: KEY)(scope, receive, send)


Call = Callable[[Registry, Callee], Awaitable[None]]
WAYS: tuple[Call, ...] = (call_in_block, call_a_function, call_through_middleware)


async def call_until_both(
    registries: list[Registry], callee: Callee, call: Call, state: State
) -> None:
    """Let both workers call until the breakers of both have a state."""
    await _call_until(
        lambda: all(each[KEY].state is state for each in registries), registries, callee, call
    )


async def call_until_met(registries: list[Registry], callee: Callee, call: Call) -> None:
    """Let both workers call until each knows of the other: their threads begin with calls."""
    fleets = [registry.fleet for registry in registries if registry.fleet is not None]
    await _call_until(
        lambda: all(each.is_connected and each.workers == 2 for each in fleets),
        registries,
        callee,
        call,
    )


async def _call_until(
    happened: Callable[[], bool], registries: Iterable[Registry], callee: Callee, call: Call
) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, [each[KEY].metrics() for each in registries]
        for registry in registries:
            await call(registry, callee)
        await anyio.sleep(_TICK)


class Gap:
    """The longest time that the loop stood still.

    Attributes:
        longest: In seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            before = time.monotonic()
            await anyio.sleep(_TICK)
            self.longest = max(self.longest, time.monotonic() - before)


@asynccontextmanager
async def watched() -> AsyncGenerator[Gap, None]:
    """Measure how long the loop stands still in the block."""
    gap = Gap()
    async with anyio.create_task_group() as group:
        group.start_soon(gap.watch)
        await anyio.sleep(2 * _TICK)
        yield gap
        await anyio.sleep(2 * _TICK)
        group.cancel_scope.cancel()
