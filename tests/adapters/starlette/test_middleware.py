"""Starlette's middleware, wherever in an application it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from tests.support.starlette_endpoints import broken, chat, page, raw_app, wrapped

from recloser import Policy, Registry, State
from recloser.testing import open_breaker
from recloser_adapters.starlette import BreakerMiddleware, exempt


def test_a_route_that_fails_is_refused_and_its_neighbours_are_not(
    registry: Registry,
    place: Callable[[Starlette, Registry], Any],
) -> None:
    app = place(Starlette(routes=[Route("/good/{id}", page), Route("/bad/{id}", broken)]), registry)
    client = TestClient(app)

    statuses = [client.get(f"/bad/{n}").status_code for n in range(40)]
    refusal = client.get("/bad/one")

    assert registry["GET /bad/{id}"].state is State.OPEN
    assert statuses[0] == 500
    assert statuses[-1] == refusal.status_code == 503
    assert int(refusal.headers["retry-after"]) >= 1
    assert client.get("/good/1").status_code == 200
    assert sorted(breaker.key for breaker in registry.breakers()) == [
        "GET /bad/{id}",
        "GET /good/{id}",
    ]


def test_head_shares_the_breaker_of_get(registry: Registry) -> None:
    client = TestClient(wrapped(Starlette(routes=[Route("/", page)]), registry))
    open_breaker(registry["GET /"])

    refusal = client.head("/")

    assert refusal.status_code == 503
    assert refusal.content == b""


def test_requests_that_no_route_answers_open_nothing(registry: Registry) -> None:
    async def explode(request: Request, error: Exception) -> Response:
        return PlainTextResponse("failed at not finding", 500)

    app = Starlette(routes=[Route("/a", page)], exception_handlers={404: explode})
    client = TestClient(wrapped(app, registry))

    statuses = {client.get(f"/none/{n}").status_code for n in range(50)}

    assert statuses == {500}
    assert registry.breakers() == []


def test_a_middleware_on_a_route_a_mount_and_a_router_knows_its_templates(
    registry: Registry,
) -> None:
    mine = [Middleware(BreakerMiddleware, registry=registry)]
    app = Starlette(
        routes=[
            Route("/route/{id}", page, middleware=mine),
            Mount("/mount", routes=[Route("/m/{id}", page)], middleware=mine),
            Mount("/router", Router([Route("/r/{id}", page)], middleware=mine)),
        ]
    )
    client = TestClient(app)

    for path in ("/route/1", "/mount/m/1", "/router/r/1"):
        assert client.get(path).status_code == 200

    keys = sorted(breaker.key for breaker in registry.breakers())
    assert keys == ["GET /mount/m/{id}", "GET /route/{id}", "GET /router/r/{id}"]


@pytest.mark.parametrize("where", ["route", "mount", "router", "app", "wrapped app"])
def test_a_middleware_further_in_gives_a_route_no_other_ones_key(
    registry: Registry, where: str
) -> None:
    mine = [Middleware(BreakerMiddleware, registry=registry)]
    on_route = mine if where == "route" else []
    table = [Route("/x/{id}", broken, middleware=on_route)]
    inner: Any = {
        "route": lambda: Mount("/{shop}/sub", routes=table),
        "mount": lambda: Mount("/{shop}/sub", routes=table, middleware=mine),
        "router": lambda: Mount("/{shop}/sub", Router(table, middleware=mine)),
        "app": lambda: Mount("/{shop}/sub", Starlette(routes=table, middleware=mine)),
        "wrapped app": lambda: Mount(
            "/{shop}/sub", BreakerMiddleware(Starlette(routes=table), registry)
        ),
    }[where]()
    app = Starlette(routes=[Route("/x/{other}", page), inner])

    statuses = [TestClient(app).get("/7/sub/x/1").status_code for _ in range(20)]

    assert (statuses[0], statuses[-1]) == (500, 503)
    assert [breaker.key for breaker in registry.breakers()] == ["GET /{shop}/sub/x/{id}"]
    assert TestClient(app).get("/7/sub/none").status_code == 404
    assert registry.faults == 0


class Hiding:
    """Hides an application, and its mount from it."""

    def __init__(self, app: Any, strip: str = "") -> None:
        self.hidden = app
        self.strip = strip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.strip:
            path = scope["path"].removeprefix(self.strip)
            scope = {**scope, "path": path, "root_path": ""}
        await self.hidden(scope, receive, send)


def test_an_app_that_is_hidden_in_a_mount_keeps_its_templates(registry: Registry) -> None:
    inner = Starlette(routes=[Route("/x/{id}", page), Route("/y", page)])
    hidden = Hiding(BreakerMiddleware(inner, registry))
    app = Starlette(routes=[Route("/x/{other}", broken), Mount("/sub", hidden)])
    client = TestClient(app)

    for path in ("/sub/x/1", "/sub/y"):
        assert client.get(path).status_code == 200

    keys = [breaker.key for breaker in registry.breakers()]
    assert keys == ["GET /sub/x/{id}", "GET /sub/y"]


def test_an_app_whose_paths_are_rewritten_keeps_its_templates(registry: Registry) -> None:
    inner = Starlette(routes=[Route("/x/{id}", page)])
    hidden = Hiding(BreakerMiddleware(inner, registry), strip="/sub")
    app = Starlette(routes=[Route("/x/{other}", broken), Mount("/sub", hidden)])

    assert TestClient(app).get("/sub/x/1").status_code == 200

    assert [breaker.key for breaker in registry.breakers()] == ["GET /x/{id}"]


def test_a_route_that_cannot_be_told_runs_unguarded_and_says_so(registry: Registry) -> None:
    mine = [Middleware(BreakerMiddleware, registry=registry)]
    hidden = Hiding(Router([Route("/x/{id}", page, middleware=mine)]), strip="/sub")
    app = Starlette(routes=[Route("/x/{other}", broken), Mount("/sub", hidden)])

    assert TestClient(app).get("/sub/x/1").status_code == 200

    assert (registry.breakers(), registry.faults) == ([], 1)


def test_an_exempt_mount_is_so_for_a_middleware_inside_it(registry: Registry) -> None:
    hidden = exempt(Hiding(BreakerMiddleware(Starlette(routes=[Route("/x", page)]), registry)))

    assert TestClient(Starlette(routes=[Mount("/sub", hidden)])).get("/sub/x").text == "page"

    assert registry.breakers() == []


def test_an_app_inside_an_unknown_wrapper_is_found_through_the_scope(registry: Registry) -> None:
    class Opaque:
        def __init__(self, app: Any) -> None:
            self.hidden = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.hidden(scope, receive, send)

    app = Starlette(routes=[Route("/a/{id}", page)])
    app.add_middleware(Opaque)
    app.add_middleware(BreakerMiddleware, registry=registry)

    TestClient(app).get("/a/1")

    assert [breaker.key for breaker in registry.breakers()] == ["GET /a/{id}"]


def test_an_app_without_routes_runs_unguarded_and_says_so(registry: Registry) -> None:
    client = TestClient(BreakerMiddleware(raw_app, registry))

    assert client.get("/").text == "raw"
    assert registry.faults == 1


def test_a_route_that_fails_to_match_is_the_apps_affair_and_a_counted_fault(
    registry: Registry,
) -> None:
    class Faulty(BaseRoute):
        def matches(self, scope: Any) -> Any:
            raise RuntimeError("cannot say")

    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await raw_app(scope, receive, send)

    guarded = BreakerMiddleware(app, registry, routes=[Faulty()])

    assert TestClient(guarded).get("/a").status_code == 200
    assert (seen, registry.faults) == (["/a"], 1)


def test_a_key_function_of_the_user_wins(registry: Registry) -> None:
    app = BreakerMiddleware(
        Starlette(routes=[Route("/", page)]), registry, key=lambda scope: "mine"
    )

    TestClient(app).get("/")

    assert [breaker.key for breaker in registry.breakers()] == ["mine"]


def test_a_refused_websocket_gets_its_denial(registry: Registry) -> None:
    app = wrapped(Starlette(routes=[WebSocketRoute("/chat/{room}", chat)]), registry)
    open_breaker(registry["WS /chat/{room}"])

    with (
        pytest.raises(WebSocketDisconnect) as denied,
        TestClient(app).websocket_connect("/chat/1"),
    ):
        raise AssertionError("it was accepted")

    assert getattr(denied.value, "status_code", 503) == 503


def test_an_endpoint_that_is_hopeless_is_cut_off_where_that_is_asked_for() -> None:
    async def hang(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    registry = Registry(Policy(slow_ceiling=0.1))
    app = Starlette(routes=[Route("/hang/{id}", hang), Route("/good/{id}", page)])
    app.add_middleware(BreakerMiddleware, registry=registry, cut_off=True)
    client = TestClient(app)

    answer = client.get("/hang/1")

    assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
    assert registry["GET /hang/{id}"].metrics().failures == 1
    assert client.get("/good/1").status_code == 200
