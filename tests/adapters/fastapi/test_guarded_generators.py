"""A yield dependency that is a guarded generator: the endpoint's errors are not its callee's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI, HTTPException
from starlette.testclient import TestClient
from tests.support.asgi_client import Exchange
from tests.support.breaker_state import ended

from recloser import Breaker, State
from recloser.testing import ManualClock


def make_app(breaker: Breaker, *, is_async: bool, broken: bool) -> FastAPI:
    @breaker
    def session() -> Generator[str, None, None]:
        if broken:
            raise ConnectionRefusedError
        yield "session"

    @breaker
    async def async_session() -> AsyncGenerator[str, None]:
        if broken:
            raise ConnectionRefusedError
        yield "session"

    dependency: Any = async_session if is_async else session
    app = FastAPI()

    @app.get("/{what}")
    def endpoint(what: str, it: str = Depends(dependency)) -> str:
        if what == "missing":
            raise HTTPException(404)
        if what == "bug":
            raise KeyError(what)
        return it

    return app


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("what", ["missing", "bug"])
def test_what_the_endpoint_raises_is_its_own(what: str, is_async: bool) -> None:
    breaker = Breaker("db")
    app = make_app(breaker, is_async=is_async, broken=False)
    client = TestClient(app, raise_server_exceptions=False)

    for _ in range(20):
        assert client.get(f"/{what}").status_code == {"missing": 404, "bug": 500}[what]

    assert ended(breaker) == (0, 0, 20, 0)


@pytest.mark.parametrize("is_async", [True, False])
def test_what_the_dependency_raises_is_its_callees(is_async: bool) -> None:
    breaker = Breaker("db")
    app = make_app(breaker, is_async=is_async, broken=True)

    assert TestClient(app, raise_server_exceptions=False).get("/well").status_code == 500

    assert ended(breaker) == (0, 1, 0, 0)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_well_endpoint_ends_it_well(is_async: bool) -> None:
    breaker = Breaker("db")

    assert TestClient(make_app(breaker, is_async=is_async, broken=False)).get("/well").is_success

    assert ended(breaker) == (1, 0, 0, 0)


@pytest.mark.anyio
async def test_a_block_in_a_plain_dependency_ends_its_own_call(clock: ManualClock) -> None:
    """FastAPI enters and leaves such a block on different threads, in different contexts."""
    breaker = Breaker("db", clock=clock)
    app, done, waiting = FastAPI(), anyio.Event(), 0

    def session() -> Iterator[None]:
        with breaker:
            yield

    @app.get("/{what}", dependencies=[Depends(session)])
    async def endpoint(what: str) -> str:
        nonlocal waiting
        if what == "long":
            waiting += 1
            await done.wait()
        else:
            clock.advance(0.01)
        return what

    async def ask(path: str) -> int | None:
        return (await Exchange(path=path).run(app)).status

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            await ask("/short")
        for _ in range(4):
            tasks.start_soon(ask, "/long")
        while waiting < 4:
            await anyio.lowlevel.checkpoint()
        # If one of these ended a long call, its latency would be the other's.
        answers = [await ask("/short") for _ in range(20)]
        assert breaker.metrics().in_flight == 4
        done.set()

    assert set(answers) == {200}
    metrics = breaker.metrics()
    assert (metrics.successes, metrics.in_flight, breaker.state) == (74, 0, State.CLOSED)
    assert metrics.slow == 4
