"""Quart: which key a request gets. What holds for every framework is in tests/contract."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.support.asgi_scope import scope_of
from tests.support.asked_keys import meet

from recloser import Registry, State
from recloser.testing import open_breaker

pytest.importorskip("quart")

from quart import Blueprint, Quart, websocket
from quart.views import MethodView, View

from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.quart import (
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
    ("HEAD", "/", "GET /", 200),
    ("GET", "/orders", "GET /orders", 200),
    ("POST", "/orders", "POST /orders", 200),
    ("DELETE", "/orders", UNMATCHED, 405),
    ("GET", "/orders/7", "GET /orders/<int:id>", 200),
    ("PUT", "/orders/7", "PUT /orders/<int:id>", 200),
    ("PATCH", "/orders/7", "PATCH /orders/<int:id>", 200),
    ("DELETE", "/orders/7", "DELETE /orders/<int:id>", 200),
    ("GET", "/orders/new", "GET /orders/<name>", 200),
    ("GET", "/orders/7/lines", "GET /orders/<int:id>/lines", 200),
    ("GET", "/orders/7/lines/a%b", "GET /orders/<int:id>/lines/<code>", 200),
    ("GET", "/prices/1.5", "GET /prices/<float:price>", 200),
    ("GET", "/prices/x", UNMATCHED, 404),
    ("GET", "/jobs/12345678-1234-1234-1234-123456789abc", "GET /jobs/<uuid:job>", 200),
    ("GET", "/jobs/1", UNMATCHED, 404),
    ("GET", "/any/red", "GET /any/<any(red,blue):colour>", 200),
    ("GET", "/files/a/b/c.txt", "GET /files/<path:rest>", 200),
    ("GET", "/files/", UNMATCHED, 404),
    ("GET", "/folder/", "GET /folder/", 200),
    ("GET", "/folder", UNMATCHED, 308),
    ("GET", "/exact", "GET /exact", 200),
    ("GET", "/exact/", UNMATCHED, 404),
    ("GET", "/loose/", "GET /loose", 200),
    ("GET", "/ünï", "GET /ünï", 200),
    ("GET", "/shop/carts/3", "GET /shop/carts/<int:id>", 200),
    ("GET", "/shop/inner/x", "GET /shop/inner/<slug>", 200),
    ("GET", "/view", "GET /view", 200),
    ("GET", "/methods/1", "GET /methods/<int:id>", 200),
    ("HEAD", "/methods/1", "GET /methods/<int:id>", 200),
    ("POST", "/methods/1", "shared", 200),
    ("DELETE", "/methods/1", None, 200),
    ("PUT", "/methods/1", UNMATCHED, 405),
    ("GET", "/internal", None, 200),
    ("GET", "/payments", "payments", 200),
    ("GET", "/static/page.txt", None, 200),
    ("GET", "/shop/static/page.txt", None, 200),
    ("GET", "/nowhere", UNMATCHED, 404),
    ("WS", "/chat", "WS /chat", None),
    ("WS", "/chat/7", "WS /chat/<int:room>", None),
    ("WS", "/nowhere", UNMATCHED, 403),
    ("GET", "/chat", "GET /chat", 200),
]
# By the default patterns, whatever their route is.
EXEMPT: list[tuple[str, str, str]] = [
    ("GET", "/health", "GET /health"),
    ("OPTIONS", "/", "OPTIONS /"),
]


async def ok(**parts: Any) -> str:
    return "ok"


def application(folder: Path) -> Any:
    (folder / "page.txt").write_text("static")
    app = Quart("routes", static_folder=str(folder), static_url_path="/static")
    add = app.add_url_rule
    add("/", "home", ok)
    add("/orders", "orders", ok, methods=["GET", "POST"])
    add("/orders/<int:id>", "order", ok, methods=["GET", "PUT", "PATCH", "DELETE"])
    for number, rule in enumerate(
        [
            "/orders/<name>",
            "/orders/<int:id>/lines",
            "/orders/<int:id>/lines/<code>",
            "/prices/<float:price>",
            "/jobs/<uuid:job>",
            "/any/<any(red,blue):colour>",
            "/files/<path:rest>",
            "/folder/",
            "/exact",
            "/ünï",
            "/chat",
            "/health",
        ]
    ):
        add(rule, f"plain{number}", ok)
    add("/loose", "loose", ok, strict_slashes=False)
    add_views(app)
    app.register_blueprint(shop(folder))
    return app


def add_views(app: Any) -> None:
    class Page(View):
        async def dispatch_request(self, **parts: Any) -> str:  # type: ignore[override]
            return "page"

    class Methods(MethodView):
        async def get(self, id: int) -> str:  # noqa: A002 - the rule's own name
            return "get"

        @keyed("shared")
        async def post(self, id: int) -> str:  # noqa: A002
            return "post"

        @exempt
        async def delete(self, id: int) -> str:  # noqa: A002
            return "delete"

    app.add_url_rule("/view", view_func=Page.as_view("page"))
    app.add_url_rule("/methods/<int:id>", view_func=Methods.as_view("methods"))

    @app.get("/internal")
    @exempt
    async def internal() -> str:
        return "internal"

    @app.get("/payments")
    @keyed("payments")
    async def payments() -> str:
        return "payments"

    @app.websocket("/chat")
    async def live() -> None:
        await websocket.accept()

    @app.websocket("/chat/<int:room>")
    async def room(room: int) -> None:
        await websocket.accept()


def shop(folder: Path) -> Any:
    shop = Blueprint(
        "shop", "shop", url_prefix="/shop", static_folder=str(folder), static_url_path="/static"
    )
    shop.add_url_rule("/carts/<int:id>", "cart", ok)
    inner = Blueprint("inner", "inner", url_prefix="/inner")
    inner.add_url_rule("/<slug>", "slug", ok)
    shop.register_blueprint(inner)
    return shop


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # Quart runs on asyncio alone


@pytest.fixture
def app(tmp_path: Path, registry: Registry) -> Any:
    app = application(tmp_path)
    app.asgi_app = BreakerMiddleware(app.asgi_app, registry)
    return app


async def test_the_key_of_each_request(app: Any, registry: Registry) -> None:
    for _ in range(2):  # the second time from the cache
        asked = [
            (method, path, await meet(app, registry, method, path)) for method, path, _, _ in ASKED
        ]

        assert [(*request, met.key, met.status) for *request, met in asked] == [
            (method, path, None if key == UNMATCHED else key, status)
            for method, path, key, status in ASKED
        ]


async def test_the_router_answers_for_a_scope_alone(app: Any) -> None:
    keys = RouteKeys(app)

    for method, path, key, _ in ASKED:
        more = {"type": "websocket", "scheme": "ws"} if method == "WS" else {"scheme": "http"}
        assert keys(scope_of(path, method, **more)) == key


@pytest.mark.parametrize(("method", "path", "key"), EXEMPT)
async def test_what_is_exempt_by_default_has_a_key_all_the_same(
    app: Any, registry: Registry, method: str, path: str, key: str
) -> None:
    met = await meet(app, registry, method, path)

    assert (met.status, met.key) == (200, None)
    assert RouteKeys(app)(scope_of(path, method, scheme="http")) == key


def scheme(method: str) -> dict[str, str]:
    return {"type": "websocket", "scheme": "ws"} if method == "WS" else {"scheme": "http"}


async def test_below_a_mount_point_the_rule_is_the_same(app: Any, registry: Registry) -> None:
    met = await meet(app, registry, "GET", "/mounted/orders/7", root_path="/mounted")
    outside = await meet(app, registry, "GET", "/orders/7", root_path="/mounted")

    assert (met.status, met.key) == (200, "GET /orders/<int:id>")
    assert (outside.status, outside.key) == (404, None)


async def test_hosts_and_subdomains_are_part_of_the_key(registry: Registry) -> None:
    app: Any = Quart("hosts", host_matching=True, static_folder=None)
    for host in ("a.example", "b.example"):
        app.add_url_rule("/x", f"x-{host}", ok, host=host)
    guarded = BreakerMiddleware(app, registry)

    for host in ("a.example", "b.example", "a.example"):
        met = await meet(guarded, registry, "GET", "/x", headers=[(b"host", host.encode())])
        assert met.key == f"GET {host}/x"


async def test_an_open_breaker_refuses_its_rule_alone(app: Any, registry: Registry) -> None:
    open_breaker(registry["GET /orders/<int:id>"])

    refused = await meet(app, registry, "GET", "/orders/8")
    other = await meet(app, registry, "GET", "/orders")

    assert refused.status == 503
    assert other.status == 200
    assert registry["GET /orders/<int:id>"].state is State.OPEN


def test_the_keys_are_known_before_the_first_request(app: Any, registry: Registry) -> None:
    keys = guarded_keys(app)[registry]

    assert {key for _, _, key, _ in ASKED if key not in (None, UNMATCHED)} <= keys
    assert "GET /health" not in keys
    assert known_keys(app) == known_keys(app.test_client()) == {registry: keys}
    assert not any("static" in key or key.endswith("/internal") for key in keys)


async def test_a_pattern_that_matches_no_rule_is_logged(
    tmp_path: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    app = BreakerMiddleware(application(tmp_path), registry, exempt=["/orders/*", "/oders/*"])

    with caplog.at_level(logging.WARNING, "recloser"):
        exempted = await meet(app, registry, "GET", "/orders/7")
        await meet(app, registry, "GET", "/orders")

    assert exempted.key is None
    assert [record.getMessage() for record in caplog.records] == [
        "exempt: '/oders/*' matches no route of this application"
    ]


@pytest.mark.parametrize("wrong", [object(), print, None])
def test_what_is_no_quart_application_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match="app must be a Quart application"):
        BreakerMiddleware(wrong)


async def test_any_application_can_have_keys_of_the_user(registry: Registry) -> None:
    app = BreakerMiddleware(Quart("plain").asgi_app, registry, key=lambda scope: "mine")

    assert (await meet(app, registry, "GET", "/nowhere")).key == "mine"
    assert app.keys is None
    assert guarded_keys(app) == {registry: set()}
