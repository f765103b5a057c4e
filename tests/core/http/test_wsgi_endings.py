"""Where a WSGI response ends, in each way that WSGI has for it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.support.breaker_state import votes

import recloser.asgi
import recloser.wsgi
from recloser import Registry
from recloser.testing import ManualClock


class OopsError(Exception):
    pass


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
