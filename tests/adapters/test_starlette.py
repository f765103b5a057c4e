"""Starlette: which key a request gets, before it is routed; decorators; and set-up."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.support.asgi_scope import scope_of

from recloser import BreakerOpenError, Metrics, Registry, State
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.starlette import (
    UNMATCHED,
    BreakerMiddleware,
    EndpointRefusedError,
    RouteKeys,
    exempt,
    keyed,
    protect,
    refuse,
)


async def page(request: Request) -> Response:
    return PlainTextResponse("page")


async def broken(request: Request) -> Response:
    return PlainTextResponse("broken", 500)


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Item(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("item")


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


def routes(files: Path) -> list[BaseRoute]:
    return [
        Route("/", page),
        Route("/users", page, methods=["GET", "POST"]),
        Route("/users/me", page),
        Route("/users/{name}", page),
        Route("/users/{name}", page, methods=["DELETE"]),
        Route("/items/{id:int}.json", page),
        Route("/class/{id}", Item),
        Route("/slash/", page),
        Route("/files/{path:path}", page),
        Mount("/assets", StaticFiles(directory=files)),
        Mount("/raw", raw_app),
        Mount("/wrapped", GZipMiddleware(Starlette(routes=[Route("/deep/{n:int}", page)]))),
        Mount(
            "/shops/{shop}",
            routes=[
                Route("/", page),
                Route("/carts/{cart}", page),
                Mount("/admin", Router([Route("/log", page)])),
            ],
        ),
        Mount("", routes=[Route("/nameless/{x}", page)]),
        Host("{tenant}.example.com", Router([Route("/", page), Route("/bills/{id}", page)])),
        WebSocketRoute("/chat/{room}", chat),
    ]


CASES = [
    ("GET", "/", "GET /"),
    ("GET", "/users", "GET /users"),
    ("POST", "/users", "POST /users"),
    ("HEAD", "/users", "GET /users"),
    ("GET", "/users/me", "GET /users/me"),
    ("GET", "/users/ann", "GET /users/{name}"),
    ("DELETE", "/users/me", "DELETE /users/{name}"),
    ("GET", "/items/7.json", "GET /items/{id}.json"),
    ("GET", "/items/x.json", UNMATCHED),
    ("GET", "/class/7", "GET /class/{id}"),
    ("BREW", "/class/7", "OTHER /class/{id}"),
    ("STEEP", "/class/8", "OTHER /class/{id}"),
    ("GET", "/slash/", "GET /slash/"),
    ("GET", "/slash", UNMATCHED),
    ("GET", "/users/", UNMATCHED),
    ("PUT", "/users", UNMATCHED),
    ("GET", "/no/such/page", UNMATCHED),
    ("GET", "", UNMATCHED),
    ("GET", "//users", UNMATCHED),
    ("GET", "/users\n", "GET /users"),
    ("GET", "/files/a/b/c.txt", "GET /files/{path}"),
    ("GET", "/files/a//b", "GET /files/{path}"),
    ("GET", "/assets/a.css", None),
    ("GET", "/raw/any/thing", "GET /raw/{path}"),
    ("GET", "/wrapped/deep/3", "GET /wrapped/deep/{n}"),
    ("GET", "/wrapped/deep/x", UNMATCHED),
    ("GET", "/shops/7/", "GET /shops/{shop}/"),
    ("GET", "/shops/7/carts/8", "GET /shops/{shop}/carts/{cart}"),
    ("GET", "/shops/7/admin/log", "GET /shops/{shop}/admin/log"),
    ("GET", "/shops/7/nothing", UNMATCHED),
    ("GET", "/nameless/1", "GET /nameless/{x}"),
]


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_a_request_is_named_by_method_and_template(
    method: str, path: str, key: str | None, tmp_path: Path
) -> None:
    keys = RouteKeys(Starlette(routes=routes(tmp_path)))

    found = [keys(scope_of(path, method)) for _ in range(3)]

    assert found == [key] * 3


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_a_key_does_not_change_with_where_the_server_hangs_the_app(
    method: str, path: str, key: str | None, tmp_path: Path
) -> None:
    keys = RouteKeys(Starlette(routes=routes(tmp_path)))

    assert keys(scope_of(f"/behind/proxy{path}", method, root_path="/behind/proxy")) == key


def test_a_prefix_that_is_no_whole_segment_is_not_cut_off() -> None:
    keys = RouteKeys(Starlette(routes=[Route("/shopping", page)]))

    assert keys(scope_of("/shopping", root_path="/shop")) == "GET /shopping"


def test_hosts_are_told_apart_and_not_mixed_up_by_what_is_remembered(tmp_path: Path) -> None:
    keys = RouteKeys(
        Starlette(
            routes=[
                Host("api.example.com", Router([Route("/a", page), Route("/", page)])),
                Host("{tenant}.example.com", Router([Route("/bills/{id}", page)])),
                Route("/bills/{id}", page),
            ]
        )
    )

    for _ in range(3):
        bills = [keys(scope_of("/bills/1", host=host)) for host in ("a.example.com", "localhost")]
        assert bills == ["GET {tenant}.example.com/bills/{id}", "GET /bills/{id}"]
        assert keys(scope_of("/a", host="api.example.com:8080")) == "GET api.example.com/a"
        assert keys(scope_of("/a", host="localhost")) == UNMATCHED


@pytest.mark.parametrize("method", [None, "GET"])
def test_a_websocket_is_named_by_its_template(method: str | None) -> None:
    """HTTP/2 opens one with a method, and a server may pass it on."""
    keys = RouteKeys(
        routes=[Route("/chat/{room}", page), WebSocketRoute("/chat/{room}", chat)],
    )
    handshake = {**scope_of("/chat/7"), "type": "websocket", "method": method}
    if method is None:
        del handshake["method"]

    for _ in range(2):
        assert keys(handshake) == "WS /chat/{room}"
        assert keys(scope_of("/chat/7")) == "GET /chat/{room}"


SEGMENTS = st.sampled_from(["a", "b", "{x}", "{x:int}", "c{x}", "{x}.d", ""])
WORDS = st.sampled_from(["a", "b", "7", "c7", "7.d", "", "zz"])


@st.composite
def route_tables(draw: st.DrawFn, depth: int = 2) -> list[tuple[str, str, Any]]:
    """(kind, path, methods or inner table), with paths that overlap a lot."""
    table: list[tuple[str, str, Any]] = []
    for _ in range(draw(st.integers(1, 6))):
        parts = draw(st.lists(SEGMENTS, min_size=1, max_size=3))
        # A template may use a name only once.
        path = "".join(f"/{part.replace('{x', f'{{x{i}')}" for i, part in enumerate(parts))
        if depth and draw(st.integers(0, 3)) == 0:
            table.append(
                ("mount", path.replace("{x", f"{{m{depth}x"), draw(route_tables(depth - 1)))
            )
        else:
            table.append(("route", path, draw(st.sampled_from([["GET"], ["POST"], None]))))
    return table


def build(table: list[tuple[str, str, Any]], prefix: str, answered: list[str]) -> list[BaseRoute]:
    built: list[BaseRoute] = []
    for kind, path, rest in table:
        if kind == "mount":
            name = path.rstrip("/")
            built.append(Mount(path, routes=build(rest, prefix + name, answered)))
            continue

        def endpoint(request: Any, template: str) -> Response:
            answered.append(template)
            return PlainTextResponse()

        template = prefix + path.replace(":int", "")
        built.append(
            Route(path, partial(endpoint, template=template.replace(":int", "")), methods=rest)
        )
    return built


@given(
    table=route_tables(),
    paths=st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=8),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
)
@settings(max_examples=150)
def test_the_key_is_that_of_the_route_which_then_answers(
    table: list[tuple[str, str, Any]], paths: list[list[str]], method: str
) -> None:
    """Starlette itself is the judge: whatever it routes to is what was predicted."""
    answered: list[str] = []
    app = Starlette(routes=build(table, "", answered))
    keys = RouteKeys(app)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        pass

    async def ask() -> None:
        for words in paths + paths:
            path = "/" + "/".join(words)
            answered.clear()
            predicted = keys(scope_of(path, method))
            await app(scope_of(path, method), receive, send)
            label = "GET" if method == "HEAD" else method
            expected = f"{label} {answered[0].replace(':int', '')}" if answered else UNMATCHED
            assert predicted == expected, path

    asyncio.run(ask())


def test_resolving_leaves_the_scope_as_it_is(tmp_path: Path) -> None:
    keys = RouteKeys(Starlette(routes=routes(tmp_path)))
    scope = scope_of("/shops/7/carts/8")
    before = dict(scope)

    keys(scope)

    assert scope == before


def test_a_route_that_takes_notes_in_the_scope_takes_them_in_a_copy() -> None:
    class Noting(BaseRoute):
        path = "/a"

        def matches(self, scope: Any) -> Any:
            scope["noted"] = True
            return Match.FULL, {}

    scope = scope_of("/a")

    assert RouteKeys(routes=[Noting()])(scope) == "GET /a"
    assert "noted" not in scope


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates of the routes that are asked whether they match."""
    seen: list[str] = []
    matches = Route.matches

    def counted(self: Route, scope: Any) -> Any:
        seen.append(self.path)
        return matches(self, scope)

    counted.__module__ = matches.__module__
    monkeypatch.setattr(Route, "matches", counted)
    return seen


def test_a_seen_path_asks_no_route_among_600(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route(f"/api/v1/r{n}/{{id}}", page) for n in range(600)])
    keys(scope_of("/api/v1/r599/1"))
    asked.clear()

    assert keys(scope_of("/api/v1/r599/1")) == "GET /api/v1/r599/{id}"
    assert asked == []


def test_an_unseen_path_asks_only_routes_that_can_match(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route(f"/api/v1/r{n}/{{id}}", page) for n in range(600)])

    keys(scope_of("/api/v1/r599/1"))
    keys(scope_of("/api/v1/none/1"))

    assert asked == ["/api/v1/r599/{id}"]


def test_a_flood_of_paths_fills_no_memory_and_pushes_out_no_busy_path(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route("/users/{name}", page), Route("/busy", page)])
    for n in range(20_000):
        keys(scope_of(f"/users/{n}"))
        if n % 1000 == 0:
            keys(scope_of("/busy"))

    assert len(keys._cache) <= 2 * 2048
    assert asked.count("/busy") == 1


def test_a_very_long_path_is_resolved_and_not_kept() -> None:
    keys = RouteKeys(routes=[Route("/users/{name}", page)])

    assert keys(scope_of("/users/" + "x" * 100_000)) == "GET /users/{name}"
    assert len(keys._cache) == 0


def test_paths_that_no_route_answers_are_not_kept() -> None:
    keys = RouteKeys(routes=[Route("/users", page)])
    for n in range(100):
        keys(scope_of(f"/wp-admin/{n}"))

    assert len(keys._cache) == 0


def test_a_route_that_was_added_later_is_found() -> None:
    app = Starlette(routes=[Route("/old", page)])
    keys = RouteKeys(app)
    assert [keys(scope_of(path)) for path in ("/new", "/old")] == [UNMATCHED, "GET /old"]

    app.router.routes.insert(0, Route("/{any}", page))

    assert keys(scope_of("/new")) == keys(scope_of("/old")) == "GET /{any}"


def test_a_route_that_was_added_to_a_mounted_app_later_is_found() -> None:
    inner = Starlette(routes=[Route("/old", page)])
    keys = RouteKeys(Starlette(routes=[Mount("/in", inner)]))
    assert [keys(scope_of(f"/in/{path}")) for path in ("new", "old")] == [UNMATCHED, "GET /in/old"]

    inner.router.routes.append(Route("/new", page))
    assert keys(scope_of("/in/new")) == "GET /in/new"

    # Below the top level only an earlier route for a path that was seen needs this.
    inner.router.routes.insert(0, Route("/{any}", page))
    keys.clear()
    assert keys(scope_of("/in/old")) == "GET /in/{any}"


def test_a_users_own_matching_is_not_asked_where_the_librarys_tells(registry: Registry) -> None:
    """It would notice: Starlette's own tests count how often a route is asked."""
    asked: list[str] = []

    class Counting(Route):
        def matches(self, scope: Any) -> Any:
            asked.append(self.path)
            return super().matches(scope)

    app = BreakerMiddleware(Starlette(routes=[Counting("/users/{name}", page)]), registry)

    assert TestClient(app).get("/users/ann").status_code == 200

    assert asked == ["/users/{name}"]
    assert [breaker.key for breaker in registry] == ["GET /users/{name}"]


def test_a_users_own_matching_is_asked_where_the_librarys_finds_nothing() -> None:
    class Lax(Route):
        def matches(self, scope: Any) -> Any:
            return super().matches({**scope, "path": scope["path"].lower()})

    class Unlike(BaseRoute):
        def matches(self, scope: Any) -> Any:
            wanted = (b"version", b"2") in scope["headers"]
            return (Match.FULL if wanted else Match.NONE), {}

    keys = RouteKeys(routes=[Lax("/users/{name}", page), Unlike()])
    second = scope_of("/anything")
    second["headers"].append((b"version", b"2"))

    for _ in range(2):
        assert keys(scope_of("/USERS/ann")) == "GET /users/{name}"
        assert keys(second) == "GET <Unlike>"
        assert keys(scope_of("/anything")) == UNMATCHED
    assert len(keys._cache) == 0


def test_a_route_whose_pattern_was_replaced_is_found_all_the_same() -> None:
    lax, other = Route("/users/{name}", page), Route("/old", page)
    lax.path_regex = re.compile(lax.path_regex.pattern, re.IGNORECASE)
    other.path_regex = re.compile("^/(old|new)$")
    keys = RouteKeys(routes=[lax, other])

    assert keys(scope_of("/USERS/ann")) == "GET /users/{name}"
    assert keys(scope_of("/new")) == "GET /old"


def test_an_app_that_is_mounted_in_itself_is_resolved_all_the_same() -> None:
    app = Starlette(routes=[Route("/leaf", page)])
    app.mount("/again", app)

    assert RouteKeys(app)(scope_of("/again/again/leaf")) == "GET /again/again/leaf"


def test_two_mounted_apps_with_a_registry_in_common_are_told_apart_by_prefix() -> None:
    inner = [Route("/{id}", page)]

    keys = [RouteKeys(routes=inner, prefix=prefix)(scope_of("/7")) for prefix in ("/a", "/b")]

    assert keys == ["GET /a/{id}", "GET /b/{id}"]


# The middleware


def added(app: Starlette, registry: Registry) -> Any:
    app.add_middleware(BreakerMiddleware, registry=registry)
    return app


def added_outside_others(app: Starlette, registry: Registry) -> Any:
    app.add_middleware(GZipMiddleware)
    app.add_middleware(BreakerMiddleware, registry=registry)
    return app


def wrapped(app: Starlette, registry: Registry) -> Any:
    return BreakerMiddleware(app, registry)


def wrapped_far_outside(app: Starlette, registry: Registry) -> Any:
    return GZipMiddleware(BreakerMiddleware(GZipMiddleware(app), registry))


def declared(app: Starlette, registry: Registry) -> Any:
    return Starlette(
        routes=app.routes, middleware=[Middleware(BreakerMiddleware, registry=registry)]
    )


PLACES = [added, added_outside_others, wrapped, wrapped_far_outside, declared]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest) -> Callable[[Starlette, Registry], Any]:
    placed: Callable[[Starlette, Registry], Any] = request.param
    return placed


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


# Marks


def test_exempt_and_keyed_endpoints_are_so_in_whatever_form_they_come() -> None:
    class Exempt(HTTPEndpoint):
        pass

    class Methodical(HTTPEndpoint):
        @exempt
        async def get(self, request: Request) -> Response:
            return await page(request)

        @keyed("payments")
        async def post(self, request: Request) -> Response:
            return await page(request)

        async def put(self, request: Request) -> Response:
            return await page(request)

    class Methods:
        @exempt
        async def hidden(self, request: Request) -> Response:
            return await page(request)

    async def plain(request: Request) -> Response:
        return await page(request)

    keys = RouteKeys(
        routes=[
            Route("/function", exempt(plain)),
            Route("/class", exempt(Exempt)),
            Route("/methodical", Methodical),
            Route("/partial", exempt(partial(page))),
            Route("/method", Methods().hidden),
            Route("/keyed/{id}", keyed("payments")(partial(page))),
            Mount("/mounted", exempt(Starlette(routes=[Route("/inside", page)]))),
        ]
    )

    exempted = ["/function", "/class", "/partial", "/method", "/mounted/inside", "/mounted/none"]
    assert [keys(scope_of(path)) for path in exempted] == [None] * len(exempted)
    assert keys(scope_of("/keyed/1")) == "payments"
    by_method = [keys(scope_of("/methodical", method)) for method in ("GET", "HEAD", "POST", "PUT")]
    assert by_method == [None, None, "payments", "PUT /methodical"]


@pytest.mark.parametrize("key", ["", 7, None])
def test_a_key_that_is_no_name_is_an_error_at_once(key: Any) -> None:
    with pytest.raises(ValueError, match="key must be a non-empty str"):
        keyed(key)


# Decorated endpoints


def both_kinds(work: Callable[[], Any]) -> list[Callable[..., Any]]:
    async def awaited(request: Request) -> Any:
        return work()

    def plain(request: Request) -> Any:
        return work()

    return [awaited, plain]


@pytest.fixture(params=[0, 1], ids=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def serve(endpoint: Callable[..., Any], registry: Registry, **more: Any) -> TestClient:
    app = Starlette(routes=[Route("/{id}", protect(registry, "payments")(endpoint))], **more)
    return TestClient(app, raise_server_exceptions=False)


def test_a_protected_endpoint_that_fails_is_refused(registry: Registry, kind: int) -> None:
    def work() -> Response:
        raise RuntimeError("out of order")

    client = serve(both_kinds(work)[kind], registry)

    statuses = [client.get(f"/{n}").status_code for n in range(20)]
    refusal = client.get("/last")

    assert statuses[0] == 500
    assert statuses[-1] == refusal.status_code == 503
    assert int(refusal.headers["retry-after"]) >= 1
    assert refusal.headers["cache-control"] == "no-store"
    assert registry["payments"].metrics().failures < 20


@pytest.mark.parametrize(
    ("status", "raised", "count"),
    [
        (500, True, "failures"),
        (503, False, "failures"),
        (404, True, "ignored"),
        (422, False, "ignored"),
        (200, False, "successes"),
    ],
)
def test_a_status_means_the_same_raised_or_returned(
    registry: Registry, kind: int, status: int, raised: bool, count: str
) -> None:
    def work() -> Response:
        if raised:
            raise HTTPException(status)
        return PlainTextResponse("", status)

    assert serve(both_kinds(work)[kind], registry).get("/1").status_code == status

    metrics = registry["payments"].metrics()
    assert getattr(metrics, count) == metrics.calls == 1
    assert metrics.in_flight == 0


def test_a_stream_that_breaks_off_is_a_failure_and_one_that_ends_is_not(
    registry: Registry, kind: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"begin "
        if breaks:
            raise RuntimeError("broke off")
        yield b"end"

    client = serve(both_kinds(lambda: StreamingResponse(body()))[kind], registry)

    breaks = False
    assert client.get("/1").text == "begin end"
    assert registry["payments"].metrics().successes == 1
    breaks = True
    client.get("/2")

    metrics = registry["payments"].metrics()
    assert (metrics.failures, metrics.in_flight) == (1, 0)


def test_a_stream_is_as_slow_as_its_headers(
    registry: Registry, clock: ManualClock, kind: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        clock.advance(100.0)
        yield b"late"

    serve(both_kinds(lambda: StreamingResponse(body()))[kind], registry).get("/1")

    metrics = registry["payments"].metrics()
    assert (metrics.successes, metrics.mean) == (1, 0.0)


GONE = {
    "request": ClientDisconnect(),
    "websocket": WebSocketDisconnect(1006),
    "group": ExceptionGroup("both", [ClientDisconnect(), WebSocketDisconnect(1000)]),
}


@pytest.mark.parametrize("how", GONE)
def test_a_client_that_goes_away_has_no_vote(registry: Registry, kind: int, how: str) -> None:
    def work() -> Response:
        raise GONE[how]

    serve(both_kinds(work)[kind], registry).get("/1")

    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.cancelled, metrics.in_flight) == (1, 1, 0)


def test_an_error_beside_a_client_that_goes_away_is_a_failure(registry: Registry) -> None:
    def work() -> Response:
        raise ExceptionGroup("both", [ClientDisconnect(), RuntimeError("out of order")])

    serve(both_kinds(work)[0], registry).get("/1")

    assert registry["payments"].metrics().failures == 1


def test_an_upstreams_status_that_leaves_an_endpoint_is_its_own_failure(
    registry: Registry, kind: int
) -> None:
    """A client's error for a 404 that nobody handles is a 500 to whoever asked us."""

    class StatusError(Exception):
        status_code = 404

    def work() -> Response:
        raise StatusError

    assert serve(both_kinds(work)[kind], registry).get("/1").status_code == 500

    assert registry["payments"].metrics().failures == 1


def converse(app: Any, *said: str, path: str = "/") -> list[Any]:
    """Open a WebSocket, say something and leave; what was sent to the client.

    By hand, because the test clients of older versions wait for ever on an app that says nothing.
    """
    received: list[Any] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in said),
        {"type": "websocket.disconnect", "code": 1000},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    extensions: dict[str, Any] = {"websocket.http.response": {}}
    scope = {**scope_of(path), "type": "websocket", "extensions": extensions, "subprotocols": []}
    with contextlib.suppress(Exception):
        asyncio.run(app(scope, receive, send))
    return sent


def conversing(registry: Registry, endpoint: Any) -> Any:
    return Starlette(routes=[WebSocketRoute("/", protect(registry, "chat")(endpoint))])


def test_of_a_protected_websocket_the_handshake_is_the_call(
    registry: Registry, clock: ManualClock
) -> None:
    during: list[Metrics] = []

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        during.append(registry["chat"].metrics())
        clock.advance(3600.0)
        assert "send" not in vars(websocket)
        while True:
            await websocket.send_text(await websocket.receive_text())

    sent = converse(conversing(registry, echo), "a", "b")

    metrics = registry["chat"].metrics()
    assert [message.get("text") for message in sent] == [None, "a", "b"]
    assert (during[0].successes, during[0].in_flight) == (1, 0)
    assert (metrics.calls, metrics.successes, metrics.mean) == (1, 1, 0.0)


async def raising(error: Exception) -> None:
    raise error


HANDSHAKES: dict[str, tuple[Callable[[WebSocket], Any], str]] = {
    "closed": (lambda websocket: websocket.close(), "ignored"),
    "denied by 503": (lambda ws: ws.send_denial_response(Response(status_code=503)), "failures"),
    "denied by 403": (lambda ws: ws.send_denial_response(Response(status_code=403)), "ignored"),
    "left as it is": (lambda websocket: asyncio.sleep(0), "cancelled"),
    "policy": (lambda websocket: raising(WebSocketException(1008)), "ignored"),
    "internal error": (lambda websocket: raising(WebSocketException(1011)), "failures"),
    "HTTP error": (lambda websocket: raising(HTTPException(503)), "failures"),
    "client gone": (lambda websocket: raising(WebSocketDisconnect(1000)), "cancelled"),
    "error": (lambda websocket: raising(RuntimeError("out of order")), "failures"),
}


@pytest.mark.parametrize("how", HANDSHAKES)
def test_a_protected_handshake_that_fails_counts_by_how(registry: Registry, how: str) -> None:
    ends, count = HANDSHAKES[how]

    async def endpoint(websocket: WebSocket) -> None:
        await ends(websocket)

    converse(conversing(registry, endpoint))

    metrics = registry["chat"].metrics()
    assert getattr(metrics, count) == metrics.calls == 1
    assert metrics.in_flight == 0


def test_two_protections_see_one_handshake(registry: Registry) -> None:
    converse(conversing(registry, protect(registry, "inner")(chat)))

    assert [registry[key].metrics().successes for key in ("chat", "inner")] == [1, 1]


def test_a_protected_method_of_an_open_websocket_is_a_call_as_a_whole(
    registry: Registry, clock: ManualClock
) -> None:
    class Echo(WebSocketEndpoint):
        encoding = "text"

        @protect(registry, "chat")
        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            clock.advance(1.0)
            await websocket.send_text(data)

    converse(Starlette(routes=[WebSocketRoute("/", Echo)]), "a", "b")

    metrics = registry["chat"].metrics()
    assert metrics.successes == 2
    assert metrics.mean == pytest.approx(1.0)


def test_a_plain_function_around_a_coroutine_function_is_awaited_to_its_end(
    registry: Registry,
) -> None:
    async def work(fails: bool) -> str:
        if fails:
            raise RuntimeError("out of order")
        return "done"

    @protect(registry, "work")
    def around(fails: bool) -> Any:
        return work(fails)

    assert asyncio.run(around(False)) == "done"
    with pytest.raises(RuntimeError):
        asyncio.run(around(True))

    metrics = registry["work"].metrics()
    assert (metrics.successes, metrics.failures) == (1, 1)


def test_a_stream_that_nobody_reads_leaves_no_permit_behind(registry: Registry, kind: int) -> None:
    class Unread(StreamingResponse):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("something else")(scope, receive, send)

    serve(both_kinds(lambda: Unread(iter([b"never"])))[kind], registry).get("/1")

    # A worker thread lets go of what it returned a moment after the caller has it.
    deadline = time.monotonic() + 10.0
    while registry["payments"].metrics().in_flight and time.monotonic() < deadline:
        time.sleep(0.001)
    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.in_flight) == (1, 0)
    assert (metrics.successes, metrics.failures) == (0, 0)


def test_a_protected_endpoint_counts_for_its_breaker_and_not_for_its_route(
    registry: Registry,
) -> None:
    app = Starlette(routes=[Route("/{id}", protect(registry, "payments")(page))])
    client = TestClient(BreakerMiddleware(app, registry))

    client.get("/1")

    assert [(each.key, each.metrics().calls) for each in registry] == [("payments", 1)]


def test_nothing_is_protected_where_the_environment_turns_breakers_off(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    client = serve(page, registry)
    open_breaker(registry["payments"])

    assert client.get("/1").text == "page"


def test_a_handler_for_the_error_answers_in_place_of_the_frameworks(registry: Registry) -> None:
    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, EndpointRefusedError)
        return PlainTextResponse(f"{error.key} {error.state.value}", 418)

    client = serve(page, registry, exception_handlers={BreakerOpenError: handler})
    open_breaker(registry["payments"])

    answer = client.get("/1")

    assert (answer.status_code, answer.text) == (418, "payments open")


def test_a_class_is_not_protected_silently(registry: Registry) -> None:
    with pytest.raises(TypeError, match="decorate its methods"):
        protect(registry, "payments")(Item)


def test_a_method_of_a_class_based_endpoint_is_protected(registry: Registry) -> None:
    class Payments(HTTPEndpoint):
        @protect(registry, "payments")
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("paid")

    class Chat(WebSocketEndpoint):
        @protect(registry, "chat")
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.close()

    app = Starlette(routes=[Route("/", Payments), WebSocketRoute("/chat", Chat)])
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)
    assert [client.get("/").text, client.head("/").status_code] == ["paid", 200]
    converse(app, path="/chat")
    # Not by its route's breaker as well.
    assert [breaker.key for breaker in registry.breakers()] == ["payments", "chat"]
    open_breaker(registry["payments"])

    assert client.get("/").status_code == 503


# An outbound breaker that is open below an endpoint


def outbound(registry: Registry) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        with registry["upstream"]:
            return PlainTextResponse("never")

    return endpoint


def test_a_refused_outbound_call_becomes_a_503_that_its_route_is_not_blamed_for(
    registry: Registry,
) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)
    registry["upstream"].open("test", for_=20.0)

    answers = [client.get("/") for _ in range(20)]

    assert {answer.status_code for answer in answers} == {503}
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert answers[-1].json()["status"] == 503
    assert 20 <= int(answers[-1].headers["retry-after"]) <= 22
    assert "upstream" not in answers[-1].text
    metrics = registry["GET /"].metrics()
    assert (metrics.failures, metrics.ignored) == (0, 20)


def test_a_refused_outbound_call_that_nobody_catches_is_not_held_against_its_route(
    registry: Registry, place: Callable[[Starlette, Registry], Any]
) -> None:
    """Wrapped round the whole application a breaker sees the 500 before the error."""
    app = place(Starlette(routes=[Route("/", outbound(registry))]), registry)
    open_breaker(registry["upstream"])
    client = TestClient(app, raise_server_exceptions=False)

    assert [client.get("/").status_code for _ in range(20)] == [500] * 20

    assert is_blameless(registry, "GET /")


def copying(inner: Any) -> Any:
    """An app that hands a copy of its scope to another."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(dict(scope), receive, send)

    return app


def nested(app: Any, registry: Registry) -> Any:
    """Two breakers around an app, each of which hands it a copy of its scope."""
    for key in ("near", "far"):
        app = under(key, copying(app), registry)
    return app


def under(key: str, app: Any, registry: Registry) -> Any:
    return BreakerMiddleware(app, registry, key=lambda scope: key)


def is_blameless(registry: Registry, *keys: str) -> bool:
    """Whether all that these breakers saw were refusals by others."""
    return all(
        (figures.ignored > 0 and figures.calls == figures.ignored)
        for figures in (registry[key].metrics() for key in keys)
    )


def test_no_copy_of_a_scope_hides_a_refused_outbound_call(registry: Registry) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    open_breaker(registry["upstream"])

    assert TestClient(nested(app, registry)).get("/").status_code == 503

    assert is_blameless(registry, "near", "far")


async def answer_503(request: Request, error: Exception) -> Response:
    """A handler of the user's, which knows nothing of breakers."""
    return PlainTextResponse("later", 503)


@pytest.mark.parametrize("whose", [None, 503, HTTPException, BreakerOpenError])
@pytest.mark.parametrize("where", ["function", "sync", "method", "sync method"])
def test_what_protect_refuses_is_held_against_no_breaker_around_it(
    registry: Registry, where: str, whose: Any
) -> None:
    guard = protect(registry, "payments")

    def sync(request: Request) -> Response:
        return PlainTextResponse("never")

    class Methods(HTTPEndpoint):
        @guard
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("never")

    class SyncMethods(HTTPEndpoint):
        @guard
        def get(self, request: Request) -> Response:
            return PlainTextResponse("never")

    endpoint: Any = {
        "function": guard(page),
        "sync": guard(sync),
        "method": Methods,
        "sync method": SyncMethods,
    }[where]
    app = Starlette(
        routes=[Route("/", endpoint)],
        exception_handlers={} if whose is None else {whose: answer_503},
    )
    open_breaker(registry["payments"])

    assert TestClient(nested(app, registry)).get("/").status_code == 503

    assert is_blameless(registry, "near", "far")


def test_an_outbound_refusal_that_leaves_a_protected_endpoint_is_held_against_no_breaker(
    registry: Registry,
) -> None:
    endpoint = protect(registry, "payments")(outbound(registry))
    app = Starlette(routes=[Route("/", endpoint)])
    open_breaker(registry["upstream"])
    client = TestClient(nested(app, registry), raise_server_exceptions=False)

    assert client.get("/").status_code == 500

    assert is_blameless(registry, "near", "far", "payments")


def test_what_protect_refuses_to_a_websocket_is_held_against_no_breaker(
    registry: Registry,
) -> None:
    app = Starlette(routes=[WebSocketRoute("/", protect(registry, "payments")(chat))])
    open_breaker(registry["payments"])

    sent = converse(nested(app, registry))

    # Older versions answer no HTTP error of a WebSocket, and leave it to the server.
    assert "websocket.accept" not in [message["type"] for message in sent]

    assert is_blameless(registry, "near", "far")


def test_a_refused_outbound_call_in_a_websocket_closes_it_to_try_again_later(
    registry: Registry,
) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        registry["upstream"].acquire()

    open_breaker(registry["upstream"])
    app = Starlette(
        routes=[WebSocketRoute("/", endpoint)], exception_handlers={BreakerOpenError: refuse}
    )

    with TestClient(app).websocket_connect("/") as websocket:
        message = websocket.receive()

    assert (message["type"], message["code"]) == ("websocket.close", 1013)


def test_a_breaker_opened_for_years_names_a_day(registry: Registry) -> None:
    app = Starlette(
        routes=[Route("/", outbound(registry))], exception_handlers={BreakerOpenError: refuse}
    )
    registry["upstream"].open("for years", for_=1e9)

    assert 1 <= int(TestClient(app).get("/").headers["retry-after"]) <= 86_400
