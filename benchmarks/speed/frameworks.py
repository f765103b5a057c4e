"""The cost of a guarded request to a Starlette and to a Flask app, in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from recloser import Registry
from recloser_adapters import flask as recloser_flask
from recloser_adapters import starlette as recloser_starlette

from .report import Goal, Section, timed
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


def flask_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a Flask app of one route, without and with its breaker."""

    def app(registry: Registry | None) -> flask.Flask:
        made = flask.Flask("benchmark")
        made.add_url_rule("/items/<item>", view_func=_item)
        if registry is not None:
            recloser_flask.Recloser(made, registry=registry)
        return made

    refusing = opened(Registry(), "GET /items/<item>")
    candidates = [
        Candidate(BARE, plain(wsgi_requests_to(app(None)))),
        Candidate(BREAKER, plain(wsgi_requests_to(app(Registry())))),
        Candidate(REFUSED, plain(wsgi_requests_to(app(refusing)))),
    ]
    timings = measure(candidates, effort, tick)
    return timed("A Flask request, one route", timings, over=BARE)
