"""Litestar: which key a request gets. What holds for every framework is in tests/contract."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support.asgi_scope import scope_of
from tests.support.asked_keys import meet
from tests.support.breaker_state import votes
from tests.support.waiting import until

from recloser import Outcome, Registry, State
from recloser.fleet import MemoryData, MemoryStore
from recloser.testing import open_breaker

pytest.importorskip("litestar")

from litestar import (
    Controller,
    HttpMethod,
    Litestar,
    Router,
    WebSocket,
    asgi,
    delete,
    get,
    post,
    route,
    websocket,
)
from litestar.config.cors import CORSConfig
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath
from litestar.static_files import create_static_files_router

from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.litestar import (
    UNMATCHED,
    BreakerMiddleware,
    BreakerPlugin,
    RouteKeys,
    exempt,
    guarded_keys,
    keyed,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]

# Method and path, the key, the status.
ASKED: list[tuple[str, str, str | None, int | None]] = [
    ("GET", "/", "GET /", 200),
    ("GET", "/orders", "GET /orders", 200),
    ("GET", "/orders/", "GET /orders", 200),
    ("GET", "//orders", "GET /orders", 200),
    ("POST", "/orders", "POST /orders", 201),
    ("DELETE", "/orders", UNMATCHED, 405),
    ("HEAD", "/orders", UNMATCHED, 405),
    ("GET", "/orders/7", "GET /orders/{oid}", 200),
    ("PUT", "/orders/7", "PUT /orders/{oid}", 200),
    ("PATCH", "/orders/7", "PATCH /orders/{oid}", 200),
    ("DELETE", "/orders/7", "DELETE /orders/{oid}", 204),
    ("GET", "/orders/x", UNMATCHED, 404),
    ("GET", "/orders/7/lines", "GET /orders/{oid}/lines", 200),
    ("GET", "/orders/7/lines/a", "GET /orders/{oid}/lines/{code}", 200),
    ("GET", "/orders/new", "GET /orders/new", 200),
    ("GET", "/prices/1.5", "GET /prices/{price}", 200),
    ("GET", "/prices/x", UNMATCHED, 404),
    ("GET", "/jobs/12345678-1234-1234-1234-123456789abc", "GET /jobs/{job}", 200),
    ("GET", "/files/a/b/c.txt", "GET /files/{rest}", 200),
    ("GET", "/first", "GET /first", 200),
    ("GET", "/second", "GET /second", 200),
    ("GET", "/shop/carts", "GET /shop/carts", 200),
    ("GET", "/shop/carts/3", "GET /shop/carts/{cart}", 200),
    ("POST", "/shop/carts/3", "shared", 201),
    ("DELETE", "/shop/carts/3", None, 204),
    ("GET", "/internal", None, 200),
    ("GET", "/payments", "payments", 200),
    ("GET", "/mounted", "GET /mounted/{path}", 200),
    ("GET", "/mounted/a/b", "GET /mounted/{path}", 200),
    ("PUT", "/mounted/a", "PUT /mounted/{path}", 200),
    ("BREW", "/mounted/a", "OTHER /mounted/{path}", 200),
    ("GET", "/also/a", "GET /also/{path}", 200),
    ("GET", "/left/out", None, 200),
    ("GET", "/plain-asgi", "GET /plain-asgi", 200),
    ("GET", "/static/page.txt", None, 200),
    ("GET", "/nowhere", UNMATCHED, 404),
    ("WS", "/chat", "WS /chat", None),
    ("WS", "/chat/7", "WS /chat/{room}", None),
    ("WS", "/nowhere", UNMATCHED, 403),
    ("GET", "/chat", "GET /chat", 200),
    ("GET", "/schema/openapi.json", "GET /schema/openapi.json", 200),
]


def handler_of(path: str) -> Any:
    async def handler() -> str:
        return "ok"

    return handler


@route(
    "/orders/{oid:int}",
    http_method=[HttpMethod.GET, HttpMethod.PUT, HttpMethod.PATCH],
    status_code=200,
)
async def order(oid: FromPath[int]) -> str:
    return "order"


@delete("/orders/{oid:int}")
async def drop_order(oid: FromPath[int]) -> None:
    return None


@get(["/first", "/second"])
async def two_paths() -> str:
    return "two"


@post("/orders")
async def add_order() -> str:
    return "added"


class Carts(Controller):
    path = "/carts"

    @get()
    async def all(self) -> str:
        return "all"

    @get("/{cart:int}")
    async def one(self, cart: FromPath[int]) -> str:
        return "one"

    @post("/{cart:int}")
    @keyed("shared")
    async def fill(self, cart: FromPath[int]) -> str:
        return "filled"

    @delete("/{cart:int}")
    @exempt
    async def drop(self, cart: FromPath[int]) -> None:
        return None


@get("/internal")
@exempt
async def internal() -> str:
    return "internal"


@get("/payments")
@keyed("payments")
async def payments() -> str:
    return "payments"


@get("/jobs/{job:uuid}")
async def job(job: FromPath[UUID]) -> str:
    return "job"


@get("/files/{rest:path}")
async def files(rest: FromPath[Path]) -> str:
    return "file"


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


@asgi(["/mounted", "/also"], is_mount=True, copy_scope=True)
async def mounted(scope: Any, receive: Any, send: Any) -> None:
    await plain(scope, receive, send)


@asgi("/left", is_mount=True, copy_scope=True)
@exempt
async def left_out(scope: Any, receive: Any, send: Any) -> None:
    await plain(scope, receive, send)


@asgi("/plain-asgi", copy_scope=True)
async def not_mounted(scope: Any, receive: Any, send: Any) -> None:
    await plain(scope, receive, send)


@websocket("/chat")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()


@websocket("/chat/{room:int}")
async def room(socket: WebSocket[Any, Any, Any], room: FromPath[int]) -> None:
    await socket.accept()


def handlers(folder: Path) -> list[Any]:
    (folder / "page.txt").write_text("static")
    paths = ["/", "/orders", "/orders/new", "/chat", "/health"]
    with_parameters = [
        "/orders/{oid:int}/lines",
        "/orders/{oid:int}/lines/{code:str}",
        "/prices/{price:float}",
    ]
    return [
        *(get(path)(handler_of(path)) for path in [*paths, *with_parameters]),
        order,
        drop_order,
        two_paths,
        add_order,
        Router("/shop", route_handlers=[Carts]),
        internal,
        payments,
        job,
        files,
        mounted,
        left_out,
        not_mounted,
        chat,
        room,
        create_static_files_router("/static", directories=[folder]),
    ]


def application(folder: Path, **options: Any) -> Any:
    return Litestar(handlers(folder), logging_config=None, **options)


@pytest.fixture(params=["plugin", "outside"])
def app(request: pytest.FixtureRequest, tmp_path: Path, registry: Registry) -> Any:
    if request.param == "plugin":
        return application(tmp_path, plugins=[BreakerPlugin(registry)])
    return BreakerMiddleware(application(tmp_path), registry)


async def test_the_key_of_each_request(app: Any, registry: Registry) -> None:
    for _ in range(2):  # the second time from the cache
        asked = [
            (method, path, await meet(app, registry, method, path)) for method, path, _, _ in ASKED
        ]

        assert [(*request, met.key, met.status) for *request, met in asked] == [
            (method, path, None if key == UNMATCHED else key, status)
            for method, path, key, status in ASKED
        ]


async def test_the_router_answers_for_a_scope_alone(tmp_path: Path) -> None:
    keys = RouteKeys(application(tmp_path))

    for method, path, key, _ in ASKED:
        more = {"type": "websocket"} if method == "WS" else {}
        assert keys(scope_of(path, method, **more)) == key


async def test_below_a_mount_point_the_template_is_the_same(app: Any, registry: Registry) -> None:
    met = await meet(app, registry, "GET", "/api/orders/7", root_path="/api")

    assert (met.status, met.key) == (200, "GET /orders/{oid}")


async def test_an_open_breaker_refuses_its_route_alone(app: Any, registry: Registry) -> None:
    open_breaker(registry["GET /orders/{oid}"])

    assert (await meet(app, registry, "GET", "/orders/8")).status == 503
    assert (await meet(app, registry, "GET", "/orders")).status == 200
    assert registry["GET /orders/{oid}"].state is State.OPEN


async def test_the_keys_are_known_before_the_first_request(app: Any, registry: Registry) -> None:
    keys = guarded_keys(app)[registry]
    assert known_keys(app) == {registry: keys}

    asked = {key for _, _, key, _ in ASKED if key is not None and key != UNMATCHED}
    # A mount takes any method, so that those of its keys are not known.
    assert {key for key in asked if not key.startswith(("OTHER", "PUT /mounted"))} <= keys
    assert not any("static" in key or key.endswith(("/internal", "/health")) for key in keys)


async def test_a_refusal_has_the_headers_of_cors(tmp_path: Path, registry: Registry) -> None:
    app = application(
        tmp_path,
        cors_config=CORSConfig(["https://shop.example"]),
        plugins=[BreakerPlugin(registry)],
    )
    open_breaker(registry["GET /orders"])
    from tests.support.asgi_client import Exchange

    answer = await Exchange("GET", "/orders", ((b"origin", b"https://shop.example"),)).run(app)

    assert answer.status == 503
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


class Login:
    """A middleware that lets nobody in."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotAuthorizedException("who are you?")


@pytest.mark.parametrize(
    ("classify", "counted"),
    [(None, {"ignored": 1}), (lambda status: Outcome.FAILURE, {"failures": 1})],
)
async def test_a_status_that_another_middleware_raises_counts_as_that(
    tmp_path: Path, registry: Registry, classify: Any, counted: dict[str, int]
) -> None:
    app = application(
        tmp_path, middleware=[Login], plugins=[BreakerPlugin(registry, classify=classify)]
    )

    met = await meet(app, registry, "GET", "/orders")

    assert (met.status, met.key) == (401, "GET /orders")
    assert votes(registry["GET /orders"].metrics()) == counted


async def test_one_controller_alone_can_be_guarded(registry: Registry) -> None:
    class Guarded(Carts):
        middleware = (DefineMiddleware(BreakerMiddleware, registry=registry),)

    app = Litestar([Guarded, two_paths], logging_config=None)

    assert (await meet(app, registry, "GET", "/carts/3")).key == "GET /carts/{cart}"
    assert (await meet(app, registry, "GET", "/first")).key is None


async def test_a_pattern_that_matches_no_route_is_logged(
    tmp_path: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(
        tmp_path, plugins=[BreakerPlugin(registry, exempt=iter(["/orders/*", "/oders/*"]))]
    )

    with caplog.at_level(logging.WARNING, "recloser"):
        exempted = await meet(app, registry, "GET", "/orders/7")
        await meet(app, registry, "GET", "/orders")

    assert exempted.key is None
    assert [each.getMessage() for each in caplog.records if each.name == "recloser"] == [
        "exempt: '/oders/*' matches no route of this application"
    ]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"registry": 1}, TypeError, "registry must be a Registry"),
        ({"mode": "loud"}, ValueError, "loud"),
        ({"exempt": "/health"}, TypeError, "exempt"),
        ({"cut_off": 1}, TypeError, "cut_off"),
    ],
)
async def test_a_wrong_argument_is_named_where_it_is_written(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        BreakerPlugin(**wrong)


async def test_keys_without_an_application_are_a_fault_and_not_an_error(registry: Registry) -> None:
    app = BreakerMiddleware(plain, registry)

    met = await meet(app, registry, "GET", "/orders")

    assert (met.status, met.keys) == (200, [])


async def test_when_the_app_shuts_down_the_fleet_is_left() -> None:
    registry = Registry(store=MemoryStore(MemoryData(time.monotonic)))
    fleet = registry.fleet
    assert fleet is not None
    app = Litestar([], plugins=[BreakerPlugin(registry)])
    registry["k"].acquire().success()
    until(lambda: fleet.is_connected, "it joins")
    messages = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": next(messages)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope: Any = {"type": "lifespan", "app": app, "state": {}}
    await app(scope, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not fleet.is_connected
