"""BlackSheep: which key a request gets. What holds for every framework is in tests/contract."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.support.asgi_scope import scope_of
from tests.support.asked_keys import meet

from recloser import Registry, State
from recloser.testing import open_breaker

pytest.importorskip("blacksheep")

from blacksheep import Application, Request, Response, Router, WebSocket, text

from recloser_adapters.blacksheep import (
    UNMATCHED,
    BreakerMiddleware,
    RouteKeys,
    exempt,
    guarded_keys,
    keyed,
)

pytestmark = pytest.mark.anyio

# Method and path, the key, the status.
ASKED: list[tuple[str, str, str | None, int | None]] = [
    ("GET", "/", "GET /", 200),
    ("HEAD", "/", UNMATCHED, 404),
    ("GET", "/orders", "GET /orders", 200),
    ("GET", "/orders/", "GET /orders", 200),
    ("GET", "/ORDERS", "GET /orders", 200),
    ("POST", "/orders", "POST /orders", 200),
    ("HEAD", "/orders", "GET /orders", 200),
    ("DELETE", "/orders", UNMATCHED, 404),
    ("GET", "/orders/7", "GET /orders/{int:id}", 200),
    ("PUT", "/orders/7", "PUT /orders/{int:id}", 200),
    ("PATCH", "/orders/7", "PATCH /orders/{int:id}", 200),
    ("DELETE", "/orders/7", "DELETE /orders/{int:id}", 200),
    ("GET", "/orders/x", "GET /orders/{name}", 200),
    ("GET", "/orders/new", "GET /orders/new", 200),
    ("GET", "/orders/7/lines", "GET /orders/{int:id}/lines", 200),
    ("GET", "/orders/7/lines/a%20b", "GET /orders/{int:id}/lines/{code}", 200),
    ("GET", "/prices/1.5", "GET /prices/{float:price}", 200),
    ("GET", "/prices/x", UNMATCHED, 404),
    ("GET", "/jobs/12345678-1234-1234-1234-123456789abc", "GET /jobs/{uuid:job}", 200),
    ("GET", "/jobs/1", UNMATCHED, 404),
    ("GET", "/angle/1", "GET /angle/<int:id>", 200),
    ("GET", "/colon/1", "GET /colon/:id", 200),
    ("GET", "/files/a/b/c.txt", "GET /files/{path:rest}", 200),
    ("GET", "/all/a/b", "GET /all/*", 200),
    ("GET", "/shop/carts/3", "GET /shop/carts/{id}", 200),
    ("GET", "/internal", None, 200),
    ("GET", "/payments", "payments", 200),
    ("GET", "/static/page.txt", None, 200),
    ("GET", "/static/none.txt", None, 404),
    ("GET", "/child/items/7", "GET /child/items/{id}", 200),
    ("GET", "/child/nowhere", UNMATCHED, 404),
    ("GET", "/foreign/a/b", "GET /foreign/*", 200),
    ("BREW", "/foreign/a", "OTHER /foreign/*", 200),
    ("GET", "/left/out", None, 200),
    ("GET", "/nowhere", UNMATCHED, 404),
    ("WS", "/chat", "WS /chat", None),
    ("WS", "/chat/7", "WS /chat/{room}", None),
    ("WS", "/nowhere", UNMATCHED, 403),
    ("GET", "/chat", "GET /chat", 200),
]


async def ok(request: Request) -> Response:
    return text("ok")


async def foreign(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"foreign"})


@exempt
async def left_out(scope: Any, receive: Any, send: Any) -> None:
    await foreign(scope, receive, send)


def application(folder: Path) -> Any:
    (folder / "page.txt").write_text("static")
    shop = Router(prefix="/shop")
    shop.add_get("/carts/{id}", ok)
    router = Router(sub_routers=[shop])
    app = Application(router=router)
    for pattern in [
        "/",
        "/orders",
        "/orders/{int:id}",
        "/orders/{name}",
        "/orders/new",
        "/orders/{int:id}/lines",
        "/orders/{int:id}/lines/{code}",
        "/prices/{float:price}",
        "/jobs/{uuid:job}",
        "/angle/<int:id>",
        "/colon/:id",
        "/files/{path:rest}",
        "/all/*",
        "/chat",
        "/health",
    ]:
        router.add_get(pattern, ok)
    router.add_post("/orders", ok)
    router.add_head("/orders", ok)
    for add in (router.add_put, router.add_patch, router.add_delete):
        add("/orders/{int:id}", ok)
    add_handlers(router)
    app.serve_files(folder, root_path="/static", extensions={".txt"})
    child = Application(router=Router())
    child.router.add_get("/items/{id}", ok)
    app.mount("/child", child)
    app.mount("/foreign", foreign)
    app.mount("/left", left_out)
    return app


def add_handlers(router: Router) -> None:
    @router.get("/internal")
    @exempt
    def internal() -> str:
        return "internal"

    @router.get("/payments")
    @keyed("payments")
    async def payments(name: str = "you") -> str:
        return name

    @router.ws("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()

    @router.ws("/chat/{room}")
    async def room(websocket: WebSocket, room: str) -> None:
        await websocket.accept()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # BlackSheep runs on asyncio alone


@pytest.fixture(params=["plain", "with middleware"])
async def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    app = application(tmp_path)
    if request.param == "with middleware":

        async def passing(request: Request, handler: Any) -> Response:
            response: Response = await handler(request)
            return response

        app.middlewares.append(passing)
        app.middlewares.append(passing)
    await app.start()
    return app


@pytest.fixture
def app(inside: Any, registry: Registry) -> Any:
    return BreakerMiddleware(inside, registry)


async def test_the_key_of_each_request(app: Any, registry: Registry) -> None:
    for _ in range(2):  # the second time from the cache
        asked = [
            (method, path, await meet(app, registry, method, path)) for method, path, _, _ in ASKED
        ]

        assert [(*request, met.key, met.status) for *request, met in asked] == [
            (method, path, None if key == UNMATCHED else key, status)
            for method, path, key, status in ASKED
        ]


async def test_the_router_answers_for_a_scope_alone(inside: Any) -> None:
    keys = RouteKeys(inside)

    for method, path, key, _ in ASKED:
        more = {"type": "websocket"} if method == "WS" else {}
        assert keys(scope_of(path, method, **more)) == key, (method, path)


async def test_an_escaped_slash_is_none(registry: Registry) -> None:
    inner = Application(router=Router())
    inner.router.add_get("/orders/{name}", ok)
    inner.router.add_get("/orders/{name}/{line}", ok)
    await inner.start()
    app = BreakerMiddleware(inner, registry)

    # The path of both is the same once it is decoded.
    escaped = await meet(app, registry, "GET", "/orders/a/b", raw_path=b"/orders/a%2Fb")
    plain = await meet(app, registry, "GET", "/orders/a/b")

    assert (escaped.key, plain.key) == ("GET /orders/{name}", "GET /orders/{name}/{line}")


async def test_below_a_mount_point_the_pattern_is_the_same(
    tmp_path: Path, registry: Registry
) -> None:
    # Without mounts of its own: BlackSheep compares those with the whole path.
    inner = Application(router=Router())
    inner.router.add_get("/orders/{id}", ok)
    await inner.start()
    app = BreakerMiddleware(inner, registry)

    met = await meet(app, registry, "GET", "/api/orders/7", root_path="/api")

    assert (met.status, met.key) == (200, "GET /orders/{id}")


async def test_the_first_request_starts_the_application_and_has_no_key(
    tmp_path: Path, registry: Registry
) -> None:
    """Where the server sends no lifespan events."""
    app = BreakerMiddleware(application(tmp_path), registry)

    first = await meet(app, registry, "GET", "/orders")
    second = await meet(app, registry, "GET", "/orders")

    assert (first.status, first.key) == (200, None)
    assert (second.status, second.key) == (200, "GET /orders")


async def test_routes_that_differ_by_a_filter_have_keys_of_their_own(registry: Registry) -> None:
    first = Router(prefix="/v", headers={"X-Version": "1"})
    first.add_get("/one/{id}", ok)
    second = Router(prefix="/v", params={"version": "2"})
    second.add_get("/{kind}/{id}", ok)
    inner = Application(router=Router(sub_routers=[first, second]))
    await inner.start()
    app = BreakerMiddleware(inner, registry)

    header = [(b"x-version", b"1")]
    one = await meet(app, registry, "GET", "/v/one/7", headers=header)
    two = await meet(app, registry, "GET", "/v/one/7", query_string=b"version=2")
    none = await meet(app, registry, "GET", "/v/one/7")

    assert (one.key, two.key, none.key) == ("GET /v/one/{id}", "GET /v/{kind}/{id}", None)


async def test_a_fallback_of_the_user_is_no_route(registry: Registry) -> None:
    inner = Application(router=Router())
    inner.router.fallback = ok
    await inner.start()
    app = BreakerMiddleware(inner, registry)

    met = await meet(app, registry, "GET", "/nowhere")

    assert (met.status, met.key) == (200, None)


async def test_an_open_breaker_refuses_its_route_alone(app: Any, registry: Registry) -> None:
    open_breaker(registry["GET /orders/{int:id}"])

    assert (await meet(app, registry, "GET", "/orders/8")).status == 503
    assert (await meet(app, registry, "GET", "/orders")).status == 200
    assert registry["GET /orders/{int:id}"].state is State.OPEN


async def test_the_keys_are_known_when_it_has_started(app: Any, registry: Registry) -> None:
    keys = guarded_keys(app)[registry]

    # What is mounted and foreign takes any method, so that not all of its keys are known.
    asked = {key for _, _, key, _ in ASKED if key is not None and key != UNMATCHED}
    assert {key for key in asked if not key.startswith("OTHER")} <= keys
    assert not any("static" in key or key.endswith(("/internal", "/health")) for key in keys)


async def test_a_pattern_that_matches_no_route_is_logged(
    inside: Any, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    app = BreakerMiddleware(inside, registry, exempt=["/orders/*", "/foreign/a", "/oders/*"])

    with caplog.at_level(logging.WARNING, "recloser"):
        exempted = await meet(app, registry, "GET", "/orders/7")
        await meet(app, registry, "GET", "/orders")

    assert exempted.key is None
    assert [each.getMessage() for each in caplog.records if each.name == "recloser"] == [
        "exempt: '/oders/*' matches no route of this application"
    ]


@pytest.mark.parametrize("wrong", [object(), print, None])
def test_what_is_no_blacksheep_application_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"app must be a blacksheep.Application"):
        BreakerMiddleware(wrong)
