"""The web app of the demo: a Starlette app that calls an upstream, with or without breakers.

Run it as `python -m recloser_adapters._command.demo.webapp UPSTREAM_URL [--guarded [--dashboard]]`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from recloser import Breaker, Registry, Transition
from recloser_adapters._command.demo.children import serve
from recloser_adapters._command.demo.plan import DASHBOARD_PATH, STATUS_PATH
from recloser_adapters.dashboard import Dashboard
from recloser_adapters.starlette import BreakerMiddleware

# A careful developer sets these limits, but they do not help when the upstream hangs: forty callers
# per second that wait for three seconds each need 120 connections. The catalog's callers then have
# to wait for a connection.
TIMEOUT = 3.0
CONNECTIONS = 50


async def ask_upstream(request: Request) -> Response:
    """Pass on the upstream's answer. A time-out becomes a 504, a failure a 502."""
    client: httpx.AsyncClient = request.app.state.client
    try:
        answer = await client.get(request.url.path)
    except httpx.TimeoutException:
        return JSONResponse({"error": "the upstream did not answer"}, status_code=504)
    except httpx.HTTPError:
        return JSONResponse({"error": "the request to the upstream failed"}, status_code=502)
    if answer.status_code >= 500:
        return JSONResponse({"error": "the upstream answered with an error"}, status_code=502)
    return JSONResponse(answer.json(), status_code=answer.status_code)


async def about(request: Request) -> Response:
    """Answer without the upstream."""
    return PlainTextResponse("We sell things.")


class StatusReport:
    """Keeps every transition, and reports the state of all keys."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._transitions: list[Transition] = []
        registry.subscribe(self)

    def on_transition(self, transition: Transition) -> None:
        """Keep the transition. A run of a minute has few."""
        self._transitions.append(transition)

    async def status(self, request: Request) -> Response:
        """Return the states of the keys, and the transitions from number `since` on."""
        since = int(request.query_params.get("since", "0"))
        now = self._registry.clock()
        keys = [_breaker_facts(breaker) for breaker in self._registry.breakers()]
        news = [_transition_facts(each, now) for each in self._transitions[since:]]
        return JSONResponse({"keys": keys, "transitions": news})


def _breaker_facts(breaker: Breaker) -> dict[str, Any]:
    metrics = breaker.metrics()
    return {
        "key": breaker.key,
        "state": breaker.state.value,
        "explained": breaker.explain(),
        "successes": metrics.successes,
        "bad": metrics.failures + metrics.slow,
        "refused": metrics.refused,
        "in_flight": metrics.in_flight,
        "median": metrics.p50,
        "slow_from": metrics.slow_threshold,
    }


def _transition_facts(transition: Transition, now: float) -> dict[str, Any]:
    return {
        # An age and not a time, because the reader may have another clock.
        "age": now - transition.at,
        "key": transition.key,
        "before": transition.before.value,
        "after": transition.after.value,
        "rule": transition.reason.rule,
        "reason": str(transition.reason),
    }


def make_app(
    upstream: str, registry: Registry | None, *, with_dashboard: bool = False
) -> Starlette:
    """Return the app. With a registry, each of its routes has a breaker, and it may have a dashboard."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        limits = httpx.Limits(max_connections=CONNECTIONS)
        async with httpx.AsyncClient(
            base_url=upstream, timeout=TIMEOUT, limits=limits
        ) as app.state.client:
            yield

    routes: list[BaseRoute] = [
        Route("/orders/{order}", ask_upstream),
        Route("/catalog/{item}", ask_upstream),
        Route("/about", about),
    ]
    if registry is None:
        return Starlette(routes=routes, lifespan=lifespan)
    routes.append(Route(STATUS_PATH, StatusReport(registry).status))
    exempt = [STATUS_PATH]
    if with_dashboard:
        routes.append(Mount(DASHBOARD_PATH, _dashboard(registry)))
        exempt.append(f"{DASHBOARD_PATH}*")
    breakers = Middleware(BreakerMiddleware, registry=registry, exempt=exempt)
    return Starlette(routes=routes, lifespan=lifespan, middleware=[breakers])


def _dashboard(registry: Registry) -> Dashboard:
    # Without auth: it shows, on this machine only, and nobody can act.
    return Dashboard(registry)


if __name__ == "__main__":
    options = sys.argv[2:]
    breakers = Registry() if "--guarded" in options else None
    serve(make_app(sys.argv[1], breakers, with_dashboard="--dashboard" in options))
