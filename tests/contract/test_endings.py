"""Where a response ends, in each way that ASGI and WSGI have for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from tests.support.counts import votes

import recloser.asgi
import recloser.wsgi
from recloser import Registry
from recloser.testing import ManualClock

from .test_verdict import OopsError

START = {"type": "http.response.start", "status": 200, "headers": []}
START_WITH_TRAILERS = {**START, "trailers": True}
BODY = {"type": "http.response.body", "body": b"chunk"}
MORE_BODY = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": []}
MORE_TRAILERS = {**TRAILERS, "more_trailers": True}
PATHSEND = {"type": "http.response.pathsend", "path": "/tmp/file"}
ZEROCOPY = {"type": "http.response.zerocopysend", "file": 3}
MORE_ZEROCOPY = {**ZEROCOPY, "more_body": True}
PUSH = {"type": "http.response.push", "path": "/", "headers": []}


def run(registry: Registry, messages: Iterable[Any], *, then: BaseException | None = None) -> None:
    """Let an app send messages, and raise in the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    guarded = recloser.asgi.BreakerMiddleware(app, registry)
    try:
        asyncio.run(guarded(scope, receive, send))
    except OopsError:
        assert then is not None


@pytest.mark.parametrize(
    "messages",
    [
        [START, BODY],
        [START, MORE_BODY, BODY],
        [START, PATHSEND],
        [START, ZEROCOPY],
        [START, MORE_ZEROCOPY, MORE_BODY, ZEROCOPY],
        [START_WITH_TRAILERS, BODY, TRAILERS],
        [START_WITH_TRAILERS, MORE_BODY, BODY, MORE_TRAILERS, TRAILERS],
        [START_WITH_TRAILERS, PATHSEND, TRAILERS],
        [PUSH, START, BODY],
    ],
)
def test_an_error_after_the_last_message_is_not_judged(
    registry: Registry, messages: list[Any]
) -> None:
    run(registry, messages, then=OopsError("in the background"))

    assert votes(registry["app"].metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [PUSH],
        [START],
        [START, MORE_BODY],
        [START, MORE_ZEROCOPY],
        [START_WITH_TRAILERS, BODY],
        [START_WITH_TRAILERS, PATHSEND],
        [START_WITH_TRAILERS, BODY, MORE_TRAILERS],
    ],
)
def test_an_error_before_it_is_a_failure_and_a_return_is_no_vote(
    registry: Registry, messages: list[Any]
) -> None:
    run(registry, messages, then=OopsError("midway"))
    run(registry, messages)

    assert votes(registry["app"].metrics()) == {"failures": 1, "cancelled": 1}


def test_the_error_of_an_app_that_was_told_of_its_clients_leaving_is_no_failure(
    registry: Registry,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        raise OopsError("nobody is there")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    with pytest.raises(OopsError):
        asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert votes(registry["app"].metrics()) == {"cancelled": 1}


def test_a_disconnect_heard_after_the_end_changes_nothing(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        await receive()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert votes(registry["app"].metrics()) == {"successes": 1}


def test_each_refusal_has_headers_of_its_own(registry: Registry) -> None:
    """Middleware further out, CORS for one, adds to the very list that it is given."""
    registry["app"].open(for_=0.5)
    guarded = recloser.asgi.BreakerMiddleware(lambda *args: pytest.fail("called"), registry)
    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append([*message.get("headers", [])])
        message.setdefault("headers", []).append((b"vary", b"origin"))
        message["status"] = 200

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    for _ in range(2):
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        asyncio.run(guarded(scope, receive, send))

    assert seen[:2] == seen[2:]
    assert (b"vary", b"origin") not in seen[2]


def serve(app: Any, **environ: Any) -> list[bytes]:
    written: list[bytes] = []
    body = app(environ, lambda status, headers, exc_info=None: written.append)
    try:
        written += body
    finally:
        getattr(body, "close", lambda: None)()
    return written


def test_an_app_that_writes_ends_with_its_return(registry: Registry, clock: ManualClock) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        clock.advance(0.5)
        write(b"two")
        return []

    written = serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert written == [b"one", b"two"]
    metrics = registry["app"].metrics()
    assert votes(metrics) == {"successes": 1}
    assert metrics.mean == pytest.approx(0.5)


def test_a_file_ends_with_its_headers(registry: Registry, clock: ManualClock) -> None:
    class FileWrapper:
        def __iter__(self) -> Any:
            assert votes(registry["app"].metrics()) == {"successes": 1}
            clock.advance(100.0)
            return iter([b"file"])

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"]()

    guarded = recloser.wsgi.BreakerMiddleware(app, registry)

    assert serve(guarded, **{"wsgi.file_wrapper": FileWrapper}) == [b"file"]
    assert votes(registry["app"].metrics()) == {"successes": 1}


def test_empty_chunks_do_not_start_a_wsgi_response(registry: Registry, clock: ManualClock) -> None:
    """A server holds the headers back until there is something to send with them."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b""
        clock.advance(0.5)
        yield b"first"
        clock.advance(100.0)
        yield b"second"

    serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert registry["app"].metrics().mean == pytest.approx(0.5)


def test_a_status_that_is_none_is_no_vote(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("fine", [])
        return [b""]

    serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert votes(registry["app"].metrics()) == {"cancelled": 1}


def test_closing_a_body_early_ends_its_call_at_once(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        yield b"two"

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    body = guarded({}, lambda status, headers: None)
    assert next(iter(body)) == b"one"
    body.close()

    assert votes(registry["app"].metrics()) == {"cancelled": 1}
    del body


def test_a_status_that_the_server_did_not_take_does_not_count(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        try:
            try:
                raise OopsError("midway")
            except OopsError:
                start_response("500 Oops", [], sys.exc_info())
        except OopsError:
            yield b"never mind"

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        if exc_info:
            raise exc_info[1]

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)

    assert [*guarded({}, start_response)] == [b"one", b"never mind"]
    assert votes(registry["app"].metrics()) == {"successes": 1}


def test_a_body_that_cannot_be_iterated_is_a_failure(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    with pytest.raises(TypeError, match="NoneType"):
        serve(guarded)

    assert votes(registry["app"].metrics()) == {"failures": 1}
