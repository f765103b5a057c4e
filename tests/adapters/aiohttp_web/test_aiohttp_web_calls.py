"""aiohttp.web: when a call begins and ends, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.breaker_state import votes

pytest.importorskip("aiohttp")

import aiohttp
from aiohttp import web

from recloser import BreakerOpenError, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.aiohttp_web import BreakerMiddleware, _exchange, permit_of, refuse

Serve = Callable[..., Any]
REFUSAL = BreakerOpenError("upstream", State.OPEN, None, 20.0)


def guarded(registry: Registry, handler: Any, *inner: Any, **options: Any) -> web.Application:
    app = web.Application(middlewares=[BreakerMiddleware(registry, **options), *inner])
    app.router.add_route("*", "/x", handler)
    return app


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until the server has done what the client cannot see."""
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def ok(request: web.Request) -> web.Response:
    return web.Response(text="ok")


# Answers


@pytest.mark.parametrize(
    ("raised", "status", "vote"),
    [
        (web.HTTPFound("/y"), 302, "successes"),
        (web.HTTPNotFound(), 404, "ignored"),
        (web.HTTPBadGateway(), 502, "failures"),
        (ArithmeticError(), 500, "failures"),
        (TimeoutError(), 504, "failures"),
    ],
    ids=["302", "404", "502", "error", "timeout"],
)
def test_what_is_raised_counts_as_it_is_answered(
    serve: Serve, registry: Registry, raised: Exception, status: int, vote: str
) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise raised

    async def play(client: Any) -> int:
        return int((await client.get("/x", allow_redirects=False)).status)

    assert serve(guarded(registry, handler), play) == status
    assert votes(registry["GET /x"].metrics()) == {vote: 1}


@pytest.mark.parametrize("answer", [web.Response, web.HTTPFound])
def test_an_answer_that_comes_late_is_slow_also_if_no_other_call_is_in_flight(
    serve: Serve, registry: Registry, clock: ManualClock, answer: Any
) -> None:
    took = [0.01] * 40 + [1.0] * 4

    async def handler(request: web.Request) -> web.Response:
        clock.advance(took.pop(0))
        if answer is web.HTTPFound:
            raise web.HTTPFound("/y")
        return web.Response(text="ok")

    async def play(client: Any) -> None:
        while took:
            await client.get("/x", allow_redirects=False)

    serve(guarded(registry, handler), play)

    assert registry["GET /x"].metrics().slow == 4


def test_no_response_at_all_is_a_failure(serve: Serve, registry: Registry) -> None:
    async def handler(request: web.Request) -> Any:
        return None

    async def play(client: Any) -> int:
        return int((await client.get("/x")).status)

    assert serve(guarded(registry, handler), play) == 500
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_other_middlewares_are_part_of_the_call(serve: Serve, registry: Registry) -> None:
    @web.middleware
    async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except LookupError:
            response = web.Response(status=404)
        return response

    async def handler(request: web.Request) -> web.Response:
        raise LookupError

    async def play(client: Any) -> int:
        return int((await client.get("/x")).status)

    assert serve(guarded(registry, handler, errors), play) == 404
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


# Refusals


async def raises(request: web.Request) -> web.Response:
    raise REFUSAL


async def answers(request: web.Request) -> web.Response:
    try:
        raise REFUSAL
    except BreakerOpenError as error:
        return refuse(request, error)


@pytest.mark.parametrize("handler", [raises, answers])
def test_a_refusal_of_an_outbound_call_is_no_failure(
    serve: Serve, registry: Registry, handler: Any
) -> None:
    async def play(client: Any) -> None:
        for _ in range(20):
            response = await client.get("/x")
            assert response.status == 503
            assert response.content_type == "application/problem+json"
            assert int(response.headers["Retry-After"]) >= 20

    serve(guarded(registry, handler), play)

    assert votes(registry["GET /x"].metrics()) == {"ignored": 20}


def test_an_answer_that_stands_for_a_refusal_is_no_failure(
    serve: Serve, registry: Registry
) -> None:
    async def handler(request: web.Request) -> web.Response:
        try:
            raise REFUSAL
        except BreakerOpenError as error:
            raise web.HTTPServiceUnavailable from error

    serve(guarded(registry, handler), lambda client: client.get("/x"))

    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_on_refuse_answers(serve: Serve, registry: Registry) -> None:
    async def later(request: web.Request, error: BreakerOpenError) -> web.StreamResponse:
        if request.query.get("raise"):
            raise web.HTTPTooManyRequests(text="later")
        return web.Response(status=202, text=error.key)

    registry["GET /x"].open()

    async def play(client: Any) -> list[Any]:
        found = [await client.get("/x"), await client.get("/x?raise=1")]
        return [(response.status, await response.text()) for response in found]

    answered = serve(guarded(registry, ok, on_refuse=later), play)

    assert answered == [(202, "GET /x"), (429, "later")]
    assert registry.faults == 0


def test_a_refusal_goes_through_response_signals(serve: Serve, registry: Registry) -> None:
    """As aiohttp_cors adds its headers."""

    async def add_header(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = "*"

    app = guarded(registry, ok)
    app.on_response_prepare.append(add_header)
    registry["GET /x"].open()

    response = serve(app, lambda client: client.get("/x"))

    assert response.status == 503
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_handler_may_give_its_own_verdict(serve: Serve, registry: Registry) -> None:
    async def handler(request: web.Request) -> web.Response:
        permit_of(request).failure("stale data served")
        return web.Response(text="old")

    serve(guarded(registry, handler), lambda client: client.get("/x"))

    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_a_permit_has_no_effect_where_nothing_guards(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        permit_of(request).failure("stale data served")
        return web.Response(text="old")

    app = web.Application()
    app.router.add_get("/x", handler)

    assert serve(app, lambda client: client.get("/x")).status == 200


# Streams


def test_of_a_stream_the_first_piece_is_the_answer(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        clock.advance(0.25)
        await response.write(b"one")
        clock.advance(100.0)
        await response.write(memoryview(b"two"))
        return response

    async def play(client: Any) -> bytes:
        return await (await client.get("/x")).read()  # type: ignore[no-any-return]

    assert serve(guarded(registry, handler), play) == b"onetwo"
    assert votes(registry["GET /x"].metrics()) == {"successes": 1}
    assert registry["GET /x"].metrics().mean == pytest.approx(0.25)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_body_that_is_an_async_iterator_is_watched_to_its_end(
    serve: Serve, registry: Registry, clock: ManualClock, breaks: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        clock.advance(0.25)
        yield b"one"
        clock.advance(100.0)
        if breaks:
            raise ArithmeticError
        yield b"two"

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=pieces())

    async def play(client: Any) -> None:
        response = await client.get("/x")
        try:
            assert await response.read() == b"onetwo"
        except aiohttp.ClientPayloadError:
            assert breaks

    serve(guarded(registry, handler), play)

    expected = {"failures": 1} if breaks else {"successes": 1}
    assert votes(registry["GET /x"].metrics()) == expected


def test_a_response_that_the_handler_sends_itself_ends_with_it(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text="ok")
        await response.prepare(request)
        await response.write_eof()
        clock.advance(500.0)  # work after the answer
        return response

    serve(guarded(registry, handler), lambda client: client.get("/x"))

    assert votes(registry["GET /x"].metrics()) == {"successes": 1}
    assert registry["GET /x"].metrics().mean < 1.0


# Clients


def endless(began: asyncio.Event) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)
            began.set()
            await asyncio.sleep(0)

    return handler


@pytest.mark.parametrize("cancels", [False, True])
def test_a_client_that_leaves_a_stream_is_no_vote(
    serve: Serve, registry: Registry, cancels: bool
) -> None:
    """Whether aiohttp cancels the handler, or only its next write fails."""

    async def play(client: Any) -> None:
        response = await client.get("/x")
        await response.content.read(10)
        response.close()
        await settled(lambda: registry["GET /x"].metrics().in_flight == 0)

    app = guarded(registry, endless(asyncio.Event()))
    serve(app, play, handler_cancellation=cancels)

    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}


def test_a_client_that_leaves_before_the_answer_is_no_vote_where_it_cancels(
    serve: Serve, registry: Registry
) -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(1000.0)
        raise AssertionError

    async def play(client: Any) -> None:
        asking = asyncio.ensure_future(client.get("/x"))
        await settled(lambda: registry["GET /x"].metrics().in_flight == 1)
        asking.cancel()
        await settled(lambda: registry["GET /x"].metrics().in_flight == 0)

    serve(guarded(registry, handler), play, handler_cancellation=True)

    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}


def test_an_error_of_the_connection_to_another_host_is_a_failure(
    serve: Serve, registry: Registry
) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise ConnectionResetError("the database is gone")

    async def play(client: Any) -> None:
        # aiohttp takes it for one of its own, and closes the connection without an answer.
        with pytest.raises(aiohttp.ClientError):
            (await client.get("/x")).raise_for_status()

    serve(guarded(registry, handler), play)

    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


# Uploads


async def by_read(request: web.Request) -> bytes:
    return await request.read()


async def by_chunks(request: web.Request) -> bytes:
    return b"".join([chunk async for chunk in request.content.iter_chunked(2)])


async def by_any(request: web.Request) -> bytes:
    return b"".join([chunk async for chunk in request.content.iter_any()])


async def by_http_chunks(request: web.Request) -> bytes:
    return b"".join([chunk async for chunk, _ in request.content.iter_chunks()])


async def by_exact(request: web.Request) -> bytes:
    return await request.content.readexactly(4)


async def by_lines(request: web.Request) -> bytes:
    return b"".join([line async for line in request.content])


@pytest.mark.parametrize("read", [by_read, by_chunks, by_any, by_http_chunks, by_exact, by_lines])
def test_the_time_of_the_client_is_not_the_handlers(
    serve: Serve, registry: Registry, clock: ManualClock, read: Any
) -> None:
    reading = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        clock.advance(0.25)
        reading.set()
        body = await read(request)
        clock.advance(0.25)
        return web.Response(body=body)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"on"
        await reading.wait()  # the handler goes on until it waits for this
        clock.advance(1000.0)
        yield b"ce"

    async def play(client: Any) -> bytes:
        return await (await client.post("/x", data=slowly())).read()  # type: ignore[no-any-return]

    assert serve(guarded(registry, handler), play) == b"once"
    metrics = registry["POST /x"].metrics()
    assert votes(metrics) == {"successes": 1}
    assert metrics.mean == pytest.approx(0.5)
    assert registry.faults == 0


def test_a_form_with_a_file_is_read_as_ever(serve: Serve, registry: Registry) -> None:
    async def handler(request: web.Request) -> web.Response:
        form: Any = await request.post()
        assert isinstance(request.content, aiohttp.StreamReader)
        assert request.content.total_bytes > 0
        return web.Response(body=form["file"].file.read())

    async def play(client: Any) -> bytes:
        form = aiohttp.FormData()
        form.add_field("file", b"content" * 10_000, filename="a.txt")
        return await (await client.post("/x", data=form)).read()  # type: ignore[no-any-return]

    assert serve(guarded(registry, handler), play) == b"content" * 10_000
    assert votes(registry["POST /x"].metrics()) == {"successes": 1}
    assert registry.faults == 0


def test_a_client_that_leaves_while_it_sends_has_no_say(serve: Serve, registry: Registry) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def play(client: Any) -> None:
        _, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await settled(lambda: registry["POST /x"].metrics().in_flight == 1)
        writer.close()
        await settled(lambda: registry["POST /x"].metrics().in_flight == 0)

    serve(guarded(registry, handler), play)

    assert votes(registry["POST /x"].metrics()) in ({"ignored": 1}, {"cancelled": 1})


# WebSockets


async def echo(request: web.Request) -> web.StreamResponse:
    if request.query.get("deny"):
        raise web.HTTPForbidden
    if request.query.get("fail"):
        raise ArithmeticError
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


def test_of_a_websocket_the_handshake_is_the_call(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    async def play(client: Any) -> None:
        async with client.ws_connect("/x") as socket:
            clock.advance(1000.0)
            await socket.send_str("hello")
            assert (await socket.receive()).data == "hello"
            assert registry["GET /x"].metrics().in_flight == 0

    serve(guarded(registry, echo), play)

    assert votes(registry["GET /x"].metrics()) == {"successes": 1}
    assert registry["GET /x"].metrics().mean < 1.0


def test_a_client_that_leaves_before_its_handshake_is_no_vote(
    serve: Serve, registry: Registry
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await settled(lambda: request.transport is None)
        socket = web.WebSocketResponse()
        await socket.prepare(request)  # raises an error of the connection
        return socket

    async def play(client: Any) -> None:
        connecting = asyncio.ensure_future(client.ws_connect("/x"))
        await settled(lambda: registry["GET /x"].metrics().in_flight == 1)
        connecting.cancel()
        await settled(lambda: registry["GET /x"].metrics().in_flight == 0)

    serve(guarded(registry, handler), play)

    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}


@pytest.mark.parametrize(
    ("query", "status", "vote"), [("deny=1", 403, "ignored"), ("fail=1", 500, "failures")]
)
def test_a_handshake_that_is_denied_counts_as_its_answer(
    serve: Serve, registry: Registry, query: str, status: int, vote: str
) -> None:
    async def play(client: Any) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
            await client.ws_connect(f"/x?{query}")
        assert denied.value.status == status

    serve(guarded(registry, echo), play)

    assert votes(registry["GET /x"].metrics()) == {vote: 1}


def test_a_handshake_is_refused_by_the_same_503(serve: Serve, registry: Registry) -> None:
    registry["GET /x"].open(for_=20.0)

    async def play(client: Any) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/x")
        assert refused.value.status == 503
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) >= 20

    serve(guarded(registry, echo), play)


# Cutting off


def test_a_handler_that_is_hopeless_is_cut_off(serve: Serve) -> None:
    # On the clock of the wall: a hopeless answer takes some times the normal latency.
    registry = Registry()
    cancelled: list[bool] = []

    async def handler(request: web.Request) -> web.Response:
        if request.query.get("hang"):
            try:
                await asyncio.sleep(1000.0)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
        return web.Response(text="ok")

    async def play(client: Any) -> Any:
        for _ in range(100):
            await client.get("/x")
        return (await client.get("/x?hang=1")).status

    assert serve(guarded(registry, handler, cut_off=True), play) == 504
    assert cancelled == [True]


def test_nothing_is_left_of_a_request(serve: Serve, registry: Registry) -> None:
    """What replaced the methods of aiohttp's writer is gone, so no cycle keeps the request."""
    import gc
    import weakref

    requests: list[weakref.ref[web.Request]] = []

    async def handler(request: web.Request) -> web.Response:
        requests.append(weakref.ref(request))
        return web.Response(body=await request.read())

    async def play(client: Any) -> int:
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await (await client.post("/x", data=b"abc")).read()
            return sum(1 for request in requests if request() is not None)
        finally:
            gc.enable()

    assert serve(guarded(registry, handler), play) <= 1  # the last one, perhaps


def test_what_this_version_of_aiohttp_does_not_have_breaks_no_request(
    serve: Serve, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise AttributeError("no such attribute")

    monkeypatch.setattr(_exchange, "WatchedReader", fails)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def play(client: Any) -> bytes:
        return await (await client.post("/x", data=b"abc")).read()  # type: ignore[no-any-return]

    assert serve(guarded(registry, handler), play) == b"abc"
    assert registry.faults == 1
    assert votes(registry["POST /x"].metrics()) == {"successes": 1}
