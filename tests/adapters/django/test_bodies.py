"""Streams, files, uploads, and clients that leave, through the real handlers."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from tests.support import asgi_client, wsgi_client
from tests.support.asgi_client import Leaving
from tests.support.breaker_state import votes

pytest.importorskip("django")

import django
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from tests.support.django_project import MIDDLEWARE, Project, Start

from recloser import Policy
from recloser.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

# Until then Django did not listen for that.
listens = pytest.mark.skipif(django.VERSION < (5, 0), reason="needs Django 5.0")
CONTENT = Path(__file__).read_bytes()
GZIP = "django.middleware.gzip.GZipMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


def endless() -> Iterator[bytes]:
    while True:
        yield b"more"


def stream(request: HttpRequest) -> StreamingHttpResponse:
    status = int(request.GET.get("status", "200"))
    return StreamingHttpResponse(endless(), status=status)


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in endless():
            yield piece
            await asyncio.sleep(0)

    return StreamingHttpResponse(pieces(), status=int(request.GET.get("status", "200")))


async def waits(request: HttpRequest) -> HttpResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


def upload(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.body)))


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.POST["name"])


PATTERNS = [
    path("stream", stream),
    path("stream-async", stream_async),
    path("waits", waits),
    path("file", file),
    path("upload", upload),
    path("form", form),
]


@pytest.fixture
def project(start: Start) -> Project:
    return start(PATTERNS)


# Latency


@pytest.mark.parametrize("status", [200, 204])
async def test_an_answer_that_comes_late_is_slow_also_if_no_other_call_is_in_flight(
    start: Start, clock: ManualClock, status: int
) -> None:
    took = [0.01] * 40 + [1.0] * 4

    def view(request: HttpRequest) -> HttpResponse:
        clock.advance(took.pop(0))
        return HttpResponse(status=status)

    project = start([path("late", view)])
    while took:
        project.get("/late")

    assert project.registry["GET /late"].metrics().slow == 4


# Clients that leave


@listens
@pytest.mark.parametrize("query", ["", "?status=500"])
async def test_a_client_that_leaves_an_async_stream_is_no_vote_unless_it_was_told_a_failure(
    project: Project, query: str
) -> None:
    handler = project.asgi()
    for _ in range(20):
        exchange = asgi_client.Exchange(
            path="/stream-async", leaving=Leaving.RECEIVE, leaves_after=3
        )
        exchange.scope["query_string"] = query[1:].encode()
        answer = await exchange.run(handler)
        assert answer.error is None

    expected = "failures" if query else "cancelled"
    gc.collect()
    assert sum(votes(project.registry["GET /stream-async"].metrics()).values()) >= 5
    assert set(votes(project.registry["GET /stream-async"].metrics())) <= {expected, "refused"}


@listens
async def test_a_client_that_leaves_while_the_view_works_is_no_vote(project: Project) -> None:
    handler = project.asgi()
    for _ in range(20):
        exchange = asgi_client.Exchange(path="/waits", leaving=Leaving.RECEIVE)
        running = asyncio.ensure_future(exchange.run(handler))
        for _ in range(20):
            await asyncio.sleep(0)
        if not running.done():
            exchange._over.set()
        await asyncio.wait_for(running, 10.0)

    assert set(votes(project.registry["GET /waits"].metrics())) <= {"cancelled"}


@pytest.mark.parametrize("query", ["", "?status=500"])
async def test_a_client_that_leaves_a_stream_under_wsgi(project: Project, query: str) -> None:
    exchange = wsgi_client.Exchange(path="/stream", leaves_after=2)
    exchange.environ["QUERY_STRING"] = query[1:]

    exchange.run(project.wsgi())

    expected = "failures" if query else "cancelled"
    assert votes(project.registry["GET /stream"].metrics()) == {expected: 1}


# Files


async def test_a_file_is_left_to_the_server(project: Project) -> None:
    exchange = wsgi_client.Exchange(path="/file")
    exchange.environ["wsgi.file_wrapper"] = FileWrapper

    handler: Any = project.wsgi()
    body: Any = handler(exchange.environ, lambda status, headers: None)

    assert type(body) is FileWrapper
    assert votes(project.registry["GET /file"].metrics()) == {"successes": 1}
    body.close()


async def test_a_file_is_watched_where_django_sends_it(project: Project) -> None:
    answer = wsgi_client.Exchange(path="/file").run(project.wsgi())

    assert answer.body == CONTENT
    assert votes(project.registry["GET /file"].metrics()) == {"successes": 1}


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
async def test_a_file_under_asgi(project: Project) -> None:
    answer = await asgi_client.Exchange(path="/file").run(project.asgi())

    assert answer.body == CONTENT
    assert votes(project.registry["GET /file"].metrics()) == {"successes": 1}


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
async def test_middleware_that_changes_bodies_does_so_as_before(start: Start) -> None:
    import gzip

    project = start(PATTERNS, MIDDLEWARE=[GZIP, MIDDLEWARE, CONDITIONAL])

    answer = project.get("/file", accept_encoding="gzip")

    assert gzip.decompress(b"".join(answer.streaming_content)) == CONTENT
    assert votes(project.registry["GET /file"].metrics()) == {"successes": 1}
    answer.close()


# Uploads


class SlowClient(io.RawIOBase):
    """A body that takes its time, or ends too early."""

    def __init__(self, clock: ManualClock, content: bytes, *, breaks: bool = False) -> None:
        self._clock = clock
        self._content = io.BytesIO(content)
        self._breaks = breaks

    def read(self, size: int = -1) -> bytes:
        self._clock.advance(30.0)
        if self._breaks:
            raise ConnectionResetError
        return self._content.read(size)


def send(
    project: Project, path: str, body: Any, length: int, content_type: str = "text/plain"
) -> int | None:
    exchange = wsgi_client.Exchange("POST", path)
    exchange.environ["wsgi.input"] = body
    exchange.environ["CONTENT_LENGTH"] = str(length)
    exchange.environ["CONTENT_TYPE"] = content_type
    return exchange.run(project.wsgi()).status


@pytest.mark.parametrize("policy", [Policy(slow_ceiling=2.0)])
async def test_a_client_that_is_slow_to_send_makes_no_view_slow(
    project: Project, clock: ManualClock, policy: Policy
) -> None:
    for _ in range(20):
        assert send(project, "/upload", SlowClient(clock, b"x" * 10), 10) == 200
        form_body = SlowClient(clock, b"name=a")
        kind = "application/x-www-form-urlencoded"
        assert send(project, "/form", form_body, 6, kind) == 200

    for key in ("POST /upload", "POST /form"):
        metrics = project.registry[key].metrics()
        assert votes(metrics) == {"successes": 20}
        assert metrics.mean < 1.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_client_that_breaks_off_is_no_failure(project: Project, clock: ManualClock) -> None:
    for _ in range(20):
        body = SlowClient(clock, b"x" * 10, breaks=True)
        status = send(project, "/upload", body, 10)
        assert status is not None
        assert status >= 400

    assert votes(project.registry["POST /upload"].metrics()) == {"ignored": 20}


async def test_an_upload_arrives_whole(project: Project) -> None:
    exchange = wsgi_client.Exchange("POST", "/upload")
    exchange.environ["wsgi.input"] = io.BufferedReader(io.BytesIO(b"x" * 100_000))
    exchange.environ["CONTENT_LENGTH"] = "100000"

    assert exchange.run(project.wsgi()).body == b"100000"


# Middleware that is not async


async def test_below_it_may_be_middleware_that_is_not_async(start: Start) -> None:
    project = start(PATTERNS, MIDDLEWARE=[MIDDLEWARE, f"{__name__}.only_sync"])

    exchange = asgi_client.Exchange(path="/stream", leaving=Leaving.SILENT, leaves_after=2)
    exchange.scope["path"] = "/upload"
    answer = await exchange.run(project.asgi())

    assert answer.body == b"0"
    assert votes(project.registry["GET /upload"].metrics()) == {"successes": 1}


def only_sync(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        return get_response(request)

    return middleware


async def test_no_request_is_kept_alive(project: Project) -> None:
    """Neither by a cycle: garbage would wait for the collector."""
    import weakref

    gc.collect()
    gc.disable()
    try:
        kept: list[Any] = []

        class Handler(type(project.wsgi())):  # type: ignore[misc]
            def get_response(self, request: Any) -> Any:
                kept.append(weakref.ref(request))
                return super().get_response(request)

        # A path without a pattern would be kept by the log record of its 404.
        for name in ("/upload", "/file", "/stream"):
            exchange = wsgi_client.Exchange(path=name, leaves_after=1)
            exchange.run(Handler())
            del exchange
        alive = [request for request in kept if request() is not None]
    finally:
        gc.enable()
    assert len(kept) == 3
    assert alive == []
