"""FastAPI: its router tree, its signatures, its dependencies."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response, WebSocket
from fastapi.exceptions import FastAPIError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.routing import Host, Mount, Route, Router
from starlette.websockets import WebSocketDisconnect
from tests.support.asgi_scope import scope_of

from recloser import BreakerOpenError, Registry, State
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.starlette import (
    UNMATCHED,
    BreakerMiddleware,
    RouteKeys,
    dependency,
    exempt,
    keyed,
    protect,
    refuse,
)

with warnings.catch_warnings():
    # Which HTTP client it wants depends on its version, and it says so.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient


class Order(BaseModel):
    """A body, declared at module level like most."""

    item: str
    count: int = 1


async def page() -> dict[str, str]:
    return {"hello": "world"}


async def plain(request: Request) -> Response:
    return Response("plain")


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


# Decorated endpoints


def endpoints(registry: Registry) -> FastAPI:
    app = FastAPI()

    @app.post("/async/{number}")
    @protect(registry, "payments")
    async def create(
        number: int,
        order: Order,
        tag: Annotated[str, Header()],
        request: Request,
        q: str | None = None,
    ) -> Order:
        return Order(item=f"{number} {order.item} {tag} {q} {request.method}", count=order.count)

    @app.post("/sync/{number}")
    @protect(registry, "payments")
    def create_sync(
        number: int,
        order: Order,
        tag: Annotated[str, Header()],
        request: Request,
        q: str | None = None,
    ) -> Order:
        return Order(item=f"{number} {order.item} {tag} {q} {request.method}", count=order.count)

    return app


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_protected_endpoint_keeps_its_signature(registry: Registry, kind: str) -> None:
    """In this file annotations are text, and FastAPI must still find what they mean."""
    client = TestClient(endpoints(registry))

    answer = client.post(
        f"/{kind}/7?q=z", json={"item": "tea", "count": 3}, headers={"tag": "green"}
    )
    wrong = client.post(f"/{kind}/seven", json={"item": "tea"}, headers={"tag": "green"})

    assert answer.json() == {"item": "7 tea green z POST", "count": 3}
    assert wrong.status_code == 422
    # What FastAPI refuses itself never reached the endpoint.
    assert registry["payments"].metrics().calls == 1


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_protected_endpoint_is_documented_as_without_protection(
    registry: Registry, kind: str
) -> None:
    documented = endpoints(registry).openapi()["paths"][f"/{kind}/{{number}}"]["post"]

    names = {parameter["name"] for parameter in documented["parameters"]}
    assert names == {"number", "q", "tag"}
    assert documented["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }


def test_a_refused_endpoint_answers_503_as_fastapi_does(registry: Registry) -> None:
    client = TestClient(endpoints(registry))
    open_breaker(registry["payments"])

    refusal = client.post("/async/7", json={"item": "tea"}, headers={"tag": "green"})

    assert refusal.status_code == 503
    assert refusal.json() == {"detail": "Temporarily unavailable"}
    assert int(refusal.headers["retry-after"]) >= 1


def test_http_errors_of_a_protected_endpoint_count_by_their_status(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/{status}")
    @protect(registry, "payments")
    async def answer(status: int) -> None:
        raise HTTPException(status)

    client = TestClient(app)
    for status in (404, 409, 500, 502):
        assert client.get(f"/{status}").status_code == status

    metrics = registry["payments"].metrics()
    assert (metrics.ignored, metrics.failures) == (2, 2)


def test_a_protected_stream_counts_at_its_end(registry: Registry) -> None:
    app = FastAPI()
    in_flight: list[int] = []

    @app.get("/")
    @protect(registry, "payments")
    async def answer() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            in_flight.append(registry["payments"].metrics().in_flight)

        return StreamingResponse(body())

    assert TestClient(app).get("/").text == "a"
    assert in_flight == [1]
    assert registry["payments"].metrics().successes == 1


@pytest.mark.parametrize("kind", ["async", "sync", "connection", "websocket"])
def test_what_protect_refuses_is_held_against_no_breaker_around_it(
    registry: Registry, kind: str
) -> None:
    """Though most endpoints do not ask for the request, in which that is noted."""
    app = FastAPI()
    guard = protect(registry, "payments")

    @app.get("/async")
    @guard
    async def asynchronous(q: str = "") -> str:
        return q

    @app.get("/sync")
    @guard
    def synchronous(q: str = "", **more: Any) -> str:
        return q

    @app.get("/connection")
    @guard
    async def connected(asked_for: HTTPConnection) -> str:
        return asked_for.url.path

    @app.websocket("/websocket")
    @guard
    async def chat(q: str = "") -> None: ...

    app.add_middleware(BreakerMiddleware, registry=registry, key=lambda scope: "around")
    client = TestClient(app)
    if kind == "connection":
        assert client.get("/connection").json() == "/connection"
        registry["around"].reset()
    open_breaker(registry["payments"])

    if kind == "websocket":
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/websocket"):
            raise AssertionError("it was accepted")
    else:
        assert client.get(f"/{kind}?more=1").status_code == 503

    metrics = registry["around"].metrics()
    assert (metrics.ignored, metrics.failures) == (1, 0)


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_protected_generator_is_watched_to_its_end(
    registry: Registry, clock: ManualClock, kind: str, breaks: bool
) -> None:
    if not streams_generators():
        pytest.skip("FastAPI streams no generators yet")

    def work(first: bool) -> int:
        clock.advance(2.0 if first else 100.0)
        if breaks and not first:
            raise RuntimeError("broke off")
        return 1

    async def items() -> AsyncIterable[int]:
        yield work(True)
        in_flight.append(registry["items"].metrics().in_flight)
        yield work(False)

    def items_sync() -> Iterable[int]:
        yield work(True)
        in_flight.append(registry["items"].metrics().in_flight)
        yield work(False)

    in_flight: list[int] = []
    app = FastAPI()
    app.get("/")(protect(registry, "items")(items if kind == "async" else items_sync))

    with contextlib.suppress(RuntimeError):
        TestClient(app).get("/")

    metrics = registry["items"].metrics()
    assert in_flight == [1]
    assert (metrics.calls, metrics.failures, metrics.in_flight) == (1, int(breaks), 0)
    assert breaks or metrics.mean == pytest.approx(2.0)


def streams_generators() -> bool:
    async def items() -> AsyncIterable[int]:
        yield 1

    app = FastAPI()
    try:
        app.get("/")(items)
    except FastAPIError:
        return False
    return TestClient(app).get("/").text == "1\n"


def test_a_protected_generator_that_is_refused_answers_503(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/", response_model=None)
    @protect(registry, "items")
    async def items() -> AsyncIterable[int]:
        yield 1

    open_breaker(registry["items"])

    assert TestClient(app).get("/").status_code == 503


# Dependencies


def test_of_a_websocket_a_dependency_sees_the_handshake(
    registry: Registry, clock: ManualClock
) -> None:
    app = FastAPI()

    @app.websocket("/", dependencies=[Depends(dependency(registry, "chat"))])
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        clock.advance(3600.0)
        while True:
            await websocket.send_text(await websocket.receive_text())

    with (
        contextlib.suppress(WebSocketDisconnect),
        TestClient(app).websocket_connect("/") as session,
    ):
        session.send_text("a")
        assert session.receive_text() == "a"

    metrics = registry["chat"].metrics()
    assert (metrics.calls, metrics.successes, metrics.mean) == (1, 1, 0.0)


def test_a_client_that_goes_away_has_no_vote_in_a_dependency(registry: Registry) -> None:
    app = FastAPI()

    @app.get("/", dependencies=[Depends(dependency(registry, "payments"))])
    async def gone() -> None:
        raise ClientDisconnect

    TestClient(app, raise_server_exceptions=False).get("/")

    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.cancelled) == (1, 1)


def with_dependency(registry: Registry, key: str | None, outside: bool = False) -> TestClient:
    router = APIRouter(dependencies=[Depends(dependency(registry, key))])

    @router.get("/raise/{status}")
    async def raising(status: int) -> None:
        if status == 599:
            raise RuntimeError("not an HTTP error")
        raise HTTPException(status)

    @router.get("/return/{status}")
    async def returning(status: int) -> Response:
        return JSONResponse({}, status)

    app = FastAPI()
    app.include_router(router, prefix="/x")
    if outside:
        app.add_middleware(BreakerMiddleware, registry=registry)
    return TestClient(app, raise_server_exceptions=False)


def test_a_dependency_sees_what_an_endpoint_raises(registry: Registry) -> None:
    client = with_dependency(registry, "payments")

    statuses = [client.get(f"/x/raise/{status}").status_code for status in (404, 500, 503, 599)]

    assert statuses == [404, 500, 503, 500]
    metrics = registry["payments"].metrics()
    assert (metrics.ignored, metrics.failures, metrics.in_flight) == (1, 3, 0)


def test_a_dependency_does_not_see_what_an_endpoint_returns(registry: Registry) -> None:
    """Stated in its docstring; should FastAPI ever show it, say so there."""
    with_dependency(registry, "payments").get("/x/return/503")

    assert registry["payments"].metrics().successes == 1


def test_a_dependency_refuses_while_open_and_the_route_is_not_blamed(registry: Registry) -> None:
    client = with_dependency(registry, "payments", outside=True)
    open_breaker(registry["payments"])

    refusals = [client.get("/x/return/200") for _ in range(20)]

    assert {refusal.status_code for refusal in refusals} == {503}
    assert "retry-after" in refusals[0].headers
    assert registry["GET /x/return/{status}"].metrics().failures == 0
    assert registry["GET /x/return/{status}"].state is State.CLOSED


def test_a_dependency_does_nothing_where_the_environment_turns_breakers_off(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    client = with_dependency(registry, "payments")
    open_breaker(registry["payments"])

    assert client.get("/x/return/200").status_code == 200


def test_a_dependency_without_a_key_takes_that_of_the_route(registry: Registry) -> None:
    with_dependency(registry, None).get("/x/return/200")

    assert [(each.key, each.metrics().calls) for each in registry] == [
        ("GET /x/return/{status}", 1)
    ]


def test_a_dependency_without_a_key_leaves_guarded_requests_alone(registry: Registry) -> None:
    with_dependency(registry, None, outside=True).get("/x/return/200")

    assert [(each.key, each.metrics().calls) for each in registry] == [
        ("GET /x/return/{status}", 1)
    ]


def shared(registry: Registry) -> FastAPI:
    """One dependency in an app, in one mounted in it, and on a router mounted and included."""
    guard = Depends(dependency(registry))
    app, inner = FastAPI(), FastAPI(dependencies=[guard])
    router = APIRouter(dependencies=[guard])
    app.add_api_route("/x/{id}", page, dependencies=[guard])
    inner.add_api_route("/x/{id}", page)
    router.add_api_route("/x/{id}", page)
    inner.include_router(router, prefix="/again")
    app.mount("/{version}/inner", inner)
    app.mount("/mounted", router)
    app.include_router(router, prefix="/included")
    return app


SHARED = {
    "/x/1": "GET /x/{id}",
    "/v1/inner/x/1": "GET /{version}/inner/x/{id}",
    "/v1/inner/again/x/1": "GET /{version}/inner/again/x/{id}",
    "/mounted/x/1": "GET /mounted/x/{id}",
    "/included/x/1": "GET /included/x/{id}",
}


@pytest.mark.parametrize("order", [1, -1])
def test_a_shared_dependency_takes_the_key_that_a_middleware_gives(
    registry: Registry, order: int
) -> None:
    app = shared(registry)
    paths = list(SHARED)[::order]
    client = TestClient(app)

    for path in paths + paths:
        assert client.get(path).status_code == 200

    assert [(each.key, each.metrics().calls) for each in registry] == [
        (SHARED[path], 2) for path in paths
    ]
    assert [RouteKeys(app)(scope_of(path)) for path in paths] == [SHARED[path] for path in paths]


def test_a_shared_dependency_tells_two_applications_apart(registry: Registry) -> None:
    guard = Depends(dependency(registry))
    for template in ("/{one}", "/{other}"):
        app = FastAPI(dependencies=[guard])
        app.add_api_route(template, page)
        assert TestClient(app).get("/same").status_code == 200

    assert [breaker.key for breaker in registry] == ["GET /{one}", "GET /{other}"]


def test_a_dependency_in_an_app_with_one_breaker_guards_its_route_all_the_same(
    registry: Registry,
) -> None:
    app = FastAPI()
    app.add_api_route("/x", page, dependencies=[Depends(dependency(registry))])
    app.add_middleware(BreakerMiddleware, registry=registry, key=lambda scope: "app")

    TestClient(app).get("/x")

    assert [breaker.key for breaker in registry] == ["app", "GET /x"]


def test_a_dependency_where_paths_are_rewritten_takes_the_template_of_its_app(
    registry: Registry,
) -> None:
    inner = FastAPI(dependencies=[Depends(dependency(registry))])
    inner.add_api_route("/x/{id}", page)

    app = FastAPI()
    app.add_api_route("/x/{other}", plain)
    app.mount("/inner", Stripping(inner))

    assert TestClient(app).get("/inner/x/1").status_code == 200

    assert [breaker.key for breaker in registry] == ["GET /x/{id}"]


class Stripping:
    """Hides the mount of an application from it."""

    def __init__(self, app: FastAPI) -> None:
        self.hidden = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.hidden({**scope, "path": "/x/1", "root_path": ""}, receive, send)


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


def test_the_handler_for_refused_outbound_calls_works_in_fastapi(registry: Registry) -> None:
    app = FastAPI()
    app.add_middleware(BreakerMiddleware, registry=registry)
    app.add_exception_handler(BreakerOpenError, refuse)

    @app.get("/")
    async def outbound() -> None:
        registry["upstream"].acquire()

    open_breaker(registry["upstream"])
    answer = TestClient(app).get("/")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert registry["GET /"].metrics().ignored == 1
