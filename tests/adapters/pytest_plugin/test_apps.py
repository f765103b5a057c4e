"""The pytest plugin finds the routes of real apps: Starlette, FastAPI, Flask, Werkzeug, any app."""

from __future__ import annotations

import pytest
from tests.support.plugin_runs import failure, passed

pytest_plugins = ["pytester"]

STARLETTE = """
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from recloser import Registry
from recloser_adapters.starlette import BreakerMiddleware, exempt, keyed, protect

payments = Registry()
inner = Registry()


def hello(request):
    return PlainTextResponse("hello")


def make_app(**options):
    routes = [
        Route("/orders/{order}", hello),
        Route("/orders", hello, methods=["POST"]),
        Route("/health", hello),
        Route("/open", exempt(lambda request: hello(request))),
        Route("/named", keyed("backend")(lambda request: hello(request))),
        Route("/pay", protect(payments, "payments")(lambda request: hello(request))),
        Mount(
            "/admin",
            routes=[Route("/users", hello)],
            middleware=[Middleware(BreakerMiddleware, registry=inner)],
        ),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(BreakerMiddleware, **options)
    return app
"""


@pytest.fixture(autouse=True)
def _starlette(request: pytest.FixtureRequest) -> None:
    name = str(getattr(request, "param", "starlette"))
    pytest.importorskip(name)


def test_routes_of_starlette_are_known_before_their_first_request(
    pytester: pytest.Pytester,
) -> None:
    pytest.importorskip("starlette.testclient")
    passed(
        pytester,
        STARLETTE
        + """
@pytest.fixture
def client(recloser_registry):
    return TestClient(make_app(registry=recloser_registry))

@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/orders/7", "GET /orders/{order}"),
        ("POST", "/orders", "POST /orders"),
        ("GET", "/named", "backend"),
        ("GET", "/pay", "payments"),
        ("GET", "/admin/users", "GET /admin/users"),
    ],
)
def test_it(method, path, key, client, force_open, recloser_transitions):
    assert client.request(method, path).status_code == 200
    force_open(key)
    assert client.request(method, path).status_code == 503
    assert client.get("/health").status_code == 200
    assert set(recloser_transitions.of(key)) == {"open"}

def test_nothing_is_left(client):
    assert client.get("/pay").status_code == 200
    assert [each.state.value for each in [*payments, *inner]] == ["closed"] * 2
""",
        tests=6,
    )


@pytest.mark.parametrize("key", ["GET /order/{order}", "GET /health", "GET /open", "GET /pay"])
def test_a_key_that_guards_nothing_in_starlette_fails(pytester: pytest.Pytester, key: str) -> None:
    pytest.importorskip("starlette.testclient")
    said = failure(
        pytester,
        STARLETTE
        + f"""
def test_it(force_open):
    force_open({key!r}, within=TestClient(make_app()))
""",
    )

    assert f"no route and no breaker has the key {key!r}" in said
    assert "'POST /orders'" in said


def test_an_app_for_good_is_found_whatever_wraps_it(pytester: pytest.Pytester) -> None:
    """One registry for all tests, made by the middleware itself; what wraps the app may vary."""
    httpx = pytest.importorskip("httpx")
    assert httpx
    pytest.importorskip("starlette.testclient")
    passed(
        pytester,
        STARLETTE
        + """
import httpx
from starlette.middleware.cors import CORSMiddleware

class Wrapper:
    def __init__(self, app):
        self.app = app
    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)

app = make_app()
bare = Starlette(routes=[Route("/orders/{order}", hello)])

@pytest.fixture(
    params=[
        lambda: TestClient(app),
        lambda: TestClient(Wrapper(CORSMiddleware(app))),
        lambda: TestClient(BreakerMiddleware(bare)),
        lambda: TestClient(Wrapper(BreakerMiddleware(Wrapper(bare)))),
    ]
)
def client(request):
    return request.param()

@pytest.mark.parametrize("again", [1, 2])
def test_it(again, client, force_open):
    assert client.get("/orders/7").status_code == 200
    force_open("GET /orders/{order}")
    assert client.get("/orders/7").status_code == 503

def test_clients_of_httpx(force_open):
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    force_open("GET /orders/{order}", within=client)
    assert TestClient(app).get("/orders/7").status_code == 503
""",
        tests=9,
    )


def test_an_app_may_get_more_middleware_in_a_test(pytester: pytest.Pytester) -> None:
    pytest.importorskip("starlette.testclient")
    passed(
        pytester,
        STARLETTE
        + """
@pytest.fixture
def app():
    return make_app()

def test_it(app, recloser_transitions, force_open):
    app.add_middleware(BreakerMiddleware, key=lambda scope: None)
    force_open("GET /orders/{order}")
    assert TestClient(app).get("/orders/7").status_code == 503
    recloser_transitions.expect("GET /orders/{order}", "open")
""",
    )


def test_mocks_and_other_fixtures_do_not_disturb_it(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
import pytest
from unittest.mock import MagicMock
from recloser import Registry

class Strange:
    @property
    def app(self):
        raise RuntimeError("not now")
    def __getattr__(self, name):
        return self

@pytest.fixture
def mock():
    return MagicMock()

@pytest.fixture
def standing_in():
    return MagicMock(spec=Registry)

@pytest.fixture
def strange():
    return Strange()

def test_it(mock, standing_in, strange, tmp_path, monkeypatch, force_open, recloser_registry):
    recloser_registry["payments"]
    force_open("payments")
""",
    )


def test_any_asgi_or_wsgi_app_has_its_breakers(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
from recloser import asgi, wsgi

async def asgi_app(scope, receive, send):
    pass

def wsgi_app(environ, start_response):
    return []

def test_it(force_open):
    for kind, app in (
        (asgi.BreakerMiddleware, asgi_app), (wsgi.BreakerMiddleware, wsgi_app)
    ):
        middleware = kind(app, key=lambda request: "shop")
        middleware.registry["shop"]
        assert force_open("shop", within=middleware) is middleware.registry["shop"]
""",
    )


def test_routers_and_dependencies_of_fastapi_are_known(pytester: pytest.Pytester) -> None:
    pytest.importorskip("fastapi")
    passed(
        pytester,
        """
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from recloser import Registry
from recloser_adapters.starlette import BreakerMiddleware, dependency

depended = Registry()

@pytest.fixture
def client(recloser_registry):
    app = FastAPI()
    app.add_middleware(BreakerMiddleware, registry=recloser_registry)
    router = APIRouter(prefix="/v1")

    @router.get("/items/{item}")
    def item(item: int):
        return item

    @router.get("/paid", dependencies=[Depends(dependency(depended, "payments"))])
    def paid():
        return "paid"

    app.include_router(router)
    with TestClient(app) as client:
        yield client

@pytest.mark.parametrize(
    ("path", "key"), [("/v1/items/7", "GET /v1/items/{item}"), ("/v1/paid", "payments")]
)
def test_it(path, key, client, force_open):
    assert client.get(path).status_code == 200
    force_open(key)
    assert client.get(path).status_code == 503

def test_again(client):
    assert client.get("/v1/paid").status_code == 200
""",
        tests=3,
    )
