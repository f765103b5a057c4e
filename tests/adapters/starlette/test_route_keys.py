"""Which key a request gets in Starlette, before it is routed."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from tests.support.asgi_scope import scope_of
from tests.support.starlette_endpoints import Item, chat, page, raw_app

from recloser_adapters.starlette import UNMATCHED, RouteKeys


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
