"""The cost of a guarded request to a Starlette, a Flask and a Django app, in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import django
import flask
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import recloser.wsgi
from recloser import Registry
from recloser_adapters import flask as recloser_flask
from recloser_adapters import starlette as recloser_starlette

from .floors import FLOOR, FLOOR_REFUSED, WsgiApp, WsgiFloor
from .report import Goal, Reach, Section, timed
from .rounds import Candidate, Effort, awaited, measure, plain
from .web import (
    BARE,
    BASE_HTTP,
    BREAKER,
    NOOP,
    REFUSED,
    NoopAsgi,
    NoopBaseHttp,
    opened,
    requests_to,
    wsgi_requests_to,
)

# The same where the body is complete when the app returns, so that nothing has to watch it.
BARE_LIST, BREAKER_LIST = "bare app, its body a list", "recloser, the body a list"
MOST_OF_FLASK = 4000.0  # ns; the project's goal for what a breaker adds to a Flask request


async def view(request: Request) -> Response:
    return PlainTextResponse("ok")


def starlette_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a Starlette app of one route, without and with its breaker."""

    def app() -> Starlette:
        return Starlette(routes=[Route("/items/{item}", view)])

    def guarded(registry: Registry) -> Starlette:
        guarded = app()
        guarded.add_middleware(recloser_starlette.BreakerMiddleware, registry=registry)
        return guarded

    noop = app()
    noop.add_middleware(NoopAsgi)
    base_http = app()
    base_http.add_middleware(NoopBaseHttp)
    refusing = opened(Registry(), "GET /items/{item}")
    with asyncio.Runner() as runner:
        candidates = [
            Candidate(BARE, awaited(runner, requests_to(app()))),
            Candidate(NOOP, awaited(runner, requests_to(noop))),
            Candidate(BREAKER, awaited(runner, requests_to(guarded(Registry())))),
            Candidate(REFUSED, awaited(runner, requests_to(guarded(refusing)))),
            Candidate(BASE_HTTP, awaited(runner, requests_to(base_http))),
        ]
        timings = measure(candidates, effort, tick)
    section = timed("A Starlette request, one route", timings, over=BARE)
    share = timings.added(BREAKER, BARE) / timings.median(BARE)
    section.goals.append(
        Goal("the breaker's share on top of a one-route Starlette app", share, 0.2)
    )
    return section


def _item(item: str) -> str:
    return "ok"


class _ListBodies:
    """Gives the body of each response as a list."""

    def __init__(self, app: WsgiApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body: Any = self.app(environ, start_response)
        pieces = [*body]
        body.close()
        return pieces


def flask_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a Flask app of one route, without and with its breaker."""

    def app(registry: Registry | None, *, gives_lists: bool = False) -> flask.Flask:
        made = flask.Flask("benchmark")
        made.add_url_rule("/items/<item>", view_func=_item)
        if gives_lists:
            made.wsgi_app = _ListBodies(made.wsgi_app)  # type: ignore[method-assign]
        if registry is not None:
            recloser_flask.Recloser(made, registry=registry)
        return made

    def floor(open_for: float = -inf) -> WsgiFloor:
        return WsgiFloor(app(None), lambda environ: "GET /items/<item>", open_for)

    refusing = opened(Registry(), "GET /items/<item>")
    candidates = [
        Candidate(BARE, plain(wsgi_requests_to(app(None)))),
        Candidate(BREAKER, plain(wsgi_requests_to(app(Registry())))),
        Candidate(FLOOR, plain(wsgi_requests_to(floor()))),
        Candidate(BARE_LIST, plain(wsgi_requests_to(app(None, gives_lists=True)))),
        Candidate(BREAKER_LIST, plain(wsgi_requests_to(app(Registry(), gives_lists=True)))),
        Candidate(REFUSED, plain(wsgi_requests_to(app(refusing)))),
        Candidate(FLOOR_REFUSED, plain(wsgi_requests_to(floor(3600.0)))),
    ]
    timings = measure(candidates, effort, tick)
    section = timed(
        "A Flask request, one route",
        timings,
        over=BARE,
        reach={BREAKER: Reach(FLOOR, MOST_OF_FLASK)},
    )
    section.notes.append(
        f"To watch the body takes {timings.added(BREAKER, BARE) - timings.added(BREAKER_LIST, BARE_LIST):,.0f}"
        " ns of that: the end of an answer, a client that leaves and a late failure are seen there."
    )
    section.goals.append(
        Goal("what the breaker adds to Flask", timings.added(BREAKER, BARE), MOST_OF_FLASK, "ns")
    )
    return section


def _django_view(request: HttpRequest, item: str) -> HttpResponse:
    return HttpResponse("ok")


urlpatterns = [path("items/<item>", _django_view)]


def django_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a Django project of one URL, without and with its line in `MIDDLEWARE`."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none", LOGGING_CONFIG=None
        )
        django.setup()

    def handler(registry: Registry | None) -> WSGIHandler:
        # Django reads its settings when a handler is made, and the adapter does so once.
        from django.test.utils import override_settings

        line = [] if registry is None else ["recloser_adapters.django.BreakerMiddleware"]
        with override_settings(MIDDLEWARE=line, RECLOSER={"REGISTRY": registry or Registry()}):
            return WSGIHandler()

    refusing = opened(Registry(), "GET /items/<item>")
    around = recloser.wsgi.BreakerMiddleware(handler(None), Registry())
    candidates = [
        Candidate(BARE, plain(wsgi_requests_to(handler(None)))),
        Candidate(BREAKER, plain(wsgi_requests_to(handler(Registry())))),
        Candidate(REFUSED, plain(wsgi_requests_to(handler(refusing)))),
        Candidate("recloser.wsgi around the handler", plain(wsgi_requests_to(around))),
    ]
    return timed("A Django request, one URL pattern", measure(candidates, effort, tick), over=BARE)
