"""Falcon, WSGI and ASGI: which key a request gets. What holds for every framework is in
tests/contract.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.asgi_scope import scope_of
from tests.support.asked_keys import Met, meet, meet_wsgi

from recloser import Registry, State
from recloser.testing import open_breaker

pytest.importorskip("falcon")

import falcon
import falcon.asgi

from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.falcon import (
    UNMATCHED,
    AsgiBreakerMiddleware,
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
    ("GET", "/orders", "GET /orders", 200),
    ("POST", "/orders", "POST /orders", 200),
    ("HEAD", "/orders", UNMATCHED, 405),
    ("DELETE", "/orders", UNMATCHED, 405),
    ("BREW", "/orders", UNMATCHED, 400),
    ("WEBSOCKET", "/orders", UNMATCHED, 400),
    ("GET", "/orders/", UNMATCHED, 404),
    ("GET", "/orders/7", "GET /orders/{oid:int}", 200),
    ("HEAD", "/orders/7", "GET /orders/{oid:int}", 200),
    ("PUT", "/orders/7", "PUT /orders/{oid:int}", 200),
    ("PATCH", "/orders/7", "PATCH /orders/{oid:int}", 200),
    ("DELETE", "/orders/7", "DELETE /orders/{oid:int}", 200),
    ("GET", "/orders/x", UNMATCHED, 404),
    ("GET", "/orders/new", "GET /orders/new", 200),
    ("GET", "/orders/7/lines", "GET /orders/{oid:int}/lines", 200),
    ("GET", "/orders/7/lines/a", "GET /orders/{oid:int}/lines/{code}", 200),
    ("GET", "/prices/1.5", "GET /prices/{price:float}", 200),
    ("GET", "/prices/x", UNMATCHED, 404),
    ("GET", "/jobs/12345678-1234-1234-1234-123456789abc", "GET /jobs/{job:uuid}", 200),
    ("GET", "/jobs/1", UNMATCHED, 404),
    ("GET", "/compare/a...b", "GET /compare/{left}...{right}", 200),
    ("GET", "/days/2026-11-28", 'GET /days/{day:dt("%Y-%m-%d")}', 200),
    ("GET", "/files/a/b/c.txt", "GET /files/{rest:path}", 200),
    ("GET", "/suffix", "GET /suffix", 200),
    ("GET", "/suffix/1", "GET /suffix/{part}", 200),
    ("GET", "/ünï", "GET /ünï", 200),
    ("GET", "/internal", None, 200),
    ("POST", "/internal", None, 200),
    ("GET", "/payments", "payments", 200),
    ("POST", "/payments", "POST /payments", 200),
    ("GET", "/proxy/a/b", "GET /proxy*", 200),
    ("BREW", "/proxy/a", "OTHER /proxy*", 200),
    ("DELETE", "/proxy/a", "DELETE /proxy*", 200),
    ("GET", "/search/ddg", "GET /search/(?P<engine>ddg|y)$", 200),
    ("GET", "/search/else", UNMATCHED, 404),
    ("GET", "/left-out/a", None, 200),
    ("GET", "/static/page.txt", None, 200),
    ("GET", "/static/none.txt", None, 404),
    ("GET", "/nowhere", UNMATCHED, 404),
]
SOCKETS: list[tuple[str, str, str | None, int | None]] = [
    ("WS", "/chat", "WS /chat", None),
    ("WS", "/chat/7", "WS /chat/{room:int}", None),
    ("WS", "/orders", UNMATCHED, 403),
    ("WS", "/nowhere", UNMATCHED, 403),
]


class Anything:
    """A resource that answers GET, asynchronously or not."""

    def on_get(self, req: Any, resp: Any, **parts: Any) -> None:
        resp.text = "ok"


class Orders(Anything):
    def on_post(self, req: Any, resp: Any) -> None:
        resp.text = "added"


class Order(Anything):
    def on_get_lines(self, req: Any, resp: Any, **parts: Any) -> None:
        resp.text = "lines"

    on_put = on_patch = on_delete = on_head = Anything.on_get


class Suffixed:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "plain"

    def on_get_part(self, req: Any, resp: Any, part: str) -> None:
        resp.text = part


@exempt
class Internal(Anything):
    on_post = Anything.on_get


class Payments:
    @keyed("payments")
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "paid"

    def on_post(self, req: Any, resp: Any) -> None:
        resp.text = "paid"


def sink(req: Any, resp: Any, **parts: Any) -> None:
    resp.text = "sink"


@exempt
def left_out(req: Any, resp: Any, **parts: Any) -> None:
    resp.text = "sink"


def add_routes(app: Any, folder: Path, made: Any) -> None:
    """Add the same routes to an application of either kind; `made` adapts responders to it."""
    (folder / "page.txt").write_text("static")
    app.add_route("/orders", made(Orders))
    app.add_route("/orders/{oid:int}", made(Order))
    app.add_route("/orders/{oid:int}/lines", made(Order), suffix="lines")
    suffixed = made(Suffixed)
    app.add_route("/suffix", suffixed)
    app.add_route("/suffix/{part}", suffixed, suffix="part")
    app.add_route("/internal", made(Internal))
    app.add_route("/payments", made(Payments))
    for template in [
        "/",
        "/orders/new",
        "/orders/{oid:int}/lines/{code}",
        "/prices/{price:float}",
        "/jobs/{job:uuid}",
        "/compare/{left}...{right}",
        '/days/{day:dt("%Y-%m-%d")}',
        "/files/{rest:path}",
        "/ünï",
        "/health",
    ]:
        app.add_route(template, made(Anything))
    app.add_static_route("/static", str(folder))


def as_it_is(kind: type) -> Any:
    return kind()


def with_async_responders(kind: type) -> Any:
    """A resource whose responders are coroutine functions, as Falcon's ASGI wants them."""
    responders: dict[str, Any] = {
        name: in_a_task(getattr(kind, name)) for name in dir(kind) if name.startswith("on_")
    }
    return type(kind.__name__, (kind,), responders)()


def in_a_task(responder: Any) -> Any:
    async def run(*args: Any, **parts: Any) -> None:
        parts.pop("ws", None)
        responder(*args, **parts)

    run.__dict__.update(responder.__dict__)
    return run


class Chat:
    async def on_websocket(self, req: Any, ws: Any, **parts: Any) -> None:
        await ws.accept()


def wsgi_application(folder: Path) -> Any:
    app = falcon.App()
    add_routes(app, folder, as_it_is)
    app.add_sink(sink, "/proxy")
    app.add_sink(sink, re.compile("/search/(?P<engine>ddg|y)$"))
    app.add_sink(left_out, "/left-out/")
    return app


def asgi_application(folder: Path) -> Any:
    app = falcon.asgi.App()
    add_routes(app, folder, with_async_responders)
    app.add_sink(in_a_task(sink), "/proxy")
    app.add_sink(in_a_task(sink), re.compile("/search/(?P<engine>ddg|y)$"))
    app.add_sink(in_a_task(left_out), "/left-out/")
    app.add_route("/chat", Chat())
    app.add_route("/chat/{room:int}", Chat())
    return app


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # Falcon runs on asyncio alone


@pytest.fixture
def app(tmp_path: Path, registry: Registry) -> Any:
    return BreakerMiddleware(wsgi_application(tmp_path), registry)


@pytest.fixture
def asgi(tmp_path: Path, registry: Registry) -> Any:
    return AsgiBreakerMiddleware(asgi_application(tmp_path), registry)


def compared(asked: list[tuple[str, str, Met]]) -> list[tuple[str, str, str | None, int | None]]:
    return [(method, path, met.key, met.status) for method, path, met in asked]


def without_unmatched(rows: Any) -> list[tuple[str, str, str | None, int | None]]:
    return [(*row[:2], None if row[2] == UNMATCHED else row[2], row[3]) for row in rows]


def test_the_key_of_each_wsgi_request(app: Any, registry: Registry) -> None:
    for _ in range(2):  # the second time from the cache
        asked = [
            (method, path, meet_wsgi(app, registry, method, wsgi_path(path)))
            for method, path, _, _ in ASKED
        ]

        assert [(m, p, met.key, met.status) for m, p, met in asked] == without_unmatched(ASKED)


def wsgi_path(path: str) -> str:
    return path.encode().decode("latin-1")


async def test_the_key_of_each_asgi_request(asgi: Any, registry: Registry) -> None:
    rows = [*ASKED, *SOCKETS]
    for _ in range(2):
        asked = [
            (method, path, await meet(asgi, registry, method, path)) for method, path, _, _ in rows
        ]

        assert compared(asked) == without_unmatched(rows)


def test_the_router_answers_for_a_scope_alone(tmp_path: Path) -> None:
    keys = RouteKeys(asgi_application(tmp_path))

    for method, path, key, _ in [*ASKED, *SOCKETS]:
        more = {"type": "websocket"} if method == "WS" else {}
        assert keys(scope_of(path, method, **more)) == key


def test_the_option_for_the_last_slash_is_obeyed(tmp_path: Path, registry: Registry) -> None:
    falcon_app = wsgi_application(tmp_path)
    falcon_app.req_options.strip_url_path_trailing_slash = True
    app = BreakerMiddleware(falcon_app, registry)

    assert meet_wsgi(app, registry, "GET", "/orders/7/").key == "GET /orders/{oid:int}"
    assert meet_wsgi(app, registry, "GET", "/").key == "GET /"


def test_an_automatic_answer_to_options_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = RouteKeys(wsgi_application(tmp_path))

    assert keys(scope_of("/orders", "OPTIONS")) == "OPTIONS /orders"


def test_an_open_breaker_refuses_its_route_alone(app: Any, registry: Registry) -> None:
    open_breaker(registry["GET /orders/{oid:int}"])

    assert meet_wsgi(app, registry, "GET", "/orders/8").status == 503
    assert meet_wsgi(app, registry, "GET", "/orders").status == 200
    assert registry["GET /orders/{oid:int}"].state is State.OPEN


def test_the_keys_are_known_before_the_first_request(
    app: Any, asgi: Any, registry: Registry
) -> None:
    asked = {key for _, _, key, _ in ASKED if key not in (None, UNMATCHED)}
    sockets = {key for _, _, key, _ in SOCKETS if key not in (None, UNMATCHED)}

    # A sink takes any method, so that not all of its keys are known.
    asked.discard("OTHER /proxy*")
    assert asked <= guarded_keys(app)[registry]
    assert asked | sockets <= guarded_keys(asgi)[registry]
    assert known_keys(app) == guarded_keys(app)
    assert known_keys(asgi) == guarded_keys(asgi)
    assert not any(key.endswith(("/internal", "/health")) for key in guarded_keys(app)[registry])


def test_a_pattern_that_matches_no_route_is_logged(
    tmp_path: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    patterns = ["/orders/*", "/proxy/internal/*", "/static/*", "/oders/*"]
    app = BreakerMiddleware(wsgi_application(tmp_path), registry, exempt=patterns)

    with caplog.at_level(logging.WARNING, "recloser"):
        exempted = meet_wsgi(app, registry, "GET", "/orders/7")
        meet_wsgi(app, registry, "GET", "/orders")

    assert exempted.key is None
    assert [record.getMessage() for record in caplog.records] == [
        "exempt: '/oders/*' matches no route of this application"
    ]


def test_the_other_kind_of_application_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"use recloser_adapters\.falcon\.AsgiBreakerMiddleware"):
        BreakerMiddleware(asgi_application(tmp_path))
    with pytest.raises(TypeError, match=r"use recloser_adapters\.falcon\.BreakerMiddleware"):
        AsgiBreakerMiddleware(wsgi_application(tmp_path))
    with pytest.raises(TypeError, match=r"app must be a falcon.App, not .*: else pass key="):
        BreakerMiddleware(print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"app must be a falcon.asgi.App, not .*: else pass key="):
        AsgiBreakerMiddleware(print)


class _ByWord:
    """A router of a user, of the form that answers no template."""

    def __init__(self) -> None:
        self.resource = Anything()

    def find(self, uri: str, req: Any = None) -> Any:
        if uri == "/word":
            return self.resource, {"GET": self.resource.on_get}, {}
        return None, None, None


def test_a_router_of_the_user_is_asked_too(registry: Registry) -> None:
    router: Any = _ByWord()
    app = BreakerMiddleware(falcon.App(router=router), registry)

    assert meet_wsgi(app, registry, "GET", "/word").key == "GET <route>"
    assert meet_wsgi(app, registry, "GET", "/other").key is None
