"""Event loops go on while the server of a fleet hangs."""

from __future__ import annotations

import time
from contextlib import suppress

import anyio
import pytest
from tests.support.event_loops import (
    LOOPS,
    WAYS,
    Call,
    Callee,
    call_until_both,
    call_until_met,
    run,
    two_workers,
    watched,
)
from tests.support.valkey import Server

from recloser import Registry, State
from recloser.fleet import StoreError
from recloser_adapters.redis import RedisStore

MOST = 0.25  # seconds that a loop may stand still
_HANGS = 1.5  # seconds
_TRIES = 3  # a machine that is busy may stand still by itself, but not each time


async def _hang(registries: list[Registry], server: Server, call: Call) -> float:
    """Let the server hang in an outage; return how long the loop stood still at most."""
    callee = Callee()
    await call_until_met(registries, callee, call)
    server.pause()
    try:
        async with watched() as gap:
            end = time.monotonic() + _HANGS
            callee.is_well = False
            # Both open, although neither can hear of the other.
            await call_until_both(registries, callee, call, State.OPEN)
            while time.monotonic() < end:
                for registry in registries:
                    await call(registry, callee)
                # A refusal does not give way to other tasks: without this, the test would block the loop.
                await anyio.sleep(0.005)
    finally:
        server.resume()
    callee.is_well = True
    await call_until_both(registries, callee, call, State.CLOSED)
    return gap.longest


async def _hang_at_most(registries: list[Registry], server: Server, call: Call) -> None:
    gaps = list[float]()
    while not gaps or (min(gaps) >= MOST and len(gaps) < _TRIES):
        gaps.append(await _hang(registries, server, call))
    assert min(gaps) < MOST, gaps
    assert [registry.faults for registry in registries] == [0, 0]


async def _call_in_each_way(registry: Registry, callee: Callee) -> None:
    for call in WAYS:
        await call(registry, callee)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_never_stands_still_for_a_server_that_hangs(server: Server, loop: str) -> None:
    with two_workers(lambda: RedisStore(server.url)) as registries:
        run(loop, _hang_at_most, registries, server, _call_in_each_way)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_asks_the_store_itself_would_be_seen(server: Server, loop: str) -> None:
    """The measure of the test above works: a call that blocks the loop is above the limit."""
    store, gaps = RedisStore(server.url), list[float]()
    store.news(0)

    async def ask() -> None:
        async with watched() as gap:
            with suppress(StoreError):
                store.news(0)
        gaps.append(gap.longest)

    server.pause()
    try:
        run(loop, ask)
    finally:
        server.resume()
        store.close()

    assert gaps[0] > MOST
