"""A breaker as a dependency of FastAPI."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect
from tests.support.asgi_scope import scope_of
from tests.support.fastapi_endpoints import TestClient, page, plain

from recloser import Registry, State
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.starlette import BreakerMiddleware, RouteKeys, dependency


def test_of_a_websocket_a_dependency_sees_the_handshake(
    registry: Registry, clock: ManualClock
) -> None:
    app = FastAPI()

    @app.websocket("/", dependencies=[Depends(dependency(registry, "chat"))])
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        clock.advance(3600.0)
        while True:
            await websocket.send_text(await websocket.receive_text())

    with (
        contextlib.suppress(WebSocketDisconnect),
        TestClient(app).websocket_connect("/") as session,
    ):
        session.send_text("a")
        assert session.receive_text() == "a"

    metrics = registry["chat"].metrics()
    assert (metrics.calls, metrics.successes, metrics.mean) == (1, 1, 0.0)


def test_a_client_that_goes_away_has_no_vote_in_a_dependency(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/", dependencies=[Depends(dependency(registry, "payments"))])
    async def gone() -> None:
        raise ClientDisconnect

    TestClient(app, raise_server_exceptions=False).get("/")

    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.cancelled) == (1, 1)


def with_dependency(registry: Registry, key: str | None, outside: bool = False) -> TestClient:
    router = APIRouter(dependencies=[Depends(dependency(registry, key))])

    @router.get("/raise/{status}")
    async def raising(status: int) -> None:
        if status == 599:
            raise RuntimeError("not an HTTP error")
        raise HTTPException(status)

    @router.get("/return/{status}")
    async def returning(status: int) -> Response:
        return JSONResponse({}, status)

    app = FastAPI()
    app.include_router(router, prefix="/x")
    if outside:
        app.add_middleware(BreakerMiddleware, registry=registry)
    return TestClient(app, raise_server_exceptions=False)


def test_a_dependency_sees_what_an_endpoint_raises(registry: Registry) -> None:
    client = with_dependency(registry, "payments")

    statuses = [client.get(f"/x/raise/{status}").status_code for status in (404, 500, 503, 599)]

    assert statuses == [404, 500, 503, 500]
    metrics = registry["payments"].metrics()
    assert (metrics.ignored, metrics.failures, metrics.in_flight) == (1, 3, 0)


def test_a_dependency_does_not_see_what_an_endpoint_returns(registry: Registry) -> None:
    """Stated in its docstring; should FastAPI ever show it, say so there."""
    with_dependency(registry, "payments").get("/x/return/503")

    assert registry["payments"].metrics().successes == 1


def test_a_dependency_refuses_while_open_and_the_route_is_not_blamed(registry: Registry) -> None:
    client = with_dependency(registry, "payments", outside=True)
    open_breaker(registry["payments"])

    refusals = [client.get("/x/return/200") for _ in range(20)]

    assert {refusal.status_code for refusal in refusals} == {503}
    assert "retry-after" in refusals[0].headers
    assert registry["GET /x/return/{status}"].metrics().failures == 0
    assert registry["GET /x/return/{status}"].state is State.CLOSED


def test_a_dependency_does_nothing_where_the_environment_turns_breakers_off(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    client = with_dependency(registry, "payments")
    open_breaker(registry["payments"])

    assert client.get("/x/return/200").status_code == 200


def test_a_dependency_without_a_key_takes_that_of_the_route(registry: Registry) -> None:
    with_dependency(registry, None).get("/x/return/200")

    assert [(each.key, each.metrics().calls) for each in registry] == [
        ("GET /x/return/{status}", 1)
    ]


def test_a_dependency_without_a_key_leaves_guarded_requests_alone(registry: Registry) -> None:
    with_dependency(registry, None, outside=True).get("/x/return/200")

    assert [(each.key, each.metrics().calls) for each in registry] == [
        ("GET /x/return/{status}", 1)
    ]


def shared(registry: Registry) -> FastAPI:
    """One dependency in an app, in one mounted in it, and on a router mounted and included."""
    guard = Depends(dependency(registry))
    app, inner = FastAPI(), FastAPI(dependencies=[guard])
    router = APIRouter(dependencies=[guard])
    app.add_api_route("/x/{id}", page, dependencies=[guard])
    inner.add_api_route("/x/{id}", page)
    router.add_api_route("/x/{id}", page)
    inner.include_router(router, prefix="/again")
    app.mount("/{version}/inner", inner)
    app.mount("/mounted", router)
    app.include_router(router, prefix="/included")
    return app


SHARED = {
    "/x/1": "GET /x/{id}",
    "/v1/inner/x/1": "GET /{version}/inner/x/{id}",
    "/v1/inner/again/x/1": "GET /{version}/inner/again/x/{id}",
    "/mounted/x/1": "GET /mounted/x/{id}",
    "/included/x/1": "GET /included/x/{id}",
}


@pytest.mark.parametrize("order", [1, -1])
def test_a_shared_dependency_takes_the_key_that_a_middleware_gives(
    registry: Registry, order: int
) -> None:
    app = shared(registry)
    paths = list(SHARED)[::order]
    client = TestClient(app)

    for path in paths + paths:
        assert client.get(path).status_code == 200

    assert [(each.key, each.metrics().calls) for each in registry] == [
        (SHARED[path], 2) for path in paths
    ]
    assert [RouteKeys(app)(scope_of(path)) for path in paths] == [SHARED[path] for path in paths]


def test_a_shared_dependency_tells_two_applications_apart(registry: Registry) -> None:
    guard = Depends(dependency(registry))
    for template in ("/{one}", "/{other}"):
        app = FastAPI(dependencies=[guard])
        app.add_api_route(template, page)
        assert TestClient(app).get("/same").status_code == 200

    assert [breaker.key for breaker in registry] == ["GET /{one}", "GET /{other}"]


def test_a_dependency_in_an_app_with_one_breaker_guards_its_route_all_the_same(
    registry: Registry,
) -> None:
    app = FastAPI()
    app.add_api_route("/x", page, dependencies=[Depends(dependency(registry))])
    app.add_middleware(BreakerMiddleware, registry=registry, key=lambda scope: "app")

    TestClient(app).get("/x")

    assert [breaker.key for breaker in registry] == ["app", "GET /x"]


def test_a_dependency_where_paths_are_rewritten_takes_the_template_of_its_app(
    registry: Registry,
) -> None:
    inner = FastAPI(dependencies=[Depends(dependency(registry))])
    inner.add_api_route("/x/{id}", page)

    app = FastAPI()
    app.add_api_route("/x/{other}", plain)
    app.mount("/inner", Stripping(inner))

    assert TestClient(app).get("/inner/x/1").status_code == 200

    assert [breaker.key for breaker in registry] == ["GET /x/{id}"]


class Stripping:
    """Hides the mount of an application from it."""

    def __init__(self, app: FastAPI) -> None:
        self.hidden = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.hidden({**scope, "path": "/x/1", "root_path": ""}, receive, send)


def test_the_latency_in_a_dependency_is_that_of_the_endpoint(
    registry: Registry, clock: ManualClock
) -> None:
    """It ends after the response and its background tasks, which last as long as they last."""
    app = FastAPI(dependencies=[Depends(dependency(registry, "chat"))])

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(8):
                clock.advance(5.0)
                yield b"data: x"

        clock.advance(0.25)
        task = BackgroundTask(clock.advance, 600.0)
        return StreamingResponse(pieces(), media_type="text/event-stream", background=task)

    client = TestClient(app)
    for _ in range(40):
        assert client.get("/stream").status_code == 200

    metrics = registry["chat"].metrics()
    assert (metrics.state, metrics.successes, metrics.slow) == (State.CLOSED, 40, 0)
    assert metrics.mean <= 0.25  # 0 where FastAPI does not tell when an endpoint returns


def test_an_endpoint_that_hangs_in_a_dependency_is_overdue(
    registry: Registry, clock: ManualClock
) -> None:
    app = FastAPI(dependencies=[Depends(dependency(registry, "chat"))])
    slow = 0.0

    @app.get("/")
    async def endpoint() -> None:
        clock.advance(slow)

    client = TestClient(app)
    for _ in range(40):
        slow = 0.1
        client.get("/")
    slow = 5.0
    for _ in range(10):
        client.get("/")

    judged = not registry["chat"].metrics().mean < 0.01
    assert (registry["chat"].state is State.LIMITED) is judged
