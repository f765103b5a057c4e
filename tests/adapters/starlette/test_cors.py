"""Answers of a breaker have the CORS headers of the application, whichever is further out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient

from recloser import Policy, Registry
from recloser_adapters.starlette import BreakerMiddleware

ORIGIN = "https://shop.example"
CORS = Middleware(CORSMiddleware, allow_origins=[ORIGIN])


async def item(request: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


def routes() -> list[Route]:
    return [Route("/item", item)]


def breaker(registry: Registry) -> Middleware:
    return Middleware(BreakerMiddleware, registry=registry)


def cors_outside(registry: Registry) -> Any:
    return Starlette(routes=routes(), middleware=[CORS, breaker(registry)])


def cors_inside(registry: Registry) -> Any:
    return Starlette(routes=routes(), middleware=[breaker(registry), CORS])


def around_everything(registry: Registry) -> Any:
    return BreakerMiddleware(Starlette(routes=routes(), middleware=[CORS]), registry)


def in_a_mounted_app(registry: Registry) -> Any:
    inner = Starlette(routes=routes(), middleware=[CORS])
    return Starlette(routes=[Mount("/in", inner)], middleware=[breaker(registry)])


def on_a_mount(registry: Registry) -> Any:
    mount = Mount("/in", routes=routes(), middleware=[CORS])
    return Starlette(routes=[mount], middleware=[breaker(registry)])


def on_a_router(registry: Registry) -> Any:
    router = Router(routes=routes(), middleware=[CORS])
    return Starlette(routes=[Mount("/in", router)], middleware=[breaker(registry)])


def on_a_route(registry: Registry) -> Any:
    route = Route("/item", item, middleware=[CORS])
    return Starlette(routes=[route], middleware=[breaker(registry)])


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (cors_outside, "/item"),
        (cors_inside, "/item"),
        (around_everything, "/item"),
        (in_a_mounted_app, "/in/item"),
        (on_a_mount, "/in/item"),
        (on_a_router, "/in/item"),
        (on_a_route, "/item"),
    ],
)
@pytest.mark.parametrize("served_before", [False, True])
def test_a_refusal_is_readable_where_an_answer_is(
    registry: Registry, build: Callable[[Registry], Any], path: str, served_before: bool
) -> None:
    """Its headers do not depend on whether the application has built its middleware yet."""
    client = TestClient(build(registry))
    allowed = {"Origin": ORIGIN}
    if served_before:
        client.get(path, headers=allowed)
    registry[f"GET {path}"].open("test")

    refused = client.get(path, headers=allowed)
    elsewhere = client.get(path, headers={"Origin": "https://evil.example"})
    without = client.get(path)

    assert {answer.status_code for answer in (refused, elsewhere, without)} == {503}
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert "retry-after" in refused.headers
    for answer in (elsewhere, without):
        assert "access-control-allow-origin" not in answer.headers


def test_the_users_own_answer_has_them_too(registry: Registry) -> None:
    own = Middleware(
        BreakerMiddleware, registry=registry, on_refuse=PlainTextResponse("later", 503)
    )
    registry["GET /item"].open("test")
    app = Starlette(routes=routes(), middleware=[own, CORS])

    answer = TestClient(app).get("/item", headers={"Origin": ORIGIN})

    assert answer.text == "later"
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_cut_off_answer_has_them_too() -> None:
    async def hang(request: Request) -> PlainTextResponse:
        await asyncio.sleep(60.0)
        return PlainTextResponse("never")

    registry = Registry(Policy(slow_ceiling=0.05))
    cut = Middleware(BreakerMiddleware, registry=registry, cut_off=True)
    app = Starlette(routes=[Route("/item", hang)], middleware=[cut, CORS])

    answer = TestClient(app).get("/item", headers={"Origin": ORIGIN})

    assert answer.status_code == 504
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_cors_middleware_that_fails_costs_only_the_headers(registry: Registry) -> None:
    class Broken(CORSMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError("broken")

    app = Starlette(routes=routes(), middleware=[breaker(registry), Middleware(Broken)])
    registry["GET /item"].open("test")

    answer = TestClient(app).get("/item", headers={"Origin": ORIGIN})

    assert answer.status_code == 503
    assert registry.faults == 1
