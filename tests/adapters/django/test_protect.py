"""`protect`, `exempt` and `keyed` on views of all kinds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.support.breaker_state import votes

pytest.importorskip("django")

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    StreamingHttpResponse,
)
from django.test import RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_GET
from tests.support.django_project import Project, Start

from recloser import BreakerOpenError, Mode, Registry
from recloser.testing import ManualClock
from recloser_adapters.django import exempt, guarded_keys, permit_of, protect

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RAISED: dict[str, tuple[Exception, str]] = {
    "missing": (Http404("no such order"), "ignored"),
    "denied": (PermissionDenied(), "ignored"),
    "odd": (SuspiciousOperation(), "ignored"),
    "own": (ZeroDivisionError(), "failures"),
    "status": (type("StatusError", (Exception,), {"status_code": 404})(), "failures"),
    "refused": (BreakerOpenError("ledger", retry_after=20.0), "ignored"),
}


def answer_or_raise(how: str) -> HttpResponse:
    if how in RAISED:
        raise RAISED[how][0]
    return HttpResponse("ok", status=int(how))


@require_GET
@protect(None, "payments")
def plain(request: HttpRequest, how: str) -> HttpResponse:
    return answer_or_raise(how)


@protect(None, "payments")
async def plain_async(request: HttpRequest, how: str) -> HttpResponse:
    return answer_or_raise(how)


class Mixed(View):
    @protect(None, "payments")
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    @exempt
    def put(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")


@method_decorator(protect(None, "payments"), name="dispatch")
class Whole(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")


@method_decorator(protect(None, "payments"), name="dispatch")
class WholeAsync(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok", status=502)


def pieces(breaks: bool) -> Iterator[bytes]:
    yield b"one"
    if breaks:
        raise ZeroDivisionError
    yield b"two"


@protect(None, "payments")
def stream(request: HttpRequest, breaks: int) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces(bool(breaks)))


@protect(None, "payments")
async def stream_async(request: HttpRequest, breaks: int) -> StreamingHttpResponse:
    async def async_pieces() -> AsyncIterator[bytes]:
        for piece in pieces(bool(breaks)):
            yield piece

    return StreamingHttpResponse(async_pieces())


@protect(None, "payments")
def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


PATTERNS = [
    path("plain/<how>", plain),
    path("plain-async/<how>", plain_async),
    path("mixed", Mixed.as_view()),
    path("whole", Whole.as_view()),
    path("whole-async", WholeAsync.as_view()),
    path("stream/<int:breaks>", stream),
    path("stream-async/<int:breaks>", stream_async),
    path("file", file),
]


@pytest.fixture
def project(start: Start) -> Project:
    return start(PATTERNS)


def counted(project: Project) -> dict[str, int]:
    return votes(project.registry["payments"].metrics())


@pytest.mark.parametrize("name", ["plain", "plain-async"])
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("200", "successes"),
        ("404", "ignored"),
        ("500", "failures"),
        *((name, expected) for name, (_, expected) in RAISED.items()),
    ],
)
async def test_a_view_is_judged_by_what_it_returns_or_raises(
    project: Project, name: str, how: str, expected: str
) -> None:
    await asyncio.to_thread(project.get, f"/{name}/{how}")
    assert counted(project) == {expected: 1}
    assert project.keys == {"payments"}

    await project.async_client.get(f"/{name}/{how}")
    assert counted(project) == {expected: 2}


@pytest.mark.parametrize("name", ["plain/200", "plain-async/200", "whole", "mixed", "file"])
async def test_a_refused_view_is_not_called_and_answers_503(project: Project, name: str) -> None:
    project.registry["payments"].open(for_=20.0)

    by_wsgi = await asyncio.to_thread(project.get, f"/{name}")
    for answer in (by_wsgi, await project.async_client.get(f"/{name}")):
        assert answer.status_code == 503
        assert answer["Content-Type"] == "application/problem+json"
        assert int(answer["Retry-After"]) >= 20


async def test_it_needs_no_middleware(start: Start) -> None:
    project = start(PATTERNS, MIDDLEWARE=[])
    project.get("/plain/500")
    assert counted(project) == {"failures": 1}
    project.registry["payments"].open()

    assert project.get("/plain/200").status_code == 503


async def test_on_a_method_it_guards_that_method(project: Project) -> None:
    client = project.client
    for method in ("get", "post", "put"):
        assert getattr(client, method)("/mixed").status_code == 200

    assert project.keys == {"payments", "POST /mixed"}
    assert counted(project) == {"successes": 1}
    keys = guarded_keys()[project.registry]
    assert {key for key in keys if "mixed" in key} == {"POST /mixed"}
    assert "payments" in keys


async def test_on_a_class_it_guards_all_methods(project: Project) -> None:
    assert project.get("/whole").status_code == 200
    assert counted(project) == {"successes": 1}

    by_wsgi = await asyncio.to_thread(project.get, "/whole-async")
    assert by_wsgi.status_code == 502
    assert (await project.async_client.get("/whole-async")).status_code == 502
    assert counted(project) == {"successes": 1, "failures": 2}


@pytest.mark.parametrize("breaks", [0, 1])
async def test_a_stream_is_watched_to_its_end(project: Project, breaks: int) -> None:
    answer = project.get(f"/stream/{breaks}")
    assert project.registry["payments"].metrics().in_flight == 1
    if breaks:
        with pytest.raises(ZeroDivisionError):
            b"".join(answer.streaming_content)
        assert counted(project) == {"failures": 1}
    else:
        assert b"".join(answer.streaming_content) == b"onetwo"
        assert counted(project) == {"successes": 1}


@pytest.mark.parametrize("breaks", [0, 1])
async def test_an_async_stream_is_watched_to_its_end(project: Project, breaks: int) -> None:
    answer: Any = await project.async_client.get(f"/stream-async/{breaks}")
    assert project.registry["payments"].metrics().in_flight == 1
    if breaks:
        with pytest.raises(ZeroDivisionError):
            [piece async for piece in answer.streaming_content]
        assert counted(project) == {"failures": 1}
    else:
        assert [piece async for piece in answer.streaming_content] == [b"one", b"two"]
        assert counted(project) == {"successes": 1}


@pytest.mark.parametrize("name", ["stream", "stream-async"])
async def test_a_stream_whose_client_leaves_is_no_vote(project: Project, name: str) -> None:
    async def get() -> Any:
        if name == "stream":
            return project.get("/stream/0")
        return await project.async_client.get("/stream-async/0")

    answer = await get()
    answer.close()
    assert counted(project) == {"cancelled": 1}

    answer = await get()
    del answer
    gc.collect()
    assert counted(project) == {"cancelled": 2}


async def test_a_file_is_a_success_when_it_is_opened(project: Project) -> None:
    project.get("/file").close()

    assert counted(project) == {"successes": 1}


async def test_it_obeys_the_mode_and_the_off_switch(start: Start) -> None:
    for options, calls in (({"mode": "observe"}, 1), ({"enabled": False}, 1)):
        project = start(PATTERNS, **options)
        project.registry["payments"].open()
        assert project.get("/plain/200").status_code == 200
        assert project.registry["payments"].metrics().calls == calls


async def test_the_environment_turns_it_off(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")

    @protect(None, "payments")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    project = start([path("view", view)], MIDDLEWARE=[])
    project.registry["payments"].open()

    assert project.get("/view").status_code == 200


async def test_another_registry_may_hold_the_breaker(start: Start, clock: ManualClock) -> None:
    mine = Registry(clock=clock)

    @protect(mine, "payments")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    project = start([path("view", view)])
    project.get("/view")

    assert votes(mine["payments"].metrics()) == {"successes": 1}
    assert project.keys == set()
    assert guarded_keys()[mine] == {"payments"}
    mine.mode = Mode.OBSERVE
    mine["payments"].open()
    assert project.get("/view").status_code == 200


async def test_its_refusal_is_no_failure_of_the_breaker_outside(start: Start) -> None:
    """A view that calls another view, which is protected."""

    def outer(request: HttpRequest, how: str) -> HttpResponse:
        answer: HttpResponse = plain(request, how)
        return answer

    project = start([path("outer/<how>", outer)])
    project.registry["payments"].open()

    assert project.get("/outer/200").status_code == 503
    assert votes(project.registry["GET /outer/<how>"].metrics()) == {"ignored": 1}


async def test_without_a_request_the_refusal_is_raised(start: Start) -> None:
    @protect(None, "payments")
    def job() -> str:
        return "done"

    project = start(PATTERNS)
    assert job() == "done"
    project.registry["payments"].open()

    with pytest.raises(BreakerOpenError):
        job()


async def test_a_class_cannot_be_decorated_directly() -> None:
    with pytest.raises(TypeError, match="protect needs a function"):
        protect(None, "payments")(Whole)


async def test_a_request_without_breaker_has_a_permit_without_effect() -> None:
    permit_of(RequestFactory().get("/")).failure("nothing")
