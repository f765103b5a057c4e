"""Endpoints of FastAPI that are protected by a decorator: signatures, streams, and refusals."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import FastAPIError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect
from tests.support.fastapi_endpoints import TestClient

from recloser import BreakerOpenError, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.starlette import BreakerMiddleware, protect, refuse


class Order(BaseModel):
    """A body, declared at module level like most."""

    item: str
    count: int = 1


# Decorated endpoints


def endpoints(registry: Registry) -> FastAPI:
    app = FastAPI()

    @app.post("/async/{number}")
    @protect(registry, "payments")
    async def create(
        number: int,
        order: Order,
        tag: Annotated[str, Header()],
        request: Request,
        q: str | None = None,
    ) -> Order:
        return Order(item=f"{number} {order.item} {tag} {q} {request.method}", count=order.count)

    @app.post("/sync/{number}")
    @protect(registry, "payments")
    def create_sync(
        number: int,
        order: Order,
        tag: Annotated[str, Header()],
        request: Request,
        q: str | None = None,
    ) -> Order:
        return Order(item=f"{number} {order.item} {tag} {q} {request.method}", count=order.count)

    return app


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_protected_endpoint_keeps_its_signature(registry: Registry, kind: str) -> None:
    """In this file annotations are text, and FastAPI must still find what they mean."""
    client = TestClient(endpoints(registry))

    answer = client.post(
        f"/{kind}/7?q=z", json={"item": "tea", "count": 3}, headers={"tag": "green"}
    )
    wrong = client.post(f"/{kind}/seven", json={"item": "tea"}, headers={"tag": "green"})

    assert answer.json() == {"item": "7 tea green z POST", "count": 3}
    assert wrong.status_code == 422
    # What FastAPI refuses itself never reached the endpoint.
    assert registry["payments"].metrics().calls == 1


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_protected_endpoint_is_documented_as_without_protection(
    registry: Registry, kind: str
) -> None:
    documented = endpoints(registry).openapi()["paths"][f"/{kind}/{{number}}"]["post"]

    names = {parameter["name"] for parameter in documented["parameters"]}
    assert names == {"number", "q", "tag"}
    assert documented["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }


def test_a_refused_endpoint_answers_503_as_fastapi_does(registry: Registry) -> None:
    client = TestClient(endpoints(registry))
    open_breaker(registry["payments"])

    refusal = client.post("/async/7", json={"item": "tea"}, headers={"tag": "green"})

    assert refusal.status_code == 503
    assert refusal.json() == {"detail": "Temporarily unavailable"}
    assert int(refusal.headers["retry-after"]) >= 1


def test_http_errors_of_a_protected_endpoint_count_by_their_status(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/{status}")
    @protect(registry, "payments")
    async def answer(status: int) -> None:
        raise HTTPException(status)

    client = TestClient(app)
    for status in (404, 409, 500, 502):
        assert client.get(f"/{status}").status_code == status

    metrics = registry["payments"].metrics()
    assert (metrics.ignored, metrics.failures) == (2, 2)


def test_a_protected_stream_counts_at_its_end(registry: Registry) -> None:
    app = FastAPI()
    in_flight: list[int] = []

    @app.get("/")
    @protect(registry, "payments")
    async def answer() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            in_flight.append(registry["payments"].metrics().in_flight)

        return StreamingResponse(body())

    assert TestClient(app).get("/").text == "a"
    assert in_flight == [1]
    assert registry["payments"].metrics().successes == 1


@pytest.mark.parametrize("kind", ["async", "sync", "connection", "websocket"])
def test_what_protect_refuses_is_held_against_no_breaker_around_it(
    registry: Registry, kind: str
) -> None:
    """Though most endpoints do not ask for the request, in which that is noted."""
    app = FastAPI()
    guard = protect(registry, "payments")

    @app.get("/async")
    @guard
    async def asynchronous(q: str = "") -> str:
        return q

    @app.get("/sync")
    @guard
    def synchronous(q: str = "", **more: Any) -> str:
        return q

    @app.get("/connection")
    @guard
    async def connected(asked_for: HTTPConnection) -> str:
        return asked_for.url.path

    @app.websocket("/websocket")
    @guard
    async def chat(q: str = "") -> None: ...

    app.add_middleware(BreakerMiddleware, registry=registry, key=lambda scope: "around")
    client = TestClient(app)
    if kind == "connection":
        assert client.get("/connection").json() == "/connection"
        registry["around"].reset()
    open_breaker(registry["payments"])

    if kind == "websocket":
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/websocket"):
            raise AssertionError("it was accepted")
    else:
        assert client.get(f"/{kind}?more=1").status_code == 503

    metrics = registry["around"].metrics()
    assert (metrics.ignored, metrics.failures) == (1, 0)


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_protected_generator_is_watched_to_its_end(
    registry: Registry, clock: ManualClock, kind: str, breaks: bool
) -> None:
    if not streams_generators():
        pytest.skip("FastAPI streams no generators yet")

    def work(first: bool) -> int:
        clock.advance(2.0 if first else 100.0)
        if breaks and not first:
            raise RuntimeError("broke off")
        return 1

    async def items() -> AsyncIterable[int]:
        yield work(True)
        in_flight.append(registry["items"].metrics().in_flight)
        yield work(False)

    def items_sync() -> Iterable[int]:
        yield work(True)
        in_flight.append(registry["items"].metrics().in_flight)
        yield work(False)

    in_flight: list[int] = []
    app = FastAPI()
    app.get("/")(protect(registry, "items")(items if kind == "async" else items_sync))

    with contextlib.suppress(RuntimeError):
        TestClient(app).get("/")

    metrics = registry["items"].metrics()
    assert in_flight == [1]
    assert (metrics.calls, metrics.failures, metrics.in_flight) == (1, int(breaks), 0)
    assert breaks or metrics.mean == pytest.approx(2.0)


def streams_generators() -> bool:
    async def items() -> AsyncIterable[int]:
        yield 1

    app = FastAPI()
    try:
        app.get("/")(items)
    except FastAPIError:
        return False
    return TestClient(app).get("/").text == "1\n"


def test_a_protected_generator_that_is_refused_answers_503(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/", response_model=None)
    @protect(registry, "items")
    async def items() -> AsyncIterable[int]:
        yield 1

    open_breaker(registry["items"])

    assert TestClient(app).get("/").status_code == 503


# Dependencies


def test_the_handler_for_refused_outbound_calls_works_in_fastapi(registry: Registry) -> None:
    app = FastAPI()
    app.add_middleware(BreakerMiddleware, registry=registry)
    app.add_exception_handler(BreakerOpenError, refuse)

    @app.get("/")
    async def outbound() -> None:
        registry["upstream"].acquire()

    open_breaker(registry["upstream"])
    answer = TestClient(app).get("/")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert registry["GET /"].metrics().ignored == 1
