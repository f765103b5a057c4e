"""Endpoints that are protected by a decorator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.support.starlette_endpoints import Item, chat, converse, conversing, page

from recloser import BreakerOpenError, Metrics, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.starlette import BreakerMiddleware, EndpointRefusedError, protect


def both_kinds(work: Callable[[], Any]) -> list[Callable[..., Any]]:
    async def awaited(request: Request) -> Any:
        return work()

    def plain(request: Request) -> Any:
        return work()

    return [awaited, plain]


@pytest.fixture(params=[0, 1], ids=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def serve(endpoint: Callable[..., Any], registry: Registry, **more: Any) -> TestClient:
    app = Starlette(routes=[Route("/{id}", protect(registry, "payments")(endpoint))], **more)
    return TestClient(app, raise_server_exceptions=False)


def test_a_protected_endpoint_that_fails_is_refused(registry: Registry, kind: int) -> None:
    def work() -> Response:
        raise RuntimeError("out of order")

    client = serve(both_kinds(work)[kind], registry)

    statuses = [client.get(f"/{n}").status_code for n in range(20)]
    refusal = client.get("/last")

    assert statuses[0] == 500
    assert statuses[-1] == refusal.status_code == 503
    assert int(refusal.headers["retry-after"]) >= 1
    assert refusal.headers["cache-control"] == "no-store"
    assert registry["payments"].metrics().failures < 20


@pytest.mark.parametrize(
    ("status", "raised", "count"),
    [
        (500, True, "failures"),
        (503, False, "failures"),
        (404, True, "ignored"),
        (422, False, "ignored"),
        (200, False, "successes"),
    ],
)
def test_a_status_means_the_same_raised_or_returned(
    registry: Registry, kind: int, status: int, raised: bool, count: str
) -> None:
    def work() -> Response:
        if raised:
            raise HTTPException(status)
        return PlainTextResponse("", status)

    assert serve(both_kinds(work)[kind], registry).get("/1").status_code == status

    metrics = registry["payments"].metrics()
    assert getattr(metrics, count) == metrics.calls == 1
    assert metrics.in_flight == 0


def test_a_stream_that_breaks_off_is_a_failure_and_one_that_ends_is_not(
    registry: Registry, kind: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"begin "
        if breaks:
            raise RuntimeError("broke off")
        yield b"end"

    client = serve(both_kinds(lambda: StreamingResponse(body()))[kind], registry)

    breaks = False
    assert client.get("/1").text == "begin end"
    assert registry["payments"].metrics().successes == 1
    breaks = True
    client.get("/2")

    metrics = registry["payments"].metrics()
    assert (metrics.failures, metrics.in_flight) == (1, 0)


def test_a_stream_is_as_slow_as_its_headers(
    registry: Registry, clock: ManualClock, kind: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        clock.advance(100.0)
        yield b"late"

    serve(both_kinds(lambda: StreamingResponse(body()))[kind], registry).get("/1")

    metrics = registry["payments"].metrics()
    assert (metrics.successes, metrics.mean) == (1, 0.0)


GONE = {
    "request": ClientDisconnect(),
    "websocket": WebSocketDisconnect(1006),
    "group": ExceptionGroup("both", [ClientDisconnect(), WebSocketDisconnect(1000)]),
}


@pytest.mark.parametrize("how", GONE)
def test_a_client_that_goes_away_has_no_vote(registry: Registry, kind: int, how: str) -> None:
    def work() -> Response:
        raise GONE[how]

    serve(both_kinds(work)[kind], registry).get("/1")

    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.cancelled, metrics.in_flight) == (1, 1, 0)


def test_an_error_beside_a_client_that_goes_away_is_a_failure(registry: Registry) -> None:
    def work() -> Response:
        raise ExceptionGroup("both", [ClientDisconnect(), RuntimeError("out of order")])

    serve(both_kinds(work)[0], registry).get("/1")

    assert registry["payments"].metrics().failures == 1


def test_an_upstreams_status_that_leaves_an_endpoint_is_its_own_failure(
    registry: Registry, kind: int
) -> None:
    """A client's error for a 404 that nobody handles is a 500 to whoever asked us."""

    class StatusError(Exception):
        status_code = 404

    def work() -> Response:
        raise StatusError

    assert serve(both_kinds(work)[kind], registry).get("/1").status_code == 500

    assert registry["payments"].metrics().failures == 1


def test_of_a_protected_websocket_the_handshake_is_the_call(
    registry: Registry, clock: ManualClock
) -> None:
    during: list[Metrics] = []

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        during.append(registry["chat"].metrics())
        clock.advance(3600.0)
        assert "send" not in vars(websocket)
        while True:
            await websocket.send_text(await websocket.receive_text())

    sent = converse(conversing(registry, echo), "a", "b")

    metrics = registry["chat"].metrics()
    assert [message.get("text") for message in sent] == [None, "a", "b"]
    assert (during[0].successes, during[0].in_flight) == (1, 0)
    assert (metrics.calls, metrics.successes, metrics.mean) == (1, 1, 0.0)


async def raising(error: Exception) -> None:
    raise error


HANDSHAKES: dict[str, tuple[Callable[[WebSocket], Any], str]] = {
    "closed": (lambda websocket: websocket.close(), "ignored"),
    "denied by 503": (lambda ws: ws.send_denial_response(Response(status_code=503)), "failures"),
    "denied by 403": (lambda ws: ws.send_denial_response(Response(status_code=403)), "ignored"),
    "left as it is": (lambda websocket: asyncio.sleep(0), "cancelled"),
    "policy": (lambda websocket: raising(WebSocketException(1008)), "ignored"),
    "internal error": (lambda websocket: raising(WebSocketException(1011)), "failures"),
    "HTTP error": (lambda websocket: raising(HTTPException(503)), "failures"),
    "client gone": (lambda websocket: raising(WebSocketDisconnect(1000)), "cancelled"),
    "error": (lambda websocket: raising(RuntimeError("out of order")), "failures"),
}


@pytest.mark.parametrize("how", HANDSHAKES)
def test_a_protected_handshake_that_fails_counts_by_how(registry: Registry, how: str) -> None:
    ends, count = HANDSHAKES[how]

    async def endpoint(websocket: WebSocket) -> None:
        await ends(websocket)

    converse(conversing(registry, endpoint))

    metrics = registry["chat"].metrics()
    assert getattr(metrics, count) == metrics.calls == 1
    assert metrics.in_flight == 0


def test_two_protections_see_one_handshake(registry: Registry) -> None:
    converse(conversing(registry, protect(registry, "inner")(chat)))

    assert [registry[key].metrics().successes for key in ("chat", "inner")] == [1, 1]


def test_a_protected_method_of_an_open_websocket_is_a_call_as_a_whole(
    registry: Registry, clock: ManualClock
) -> None:
    class Echo(WebSocketEndpoint):
        encoding = "text"

        @protect(registry, "chat")
        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            clock.advance(1.0)
            await websocket.send_text(data)

    converse(Starlette(routes=[WebSocketRoute("/", Echo)]), "a", "b")

    metrics = registry["chat"].metrics()
    assert metrics.successes == 2
    assert metrics.mean == pytest.approx(1.0)


def test_a_plain_function_around_a_coroutine_function_is_awaited_to_its_end(
    registry: Registry,
) -> None:
    async def work(fails: bool) -> str:
        if fails:
            raise RuntimeError("out of order")
        return "done"

    @protect(registry, "work")
    def around(fails: bool) -> Any:
        return work(fails)

    assert asyncio.run(around(False)) == "done"
    with pytest.raises(RuntimeError):
        asyncio.run(around(True))

    metrics = registry["work"].metrics()
    assert (metrics.successes, metrics.failures) == (1, 1)


def test_a_stream_that_nobody_reads_leaves_no_permit_behind(registry: Registry, kind: int) -> None:
    class Unread(StreamingResponse):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("something else")(scope, receive, send)

    serve(both_kinds(lambda: Unread(iter([b"never"])))[kind], registry).get("/1")

    # A worker thread lets go of what it returned a moment after the caller has it.
    deadline = time.monotonic() + 10.0
    while registry["payments"].metrics().in_flight and time.monotonic() < deadline:
        time.sleep(0.001)
    metrics = registry["payments"].metrics()
    assert (metrics.calls, metrics.in_flight) == (1, 0)
    assert (metrics.successes, metrics.failures) == (0, 0)


def test_a_protected_endpoint_counts_for_its_breaker_and_not_for_its_route(
    registry: Registry,
) -> None:
    app = Starlette(routes=[Route("/{id}", protect(registry, "payments")(page))])
    client = TestClient(BreakerMiddleware(app, registry))

    client.get("/1")

    assert [(each.key, each.metrics().calls) for each in registry] == [("payments", 1)]


def test_nothing_is_protected_where_the_environment_turns_breakers_off(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    client = serve(page, registry)
    open_breaker(registry["payments"])

    assert client.get("/1").text == "page"


def test_a_handler_for_the_error_answers_in_place_of_the_frameworks(registry: Registry) -> None:
    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, EndpointRefusedError)
        return PlainTextResponse(f"{error.key} {error.state.value}", 418)

    client = serve(page, registry, exception_handlers={BreakerOpenError: handler})
    open_breaker(registry["payments"])

    answer = client.get("/1")

    assert (answer.status_code, answer.text) == (418, "payments open")


def test_a_class_is_not_protected_silently(registry: Registry) -> None:
    with pytest.raises(TypeError, match="decorate its methods"):
        protect(registry, "payments")(Item)


def test_a_method_of_a_class_based_endpoint_is_protected(registry: Registry) -> None:
    class Payments(HTTPEndpoint):
        @protect(registry, "payments")
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("paid")

    class Chat(WebSocketEndpoint):
        @protect(registry, "chat")
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.close()

    app = Starlette(routes=[Route("/", Payments), WebSocketRoute("/chat", Chat)])
    app.add_middleware(BreakerMiddleware, registry=registry)
    client = TestClient(app)
    assert [client.get("/").text, client.head("/").status_code] == ["paid", 200]
    converse(app, path="/chat")
    # Not by its route's breaker as well.
    assert [breaker.key for breaker in registry.breakers()] == ["payments", "chat"]
    open_breaker(registry["payments"])

    assert client.get("/").status_code == 503
