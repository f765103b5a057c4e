"""Tornado: when a call begins and ends, on a real server."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.breaker_state import is_limited, votes

pytest.importorskip("tornado")

from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.web import Application, Finish, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler, websocket_connect

from recloser import BreakerOpenError, Policy, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.tornado import _exchange, guard, permit_of, refuse

Serve = Callable[..., Any]
REFUSAL = BreakerOpenError("upstream", State.OPEN, None, 20.0)


def guarded(registry: Registry, handler: Any, **options: Any) -> Application:
    app = Application([(r"/x", handler)])
    guard(app, registry, **options)
    return app


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until the server has done what the client cannot see."""
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


class Ok(RequestHandler):
    def get(self) -> None:
        self.write("ok")


# Answers


@pytest.mark.parametrize(
    ("raised", "status", "vote"),
    [
        (Finish("done"), 200, "successes"),
        (HTTPError(404), 404, "ignored"),
        (HTTPError(502), 502, "failures"),
        (ArithmeticError(), 500, "failures"),
    ],
    ids=["finish", "404", "502", "error"],
)
def test_what_is_raised_counts_as_it_is_answered(
    serve: Serve, registry: Registry, raised: Exception, status: int, vote: str
) -> None:
    class Handler(RequestHandler):
        async def get(self) -> None:
            raise raised

    response = serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert response.code == status
    assert votes(registry["GET /x"].metrics()) == {vote: 1}


def test_prepare_is_part_of_the_call(serve: Serve, registry: Registry) -> None:
    class Handler(Ok):
        async def prepare(self) -> None:
            raise ArithmeticError

    serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_a_redirect_and_an_etag_are_successes(serve: Serve, registry: Registry) -> None:
    class Handler(RequestHandler):
        def get(self) -> None:
            if self.get_argument("to", ""):
                self.redirect("/y")
            self.write("ok")

    async def play(client: Any) -> list[int]:
        etag = (await client.ask("GET", "/x")).headers["Etag"]
        again = await client.ask("GET", "/x", headers={"If-None-Match": etag})
        return [again.code, (await client.ask("GET", "/x?to=y")).code]

    # A redirect that writes afterwards raises: Tornado has finished.
    assert serve(guarded(registry, Handler), play) == [304, 302]
    assert votes(registry["GET /x"].metrics()) == {"successes": 3}


# Refusals


class Raises(RequestHandler):
    def get(self) -> None:
        raise REFUSAL


class Answers(RequestHandler):
    def get(self) -> None:
        try:
            raise REFUSAL
        except BreakerOpenError as error:
            refuse(self, error)


@pytest.mark.parametrize("handler", [Raises, Answers])
def test_a_refusal_of_an_outbound_call_is_no_failure(
    serve: Serve, registry: Registry, handler: Any
) -> None:
    async def play(client: Any) -> None:
        for _ in range(20):
            response = await client.ask("GET", "/x")
            assert response.code == 503
            assert response.headers["Content-Type"] == "application/problem+json"
            assert int(response.headers["Retry-After"]) >= 20

    serve(guarded(registry, handler), play)

    assert votes(registry["GET /x"].metrics()) == {"ignored": 20}


def test_the_write_error_of_a_handler_takes_precedence(serve: Serve, registry: Registry) -> None:
    class Handler(Raises):
        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.finish("mine")

    response = serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert (response.code, response.body) == (500, b"mine")
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_a_refused_handler_is_not_prepared_and_has_its_default_headers(
    serve: Serve, registry: Registry
) -> None:
    called: list[str] = []

    class Handler(Ok):
        def set_default_headers(self) -> None:
            self.set_header("Access-Control-Allow-Origin", "*")

        def prepare(self) -> None:
            called.append("prepare")

        def on_finish(self) -> None:
            called.append("on_finish")

    registry["GET /x"].open(for_=20.0)
    response = serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert response.code == 503
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert called == []


@pytest.mark.parametrize("is_async", [False, True])
def test_on_refuse_answers(serve: Serve, registry: Registry, is_async: bool) -> None:
    def later(handler: RequestHandler, error: BreakerOpenError) -> None:
        handler.set_status(429)
        handler.write(error.key)

    async def later_async(handler: RequestHandler, error: BreakerOpenError) -> None:
        await asyncio.sleep(0)
        later(handler, error)

    registry["GET /x"].open()
    app = guarded(registry, Ok, on_refuse=later_async if is_async else later)

    response = serve(app, lambda client: client.ask("GET", "/x"))

    assert (response.code, response.body) == (429, b"GET /x")
    assert registry.faults == 0


def test_a_handler_may_give_its_own_verdict(serve: Serve, registry: Registry) -> None:
    class Handler(RequestHandler):
        def get(self) -> None:
            permit_of(self).failure("stale data served")

    serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_a_permit_has_no_effect_where_nothing_guards(serve: Serve) -> None:
    class Handler(RequestHandler):
        def get(self) -> None:
            permit_of(self).failure("stale data served")

    app = Application([(r"/x", Handler)])

    assert serve(app, lambda client: client.ask("GET", "/x")).code == 200


# Streams


@pytest.mark.parametrize("waits", [False, True])
def test_of_a_stream_the_first_piece_is_the_answer(
    serve: Serve, registry: Registry, clock: ManualClock, waits: bool
) -> None:
    class Handler(RequestHandler):
        async def get(self) -> None:
            await self.flush()  # the headers alone
            clock.advance(0.25)
            for piece in ("one", "two"):
                self.write(piece)
                flushed = self.flush()
                if waits:
                    await flushed
                clock.advance(100.0)

    response = serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert response.body == b"onetwo"
    assert votes(registry["GET /x"].metrics()) == {"successes": 1}
    assert registry["GET /x"].metrics().mean == pytest.approx(0.25)
    assert registry.faults == 0


def test_a_stream_that_breaks_is_a_failure(serve: Serve, registry: Registry) -> None:
    """Tornado ends it as if all were well."""

    class Handler(RequestHandler):
        async def get(self) -> None:
            self.write("one")
            await self.flush()
            raise ArithmeticError

    response = serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x"))

    assert (response.code, response.body) == (200, b"one")
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_work_after_the_response_is_not_judged(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    class Handler(RequestHandler):
        async def get(self) -> None:
            await self.finish("ok")
            clock.advance(500.0)
            raise ArithmeticError

    assert serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x")).code == 200
    assert votes(registry["GET /x"].metrics()) == {"successes": 1}
    assert registry["GET /x"].metrics().mean < 1.0


# Clients


async def leave_after(client: Any, registry: Registry, size: int, request: bytes) -> None:
    """Send a request, read so many bytes of the answer, and close the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request)
    await writer.drain()
    await settled(lambda: len(registry.breakers()) == 1)
    await reader.readexactly(size)
    writer.close()
    [breaker] = registry.breakers()
    await settled(lambda: breaker.metrics().in_flight == 0)


GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_client_that_leaves_a_stream_is_no_vote(serve: Serve, registry: Registry) -> None:
    class Handler(RequestHandler):
        async def get(self) -> None:
            while True:
                self.write("x" * 10_000)
                await self.flush()

    async def play(client: Any) -> None:
        await leave_after(client, registry, 100, GET)

    serve(guarded(registry, Handler), play)

    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}
    assert registry.faults == 0


def test_a_client_that_leaves_before_the_answer_is_no_vote(
    serve: Serve, registry: Registry
) -> None:
    """Also where the handler then fails: it cancels what it waits for, as Tornado's docs do."""
    ended: list[bool] = []

    class Handler(RequestHandler):
        async def get(self) -> None:
            self.waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                await self.waiting
            finally:
                ended.append(self.waiting.cancelled())

        def on_connection_close(self) -> None:
            self.waiting.cancel()

    async def play(client: Any) -> None:
        await leave_after(client, registry, 0, GET)
        await settled(lambda: bool(ended))

    serve(guarded(registry, Handler), play)

    assert ended == [True]
    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}


@pytest.mark.parametrize("policy", [Policy(slow_ceiling=2.0)])
def test_a_client_that_leaves_late_has_waited_and_that_counts(
    serve: Serve, registry: Registry, clock: ManualClock, policy: Policy
) -> None:
    seen: list[str] = []

    class Handler(RequestHandler):
        async def get(self) -> None:
            clock.advance(policy.slow_ceiling + 1.0)
            seen.append("begun")
            await asyncio.get_running_loop().create_future()

        def on_connection_close(self) -> None:
            seen.append("left")

    async def play(client: Any) -> None:
        for _ in range(policy.min_failures):
            _, writer = await asyncio.open_connection("127.0.0.1", client.port)
            writer.write(GET)
            await settled(lambda: seen[-1:] == ["begun"])
            writer.close()
            await settled(lambda: seen[-1:] == ["left"])

    serve(guarded(registry, Handler), play)

    # Not asked before: a look at the figures judges calls that are in flight.
    assert is_limited(registry["GET /x"])


def test_a_stream_that_another_host_closes_is_a_failure(serve: Serve, registry: Registry) -> None:
    class Handler(RequestHandler):
        async def get(self) -> None:
            raise StreamClosedError

    assert serve(guarded(registry, Handler), lambda client: client.ask("GET", "/x")).code == 500
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


# Uploads


def test_a_request_begins_when_its_body_has_arrived(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    class Handler(RequestHandler):
        def post(self) -> None:
            clock.advance(0.25)
            self.write(self.request.body)

    async def play(client: Any) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\non")
        await writer.drain()
        clock.advance(1000.0)
        writer.write(b"ce")
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(4)
        writer.close()
        return body

    assert serve(guarded(registry, Handler), play) == b"once"
    assert registry["POST /x"].metrics().mean == pytest.approx(0.25)


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.received = b""

    def data_received(self, chunk: bytes) -> None:
        self.received += chunk

    async def put(self) -> None:
        self.write(self.received)


def test_the_time_of_an_upload_that_is_streamed_to_the_handler_is_the_clients(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    parts: list[bytes] = []

    class Handler(Upload):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            parts.append(chunk)

        async def put(self) -> None:
            clock.advance(0.25)
            await super().put()

    async def play(client: Any) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\non")
        await settled(lambda: parts == [b"on"])
        clock.advance(1000.0)
        writer.write(b"ce")
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(4)
        writer.close()
        return body

    assert serve(guarded(registry, Handler), play) == b"once"
    assert votes(registry["PUT /x"].metrics()) == {"successes": 1}
    assert registry["PUT /x"].metrics().mean == pytest.approx(0.25)
    assert registry.faults == 0


def test_a_client_that_leaves_while_it_sends_has_no_say(serve: Serve, registry: Registry) -> None:
    async def play(client: Any) -> None:
        request = b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
        await leave_after(client, registry, 0, request)

    serve(guarded(registry, Upload), play)

    assert votes(registry["PUT /x"].metrics()) == {"cancelled": 1}


def test_an_upload_is_refused_before_its_handler_gets_it(serve: Serve, registry: Registry) -> None:
    registry["PUT /x"].open()

    async def play(client: Any) -> Any:
        return await client.ask("PUT", "/x", body=b"x" * 100_000)

    assert serve(guarded(registry, Upload), play).code == 503


# WebSockets


class Echo(WebSocketHandler):
    def prepare(self) -> None:
        if self.get_argument("deny", ""):
            raise HTTPError(403)
        if self.get_argument("fail", ""):
            raise ArithmeticError

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def test_of_a_websocket_the_handshake_is_the_call(
    serve: Serve, registry: Registry, clock: ManualClock
) -> None:
    async def play(client: Any) -> None:
        socket = await websocket_connect(f"ws://127.0.0.1:{client.port}/x")
        clock.advance(1000.0)
        await socket.write_message("hello")
        assert await socket.read_message() == "hello"
        assert registry["WS /x"].metrics().in_flight == 0
        socket.close()

    serve(guarded(registry, Echo), play)

    assert votes(registry["WS /x"].metrics()) == {"successes": 1}
    assert registry["WS /x"].metrics().mean < 1.0
    assert registry.faults == 0


@pytest.mark.parametrize(
    ("query", "status", "vote"), [("deny=1", 403, "ignored"), ("fail=1", 500, "failures")]
)
def test_a_handshake_that_is_denied_counts_as_its_answer(
    serve: Serve, registry: Registry, query: str, status: int, vote: str
) -> None:
    async def play(client: Any) -> None:
        with pytest.raises(HTTPClientError) as denied:
            await websocket_connect(f"ws://127.0.0.1:{client.port}/x?{query}")
        assert denied.value.code == status

    serve(guarded(registry, Echo), play)

    assert votes(registry["WS /x"].metrics()) == {vote: 1}


def test_a_handshake_is_refused_by_the_same_503(serve: Serve, registry: Registry) -> None:
    registry["WS /x"].open(for_=20.0)

    async def play(client: Any) -> None:
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(f"ws://127.0.0.1:{client.port}/x")
        assert refused.value.code == 503

    serve(guarded(registry, Echo), play)

    assert registry["WS /x"].metrics().refused == 1


# Cutting off, and what is left


def test_a_handler_that_is_hopeless_is_cut_off(serve: Serve) -> None:
    # On the clock of the wall: a hopeless answer takes some times the normal latency.
    registry = Registry()
    cancelled: list[bool] = []

    class Handler(RequestHandler):
        async def get(self) -> None:
            if self.get_argument("hang", ""):
                try:
                    await asyncio.sleep(1000.0)
                except asyncio.CancelledError:
                    cancelled.append(True)
                    raise
            self.write("ok")

    async def play(client: Any) -> int:
        for _ in range(100):
            await client.ask("GET", "/x")
        return int((await client.ask("GET", "/x?hang=1")).code)

    assert serve(guarded(registry, Handler, cut_off=True), play) == 504
    assert cancelled == [True]


def test_nothing_is_left_of_a_request(serve: Serve, registry: Registry) -> None:
    """What replaced the methods of a handler is gone, so no cycle keeps it."""
    handlers: list[weakref.ref[Any]] = []

    class Handler(Ok):
        def prepare(self) -> None:
            handlers.append(weakref.ref(self))

    def left(app: Application) -> int:
        async def play(client: Any) -> int:
            gc.collect()
            gc.disable()
            try:
                handlers.clear()
                for _ in range(20):
                    await client.ask("GET", "/x")
                return sum(1 for handler in handlers if handler() is not None)
            finally:
                gc.enable()

        found: int = serve(app, play)
        return found

    assert left(guarded(registry, Handler)) <= left(Application([(r"/x", Handler)]))


def test_what_this_version_of_tornado_does_not_have_breaks_no_request(
    serve: Serve, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise AttributeError("no such attribute")

    monkeypatch.setattr(_exchange, "_Seen", fails)

    assert serve(guarded(registry, Ok), lambda client: client.ask("GET", "/x")).body == b"ok"
    assert registry.faults == 1
    assert votes(registry["GET /x"].metrics()) == {"cancelled": 1}
