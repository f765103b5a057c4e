"""Connexion 3: which key a request gets. What holds for every framework is in tests/contract."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.support.asgi_client import Exchange
from tests.support.asgi_scope import scope_of
from tests.support.asked_keys import meet
from tests.support.breaker_state import votes

from recloser import Registry, State
from recloser.testing import open_breaker

pytest.importorskip("connexion")

from connexion import AsyncApp, ConnexionMiddleware, FlaskApp
from connexion.exceptions import ProblemException
from connexion.middleware import MiddlewarePosition
from connexion.resolver import Resolver
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.connexion import (
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
    ("GET", "/v1/", "GET /v1/", 200),
    ("GET", "/v1/orders", "GET /v1/orders", 200),
    ("POST", "/v1/orders", "POST /v1/orders", 200),
    ("DELETE", "/v1/orders", UNMATCHED, 405),
    ("GET", "/v1/orders/", UNMATCHED, 307),
    ("GET", "/v1/orders/7", "GET /v1/orders/{id}", 200),
    ("PUT", "/v1/orders/7", "PUT /v1/orders/{id}", 200),
    ("PATCH", "/v1/orders/7", "PATCH /v1/orders/{id}", 200),
    ("DELETE", "/v1/orders/7", "DELETE /v1/orders/{id}", 200),
    ("GET", "/v1/orders/-7", "GET /v1/orders/{id}", 200),
    ("GET", "/v1/orders/x", UNMATCHED, 404),
    ("GET", "/v1/orders/7/lines", "GET /v1/orders/{id}/lines", 200),
    ("GET", "/v1/orders/7/lines/a", "GET /v1/orders/{id}/lines/{line_code}", 200),
    ("GET", "/v1/prices/1.5", "GET /v1/prices/{price}", 200),
    ("GET", "/v1/prices/x", UNMATCHED, 404),
    ("GET", "/v1/names/anna", "GET /v1/names/{name}", 200),
    ("GET", "/v1/files/a/b/c.txt", "GET /v1/files/{rest}", 200),
    ("GET", "/v1/search", "GET /v1/search", 400),
    ("GET", "/v1/a/b/c/d", "GET /v1/a/b/c/d", 200),
    ("GET", "/v1/internal", None, 200),
    ("GET", "/v1/payments", "payments", 200),
    ("GET", "/v1/beside/7", "GET /v1/beside/{id}", 200),
    ("GET", "/v1/ui/", UNMATCHED, 200),
    ("GET", "/v1/openapi.json", UNMATCHED, 200),
    ("GET", "/v2/orders/7", "GET /v2/orders/{id}", 200),
    ("GET", "/v2/nowhere", UNMATCHED, 404),
    ("GET", "/deep/base/root", "GET /deep/base/root", 200),
    ("GET", "/nowhere", UNMATCHED, 404),
]
HEADS: list[tuple[str, str, str | None, int | None]] = [
    ("HEAD", "/v1/orders", "GET /v1/orders", 200)
]
BESIDE: list[tuple[str, str, str | None, int | None]] = [
    ("GET", "/extra", "GET /extra", 200),
    ("POST", "/extra", UNMATCHED, 405),
    ("GET", "/kept-out", None, 200),
    ("GET", "/health", None, 200),
]


def ok(**parts: Any) -> tuple[str, int]:
    return "ok", 200


@exempt
def internal() -> str:
    return "internal"


@keyed("payments")
def payments() -> str:
    return "paid"


def broken() -> str:
    raise RuntimeError("broken")


def missing() -> str:
    raise ProblemException(status=404)


def unkind() -> str:
    raise HTTPException(403)


FUNCTIONS = {each.__name__: each for each in (internal, payments, broken, missing, unkind)}


def operation(name: str, path: str, **types: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    for part in path.split("{")[1:]:
        parameter = part.partition("}")[0]
        kind = types.get(parameter, "string")
        schema = {"type": "string", "format": "path"} if kind == "path" else {"type": kind}
        parameters.append({"name": parameter, "in": "path", "required": True, "schema": schema})
    return {
        "operationId": name,
        "parameters": parameters,
        "responses": {"200": {"description": "fine"}},
    }


def specification(base: str, paths: dict[str, list[str]], **types: str) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for path, methods in paths.items():
        name = path.strip("/") if path.strip("/") in FUNCTIONS else None
        described[path] = {
            method: operation(name or f"{method}_{base}_{path}", path, **types)
            for method in methods
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": base, "version": "1"},
        "servers": [{"url": base}],
        "paths": described,
    }


FIRST = {
    "/": ["get"],
    "/orders": ["get", "post"],
    "/orders/{id}": ["get", "put", "patch", "delete"],
    "/orders/{id}/lines": ["get"],
    "/orders/{id}/lines/{line-code}": ["get"],
    "/prices/{price}": ["get"],
    "/names/{name}": ["get"],
    "/files/{rest}": ["get"],
    "/search": ["get"],
    "/a/b/c/d": ["get"],
    "/internal": ["get"],
    "/payments": ["get"],
    "/broken": ["get"],
    "/missing": ["get"],
    "/unkind": ["get"],
}
TYPES = {"id": "integer", "price": "number", "rest": "path"}


def described(app: Any) -> Any:
    """Add specifications, two of them with one base path."""
    resolver = Resolver(lambda name: FUNCTIONS.get(name, ok))
    first = specification("/v1", FIRST, **TYPES)
    first["paths"]["/search"]["get"]["parameters"] = [
        {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}}
    ]
    for name, base, document in [
        ("first", "/v1", first),
        ("beside", "/v1", specification("/v1", {"/beside/{id}": ["get"]}, **TYPES)),
        ("second", "/v2", specification("/v2", {"/orders/{id}": ["get"]}, **TYPES)),
        ("deep", "/deep/base", specification("/deep/base", {"/root": ["get"]})),
    ]:
        # Connexion sorts them by this, so that the one at the root does not take all requests.
        app.add_api(document, base_path=base, resolver=resolver, name=name)
    return app


def beside(app: Any) -> Any:
    """Add routes that no specification has."""
    is_async = isinstance(app, AsyncApp)

    def extra(*request: Any) -> Any:
        return PlainTextResponse("extra") if is_async else "extra"

    @exempt
    def kept_out(*request: Any) -> Any:
        return extra()

    app.add_url_rule("/extra", "extra", extra, methods=["GET"])
    app.add_url_rule("/kept-out", "kept_out", kept_out, methods=["GET"])
    app.add_url_rule("/health", "health", lambda *request: extra(), methods=["GET"])
    return app


KINDS = {"AsyncApp": AsyncApp, "FlaskApp": FlaskApp}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # Connexion runs on asyncio alone


def application(
    kind: str, registry: Registry, place: Any = MiddlewarePosition.BEFORE_EXCEPTION
) -> Any:
    app = KINDS[kind]("connexion_app")
    if place is not None:
        app.add_middleware(BreakerMiddleware, position=place, registry=registry)
    return described(beside(app))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "place", [MiddlewarePosition.BEFORE_EXCEPTION, MiddlewarePosition.BEFORE_ROUTING, None]
)
async def test_the_key_of_each_request(kind: str, place: Any, registry: Registry) -> None:
    app = application(kind, registry, place)
    if place is None:
        inside, app = app, BreakerMiddleware(app, registry)
        await meet(inside, registry, "GET", "/v1/orders")  # it makes its routes
    rows = [*ASKED, *BESIDE, *(HEADS if kind == "AsyncApp" else [])]

    for _ in range(2):  # the second time from the cache
        asked = [
            (method, path, await meet(app, registry, method, path)) for method, path, _, _ in rows
        ]

        assert [(*request, met.key, met.status) for *request, met in asked] == [
            (method, path, None if key == UNMATCHED else key, status)
            for method, path, key, status in rows
        ]


async def test_the_default_position_counts_errors_as_their_status(registry: Registry) -> None:
    """It is inside of what turns errors into answers."""
    app = application("AsyncApp", registry, MiddlewarePosition.BEFORE_CONTEXT)

    found = {
        path: ((await meet(app, registry, "GET", f"/v1/{path}")).status, counted(registry, path))
        for path in ("orders", "missing", "unkind", "broken", "search")
    }

    assert found == {
        "orders": (200, {"successes": 1}),
        "missing": (404, {"ignored": 1}),
        "unkind": (403, {"ignored": 1}),
        "broken": (500, {"failures": 1}),
        # The validation is further out, so that nothing is counted.
        "search": (400, {}),
    }


async def test_in_front_of_all_handlers_an_error_counts_as_the_answer(registry: Registry) -> None:
    app = application("FlaskApp", registry)

    for path, status, expected in [
        ("orders", 200, {"successes": 1}),
        ("missing", 404, {"ignored": 1}),
        ("broken", 500, {"failures": 1}),
        ("search", 400, {"ignored": 1}),
    ]:
        assert (await meet(app, registry, "GET", f"/v1/{path}")).status == status
        assert counted(registry, path) == expected


def counted(registry: Registry, path: str) -> dict[str, int]:
    return votes(registry[f"GET /v1/{path}"].metrics())


@pytest.mark.parametrize("kind", KINDS)
async def test_the_router_answers_for_a_scope_alone(kind: str, registry: Registry) -> None:
    app = application(kind, registry, None)
    keys = RouteKeys(app)
    assert keys(scope_of("/v1/orders")) == UNMATCHED  # it has not made its routes
    await meet(app, registry, "GET", "/v1/orders")

    for method, path, key, _ in [*ASKED, *BESIDE[:-1]]:
        assert keys(scope_of(path, method)) == key, (method, path)


async def test_below_a_mount_point_the_path_is_the_same(registry: Registry) -> None:
    app = application("AsyncApp", registry)

    met = await meet(app, registry, "GET", "/api/v1/orders/7", root_path="/api")

    assert (met.status, met.key) == (200, "GET /v1/orders/{id}")


async def test_an_open_breaker_refuses_its_operation_alone(registry: Registry) -> None:
    app = application("FlaskApp", registry)
    open_breaker(registry["GET /v1/orders/{id}"])

    assert (await meet(app, registry, "GET", "/v1/orders/8")).status == 503
    assert (await meet(app, registry, "GET", "/v1/orders")).status == 200
    assert registry["GET /v1/orders/{id}"].state is State.OPEN


async def test_a_refusal_has_the_headers_of_cors(registry: Registry) -> None:
    app = AsyncApp("connexion_app")
    before = MiddlewarePosition.BEFORE_EXCEPTION
    app.add_middleware(BreakerMiddleware, position=before, registry=registry)
    # The one that is added last is further in.
    app.add_middleware(CORSMiddleware, position=before, allow_origins=["https://shop.example"])
    open_breaker(registry["GET /v1/orders"])

    answer = await Exchange("GET", "/v1/orders", ((b"origin", b"https://shop.example"),)).run(
        described(app)
    )

    assert answer.status == 503
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_keys_are_known_when_it_has_started(kind: str, registry: Registry) -> None:
    inside = application(kind, registry)
    around = BreakerMiddleware(application(kind, registry, None), registry)
    for app in (inside, around):
        await meet(app, registry, "GET", "/v1/orders")

        keys = guarded_keys(app)[registry]

        assert {key for _, _, key, _ in ASKED if key not in (None, UNMATCHED)} <= keys
        if app is around:
            assert known_keys(app)[registry] == keys
        assert "GET /v1/internal" not in keys


async def test_a_pattern_that_matches_no_operation_is_logged(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    app = AsyncApp("connexion_app")
    app.add_middleware(
        BreakerMiddleware,
        position=MiddlewarePosition.BEFORE_EXCEPTION,
        registry=registry,
        exempt=["/v1/orders/*", "/v1/oders/*"],
    )
    described(app)

    with caplog.at_level(logging.WARNING, "recloser"):
        exempted = await meet(app, registry, "GET", "/v1/orders/7")
        await meet(app, registry, "GET", "/v1/orders")

    assert exempted.key is None
    assert [each.getMessage() for each in caplog.records if each.name == "recloser"] == [
        "exempt: '/v1/oders/*' matches no route of this application"
    ]


async def test_a_starlette_application_that_it_wraps_has_its_own_routes(
    registry: Registry,
) -> None:
    async def answer(request: Any) -> Any:
        return PlainTextResponse("inner")

    inner = Starlette(routes=[Route("/v1/orders", answer), Route("/other", answer)])
    app = ConnexionMiddleware(inner)
    app.add_middleware(
        BreakerMiddleware, position=MiddlewarePosition.BEFORE_EXCEPTION, registry=registry
    )
    described(app)

    assert (await meet(app, registry, "GET", "/v1/orders")).key == "GET /v1/orders"
    other = await meet(app, registry, "GET", "/other")
    assert (other.status, other.key) == (200, "GET /other")


async def test_without_a_connexion_application_nothing_is_guarded(registry: Registry) -> None:
    app = BreakerMiddleware(PlainTextResponse("plain"), registry)

    met = await meet(app, registry, "GET", "/v1/orders")

    assert (met.status, met.keys) == (200, [])
