"""aiohttp.web: the key of each route, seen by requesting it from a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from aiohttp import web

from recloser import Registry
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.aiohttp_web import (
    UNMATCHED,
    BreakerMiddleware,
    exempt,
    guarded_keys,
    keyed,
)

Serve = Callable[..., Any]


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="ok")


class View(web.View):
    async def get(self) -> web.Response:
        return web.Response(text="ok")

    async def post(self) -> web.Response:
        return web.Response(text="ok")

    @exempt
    async def put(self) -> web.Response:
        return web.Response(text="ok")


@keyed("reports")
class Reports(View):
    pass


@exempt
async def free(request: web.Request) -> web.Response:
    return web.Response(text="ok")


@keyed("payments")
async def paid(request: web.Request) -> web.Response:
    return web.Response(text="ok")


TEMPLATES = [
    "/",
    "/orders/{id}",
    "/orders/{id}/lines",
    "/orders/{id}/lines/{line}",
    r"/years/{year:\d{4}}",
    r"/prices/{amount:[0-9.]+}",
    "/users/{name}",
    "/users/{name}/",
    "/rest/{tail:.*}",
    "/letters/{x}",
    "/dots.{ext}",
    "/range/{a}-{b}",
    "/deep/{a}/{b}/{c}",
]


def make_app(registry: Registry, **options: Any) -> web.Application:
    app = web.Application(middlewares=[BreakerMiddleware(registry, **options)])
    for template in TEMPLATES:
        app.router.add_get(template, answer)
    app.router.add_post("/orders/{id}", answer)
    app.router.add_delete("/orders/{id}", answer)
    app.router.add_put("/only", answer)
    app.router.add_get("/no-head", answer, allow_head=False)
    app.router.add_route("*", "/any/{x}", answer)
    app.router.add_view("/view/{x}", View)
    app.router.add_view("/reports/{x}", Reports)
    app.router.add_get("/free/{x}", free)
    app.router.add_get("/paid/{x}", paid)
    app.router.add_static("/files", Path(__file__).parent)
    routes = web.RouteTableDef()
    routes.get("/table/{x}")(answer)
    app.add_routes(routes)
    admin, users = web.Application(), web.Application()
    users.router.add_get("/{id}", answer)
    admin.router.add_get("/", answer)
    admin.add_subapp("/users", users)
    app.add_subapp("/admin", admin)
    for domain in ("api.example.com", "*.shop.com"):
        inner = web.Application()
        inner.router.add_get("/hosted/{id}", answer)
        app.add_domain(domain, inner)
    return app


CASES = [
    ("GET", "/", "", "GET /"),
    ("GET", "/orders/7", "", "GET /orders/{id}"),
    ("HEAD", "/orders/7", "", "GET /orders/{id}"),
    ("POST", "/orders/7", "", "POST /orders/{id}"),
    ("DELETE", "/orders/7", "", "DELETE /orders/{id}"),
    ("GET", "/orders/7/lines", "", "GET /orders/{id}/lines"),
    ("GET", "/orders/7/lines/8", "", "GET /orders/{id}/lines/{line}"),
    ("GET", "/years/1999", "", "GET /years/{year}"),
    ("GET", "/prices/1.5", "", "GET /prices/{amount}"),
    ("GET", "/users/anna", "", "GET /users/{name}"),
    ("GET", "/users/anna/", "", "GET /users/{name}/"),
    ("GET", "/rest/a/b/c", "", "GET /rest/{tail}"),
    ("GET", "/rest/", "", "GET /rest/{tail}"),
    ("GET", "/letters/ß", "", "GET /letters/{x}"),
    ("GET", "/dots.json", "", "GET /dots.{ext}"),
    ("GET", "/range/1-2", "", "GET /range/{a}-{b}"),
    ("GET", "/deep/1/2/3", "", "GET /deep/{a}/{b}/{c}"),
    ("PUT", "/only", "", "PUT /only"),
    ("GET", "/no-head", "", "GET /no-head"),
    ("GET", "/any/1", "", "GET /any/{x}"),
    ("PATCH", "/any/1", "", "PATCH /any/{x}"),
    ("PROPFIND", "/any/1", "", "OTHER /any/{x}"),
    ("GET", "/view/1", "", "GET /view/{x}"),
    ("POST", "/view/1", "", "POST /view/{x}"),
    ("GET", "/reports/1", "", "reports"),
    ("GET", "/paid/1", "", "payments"),
    ("GET", "/table/1", "", "GET /table/{x}"),
    ("GET", "/admin/", "", "GET /admin/"),
    ("GET", "/admin/users/7", "", "GET /admin/users/{id}"),
    ("GET", "/hosted/7", "api.example.com", "GET api.example.com/hosted/{id}"),
    ("GET", "/hosted/7", "a.shop.com", "GET *.shop.com/hosted/{id}"),
]
UNGUARDED = [
    ("GET", "/free/1", 200),
    ("PUT", "/view/1", 200),
    ("GET", f"/files/{Path(__file__).name}", 200),
    ("GET", "/files/none", 404),
    ("GET", "/none", 404),
    ("DELETE", "/only", 405),
    ("HEAD", "/no-head", 405),
    ("GET", "/years/99", 404),
    ("GET", "/admin/none", 404),
    ("POST", "/admin/users/7", 405),
    ("OPTIONS", "/any/1", 200),
    ("GET", "/health", 404),
]


def test_each_route_has_its_own_breaker(serve: Serve, registry: Registry) -> None:
    async def play(client: Any) -> None:
        for method, path, host, key in CASES:
            before = registry[key].metrics().successes
            response = await client.request(method, path, headers={"Host": host} if host else {})

            assert response.status == 200, path
            assert registry[key].metrics().successes == before + 1, path

    serve(make_app(registry), play)

    assert {breaker.key for breaker in registry.breakers()} == {key for *_, key in CASES}
    assert registry.faults == 0


def test_what_matches_no_route_or_is_exempt_has_no_breaker(
    serve: Serve, registry: Registry
) -> None:
    async def play(client: Any) -> None:
        for method, path, status in UNGUARDED:
            assert (await client.request(method, path)).status == status, path

    serve(make_app(registry), play)

    assert registry.breakers() == []
    assert registry.faults == 0


def test_the_keys_are_known_before_the_first_request(registry: Registry) -> None:
    [keys] = guarded_keys(make_app(registry)).values()

    assert {key for method, _, _, key in CASES if method in ("GET", "POST", "DELETE")} <= (
        keys | {"POST /view/{x}"}  # a view answers any method
    )
    assert UNMATCHED not in keys


def test_a_guard_in_a_sub_application_has_the_whole_template(
    serve: Serve, registry: Registry
) -> None:
    app = web.Application()
    inner = web.Application(middlewares=[BreakerMiddleware(registry)])
    inner.router.add_get("/users/{id}", answer)
    app.add_subapp("/admin", inner)
    app.router.add_get("/other", answer)

    async def play(client: Any) -> None:
        assert (await client.get("/admin/users/7")).status == 200
        assert (await client.get("/other")).status == 200

    serve(app, play)

    assert [breaker.key for breaker in registry.breakers()] == ["GET /admin/users/{id}"]
    assert guarded_keys(app) == {registry: {"GET /admin/users/{id}"}}


def test_a_pattern_that_matches_no_route_is_told(
    serve: Serve, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(registry, exempt=["/orders/*", "/ordres/*"])

    serve(app, lambda client: client.get("/"))

    assert [record.args for record in caplog.records if record.name == "recloser"] == [
        ("/ordres/*",)
    ]


def test_a_key_function_and_an_exempt_function_get_the_request(
    serve: Serve, registry: Registry
) -> None:
    app = make_app(
        registry,
        key=lambda request: request.headers.get("X-Tenant"),
        exempt=lambda request: request.query.get("free") == "1",
    )

    async def play(client: Any) -> None:
        await client.get("/", headers={"X-Tenant": "one"})
        await client.get("/?free=1", headers={"X-Tenant": "one"})
        await client.get("/")

    serve(app, play)

    assert registry["one"].metrics().calls == 1
    assert len(registry.breakers()) == 1
    assert registry.faults == 0


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("key", "app", TypeError),
        ("key", answer, TypeError),
        ("classify", 500, TypeError),
        ("on_refuse", "later", TypeError),
        ("exempt", "/static/*", TypeError),
        ("exempt", ["static/*"], ValueError),
        ("mode", "lenient", ValueError),
        ("registry", {}, TypeError),
        ("cut_off", 1, TypeError),
    ],
)
def test_a_mistake_in_the_set_up_is_an_error_at_once(
    option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=value if option == "mode" else option):
        BreakerMiddleware(**{option: value})


def test_the_pytest_plugin_knows_the_keys(registry: Registry) -> None:
    app = make_app(registry)

    assert known_keys(app) == guarded_keys(app)
    assert len(known_keys(app)[registry]) > 20
