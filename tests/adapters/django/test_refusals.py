"""What a refused request gets, and what a refused call further down leads to."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from tests.support.breaker_state import votes

pytest.importorskip("django")

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseServerError
from django.urls import path
from tests.support.django_project import MIDDLEWARE, Project, Start

import recloser.asgi
import recloser.wsgi
from recloser import BreakerOpenError, Registry, State
from recloser.testing import ManualClock

CORS = "corsheaders.middleware.CorsMiddleware"
REFUSED_FURTHER_IN = "tests.support.django_middlewares.refused"


def ok(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def needs_ledger(request: HttpRequest) -> HttpResponse:
    raise BreakerOpenError("ledger", State.OPEN, None, 20.0)


async def needs_ledger_async(request: HttpRequest) -> HttpResponse:
    raise BreakerOpenError("ledger", State.OPEN, None, 20.0)


def raises_from_refusal(request: HttpRequest) -> HttpResponse:
    try:
        raise BreakerOpenError("ledger", State.OPEN, None, 20.0)
    except BreakerOpenError as error:
        raise ValueError("no ledger") from error


def fails(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("never mind")


def is_missing(request: HttpRequest) -> HttpResponse:
    raise Http404


PATTERNS = [
    path("ok", ok),
    path("ledger", needs_ledger),
    path("ledger-async", needs_ledger_async),
    path("from", raises_from_refusal),
    path("fails", fails),
    path("missing", is_missing),
]


@pytest.fixture
def project(start: Start) -> Project:
    return start(PATTERNS)


@pytest.mark.parametrize("name", ["ledger", "ledger-async"])
def test_a_refusal_that_a_view_lets_out_is_a_503_and_no_failure(
    project: Project, name: str
) -> None:
    for _ in range(20):
        answer = project.get(f"/{name}")
        assert answer.status_code == 503
        assert answer["Content-Type"] == "application/problem+json"
        assert 20 <= int(answer["Retry-After"]) <= 22

    assert votes(project.registry[f"GET /{name}"].metrics()) == {"ignored": 20}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_is_the_same_under_asgi(project: Project) -> None:
    for name in ("ledger", "ledger-async"):
        answer = await project.async_client.get(f"/{name}")
        assert answer.status_code == 503
        assert votes(project.registry[f"GET /{name}"].metrics()) == {"ignored": 1}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_middleware_that_lets_it_out_answers_503_too(start: Start) -> None:
    project = start(PATTERNS, MIDDLEWARE=[MIDDLEWARE, REFUSED_FURTHER_IN])

    answers = [project.get("/ok"), await project.async_client.get("/ok")]

    assert [each.status_code for each in answers] == [503, 503]
    assert {each["Retry-After"] for each in answers} <= {"7", "8"}
    assert votes(project.registry["GET /ok"].metrics()) == {"ignored": 2}


def test_what_is_raised_from_a_refusal_is_no_failure(project: Project) -> None:
    for _ in range(20):
        assert project.get("/from").status_code == 500

    assert votes(project.registry["GET /from"].metrics()) == {"ignored": 20}


def test_the_reason_names_what_the_view_has_raised(project: Project) -> None:
    while project.registry["GET /fails"].state is State.CLOSED:
        assert project.get("/fails").status_code == 500

    assert "ZeroDivisionError" in project.registry["GET /fails"].explain()
    assert project.get("/fails").status_code == 503
    # The others are still served.
    assert project.get("/ok").status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_reason_names_it_under_asgi_too(project: Project) -> None:
    client = project.async_client
    while project.registry["GET /fails"].state is State.CLOSED:
        assert (await client.get("/fails")).status_code == 500

    assert "ZeroDivisionError" in project.registry["GET /fails"].explain()
    assert (await client.get("/fails")).status_code == 503


def test_a_middleware_that_answers_instead_is_what_counts(start: Start) -> None:
    project = start(PATTERNS, MIDDLEWARE=[MIDDLEWARE, f"{__name__}.stale"])

    for _ in range(20):
        assert project.get("/fails").content == b"stale"

    assert votes(project.registry["GET /fails"].metrics()) == {"successes": 20}


def stale(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        response = get_response(request)
        return HttpResponse(b"stale") if response.status_code == 500 else response

    return middleware


def test_errors_that_are_the_clients_open_nothing(project: Project) -> None:
    for _ in range(50):
        assert project.get("/missing").status_code == 404

    assert votes(project.registry["GET /missing"].metrics()) == {"ignored": 50}


def test_refusals_write_no_record_each(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """Django would mail each to the administrators."""
    project.registry["GET /ok"].open()
    caplog.clear()

    for _ in range(20):
        assert project.get("/ok").status_code == 503
        assert project.get("/ledger").status_code == 503

    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_an_error_page_of_the_project_is_not_asked_for_a_refusal(start: Start) -> None:
    class Urlconf:
        urlpatterns = PATTERNS

        @staticmethod
        def handler500(request: HttpRequest) -> HttpResponse:
            return HttpResponseServerError("our own page")

    project = start(Urlconf())

    assert project.get("/fails").content == b"our own page"
    assert project.get("/ledger")["Content-Type"] == "application/problem+json"


def on_refuse(request: HttpRequest, error: BreakerOpenError) -> HttpResponse:
    return HttpResponse(f"{request.path}: {error.key}", status=503)


def test_a_function_of_the_project_answers_refusals(start: Start) -> None:
    project = start(PATTERNS, on_refuse=f"{__name__}.on_refuse")
    project.registry["GET /ok"].open()

    assert project.get("/ok").content == b"/ok: GET /ok"
    assert project.get("/ledger").content == b"/ledger: ledger"
    assert votes(project.registry["GET /ledger"].metrics()) == {"ignored": 1}


@pytest.mark.parametrize("answer", [None, "later", 503])
def test_what_is_no_response_is_replaced(start: Start, answer: object) -> None:
    project = start(PATTERNS, on_refuse=lambda request, error: answer)
    project.registry["GET /ok"].open()

    for name in ("ok", "ledger"):
        assert project.get(f"/{name}")["Content-Type"] == "application/problem+json"
    assert project.registry.faults == 2


@pytest.mark.parametrize("order", [[CORS, MIDDLEWARE], [MIDDLEWARE, CORS]])
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_browser_may_read_a_refusal(start: Start, order: list[str]) -> None:
    pytest.importorskip("corsheaders")
    project = start(PATTERNS, MIDDLEWARE=order)
    project.registry["GET /ok"].open()

    answers = [
        project.get("/ok", origin="https://shop.example"),
        await project.async_client.get("/ok", headers={"origin": "https://shop.example"}),
    ]
    other = project.get("/ok", origin="https://evil.example")

    for answer in answers:
        assert answer.status_code == 503
        assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
    assert other.status_code == 503
    assert not other.has_header("Access-Control-Allow-Origin")
    assert project.registry.faults == 0


def test_details_are_there_for_those_who_want_them(start: Start) -> None:
    project = start(PATTERNS, expose_details=True)
    project.registry["GET /ok"].open("maintenance")

    assert json.loads(project.get("/ok").content)["key"] == "GET /ok"


def test_a_breaker_around_the_wsgi_handler_does_not_count_a_refusal(
    project: Project, clock: ManualClock
) -> None:
    from tests.support.wsgi_client import Exchange

    outer = Registry(clock=clock)
    app = recloser.wsgi.BreakerMiddleware(project.wsgi(), outer)
    project.registry["GET /ok"].open()

    for name in ("ok", "ledger"):
        assert Exchange(path=f"/{name}").run(app).status == 503

    assert votes(outer["app"].metrics()) == {"ignored": 2}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_breaker_around_the_asgi_handler_does_not_count_a_refusal(
    project: Project, clock: ManualClock
) -> None:
    from tests.support.asgi_client import Exchange

    outer = Registry(clock=clock)
    handler: Any = project.asgi()
    app = recloser.asgi.BreakerMiddleware(handler, outer)
    project.registry["GET /ok"].open()

    for name in ("ok", "ledger"):
        assert (await Exchange(path=f"/{name}").run(app)).status == 503

    assert votes(outer["app"].metrics()) == {"ignored": 2}
