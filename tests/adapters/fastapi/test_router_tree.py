"""Which key a request gets in FastAPI, through its tree of routers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.routing import APIRoute
from starlette.routing import Host, Mount, Route, Router
from tests.support.asgi_scope import scope_of
from tests.support.fastapi_endpoints import TestClient, page, plain

from recloser import Registry
from recloser_adapters.starlette import UNMATCHED, BreakerMiddleware, RouteKeys, exempt, keyed


class Shouting(APIRoute):
    """A route class of the user's, as people write them for logging."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def shouting(request: Request) -> Response:
            response: Response = await handler(request)
            return response

        return shouting


def tree() -> FastAPI:
    """Routers in routers, and all else that may hang in them."""
    leaf = APIRouter(prefix="/orders", route_class=Shouting)
    leaf.add_api_route("/{order}", page, methods=["GET", "PUT"])
    leaf.add_api_route("", page)
    middle = APIRouter()
    middle.include_router(leaf, prefix="/{shop}")
    middle.add_api_route("/{shop}", page)
    middle.routes.append(Route("/plain/{x}", plain))
    middle.mount("/mounted", Router([Route("/m/{y}", plain)]))

    @middle.websocket("/chat/{room}")
    async def chat(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.close()

    app = FastAPI()
    app.include_router(middle, prefix="/shops")
    app.include_router(leaf)
    app.add_api_route("/users/{name:path}", page)
    sub = FastAPI()
    sub.include_router(leaf)
    app.mount("/v2", sub)
    app.routes.append(Mount("/raw", Router([Route("/{z}", plain)])))
    app.routes.append(Host("api.example.com", Router([Route("/{w}", plain)])))
    return app


CASES = [
    ("GET", "/shops/7/orders/8", "GET /shops/{shop}/orders/{order}"),
    ("PUT", "/shops/7/orders/8", "PUT /shops/{shop}/orders/{order}"),
    ("GET", "/shops/7/orders", "GET /shops/{shop}/orders"),
    ("GET", "/shops/7", "GET /shops/{shop}"),
    ("GET", "/shops/plain/1", "GET /shops/plain/{x}"),
    ("GET", "/orders/8", "GET /orders/{order}"),
    ("GET", "/users/a/b", "GET /users/{name}"),
    ("GET", "/v2/orders/1", "GET /v2/orders/{order}"),
    ("GET", "/raw/1", "GET /raw/{z}"),
    ("GET", "/shops", UNMATCHED),
    ("DELETE", "/orders/8", UNMATCHED),
    ("HEAD", "/orders/8", UNMATCHED),
    ("GET", "/orders/", UNMATCHED),
    ("GET", "/v2/none", UNMATCHED),
    ("GET", "/none", UNMATCHED),
]


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_a_request_is_named_by_its_full_template_through_the_router_tree(
    method: str, path: str, key: str
) -> None:
    keys = RouteKeys(tree())

    assert [keys(scope_of(path, method)) for _ in range(2)] == [key, key]


def test_hosts_and_websockets_in_the_tree_are_named() -> None:
    keys = RouteKeys(tree())
    handshake = {**scope_of("/shops/chat/5"), "type": "websocket"}
    del handshake["method"]

    assert keys(handshake) == "WS /shops/chat/{room}"
    assert keys(scope_of("/5", host="api.example.com")) == "GET api.example.com/{w}"


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_fastapi_answers_as_was_predicted(
    registry: Registry, method: str, path: str, key: str
) -> None:
    app = tree()
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app, follow_redirects=False)

    status = client.request(method, path).status_code

    assert (status == 200) == (key != UNMATCHED)
    assert [breaker.key for breaker in registry.breakers()] == [key] * (status == 200)


def test_a_mount_in_an_included_router_is_named_where_fastapi_serves_it() -> None:
    """Before 0.137, `include_router` left mounts out."""
    path = "/shops/mounted/m/1"

    served = TestClient(tree()).get(path).status_code == 200

    expected = "GET /shops/mounted/m/{y}" if served else UNMATCHED
    assert RouteKeys(tree())(scope_of(path)) == expected


def test_resolving_leaves_no_notes_of_fastapis_in_the_scope() -> None:
    scope = scope_of("/shops/7/orders/8")
    before = dict(scope)

    RouteKeys(tree())(scope)

    assert scope == before


def test_a_route_of_many_in_included_routers_is_found_by_its_beginning() -> None:
    app = FastAPI()
    for n in range(60):
        router = APIRouter(prefix=f"/r{n}")
        router.add_api_route("/{id}", page)
        app.include_router(router, prefix="/api")
    keys = RouteKeys(app)

    assert keys(scope_of("/api/r59/1")) == "GET /api/r59/{id}"
    assert keys(scope_of("/api/r60/1")) == UNMATCHED


def test_marks_are_read_through_the_tree() -> None:
    async def hidden() -> None: ...

    async def paid() -> None: ...

    router = APIRouter()
    router.add_api_route("/hidden", exempt(hidden))
    router.add_api_route("/paid/{id}", keyed("payments")(paid))
    app = FastAPI()
    app.include_router(router, prefix="/x")
    keys = RouteKeys(app)

    assert keys(scope_of("/x/hidden")) is None
    assert keys(scope_of("/x/paid/1")) == "payments"


def test_the_pages_of_the_documentation_are_exempt_by_default(registry: Registry) -> None:
    app = FastAPI()
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)

    assert client.get("/openapi.json").status_code == 200
    assert registry.breakers() == []


# Dependencies


def test_a_route_that_is_added_to_an_included_router_later_is_guarded(registry: Registry) -> None:
    inner, outer, app = APIRouter(), APIRouter(), FastAPI()
    inner.add_api_route("/early", page)
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)
    assert client.get("/outer/inner/early").status_code == 200

    inner.add_api_route("/late", page)
    is_served = client.get("/outer/inner/late").status_code == 200

    # Before 0.137, what was included was copied.
    keys = ["GET /outer/inner/early", *["GET /outer/inner/late"] * is_served]
    assert [breaker.key for breaker in registry] == keys
