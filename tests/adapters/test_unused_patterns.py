"""A pattern that matches no route is told, once, at the first request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recloser import Policy, Registry

starlette = pytest.importorskip("starlette")
flask = pytest.importorskip("flask")

Ask = Callable[[], object]


def starlette_app(registry: Registry, exempt: Any) -> Ask:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.testclient import TestClient

    from recloser_adapters.starlette import BreakerMiddleware

    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("here")

    async def opaque(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def live(websocket: Any) -> None:
        raise AssertionError

    routes = [
        Route("/orders/{order:int}", page),
        Route("/orders", page, methods=["POST"]),
        Mount("/in", routes=[Route("/reports/{name}", page)]),
        Mount("/other", opaque),
        WebSocketRoute("/live", live),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(BreakerMiddleware, registry=registry, exempt=exempt)
    return lambda: TestClient(app).get("/orders/1")


def flask_app(registry: Registry, exempt: Any) -> Ask:
    from flask import Flask

    from recloser_adapters.flask import Recloser

    app = Flask(__name__)
    rules = [
        ("/orders/<int:order>", ["GET"]),
        ("/orders", ["POST"]),
        ("/in/reports/<name>", ["GET"]),
        ("/other/<path:rest>", ["GET"]),
        ("/live", ["GET"]),
    ]
    for rule, methods in rules:
        app.add_url_rule(rule, rule, lambda **values: "here", methods=methods)
    Recloser(app, registry, exempt=exempt)
    return lambda: app.test_client().get("/orders/1")


apps = pytest.mark.parametrize("build", [starlette_app, flask_app])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "recloser"]


@apps
@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("/orders/*", True),
        ("GET /orders/*", True),
        ("HEAD /orders/*", True),
        ("POST /orders", True),
        ("/in/reports/2024", True),
        ("/other/deep/*", True),
        ("/live", True),
        ("/healthz", True),
        ("OPTIONS *", True),
        ("/order/*", False),
        ("DELETE /orders", False),
        ("/reports/*", False),
    ],
)
def test_an_exempt_pattern_that_matches_no_route_is_told(
    build: Any, pattern: str, fits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ask = build(Registry(), [pattern])
    assert told(caplog) == []

    ask()
    ask()

    expected = [] if fits else [f"exempt: {pattern!r} matches no route of this application"]
    assert told(caplog) == expected


@apps
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("POST /orders", []),
        ("GET /orders*", []),
        ("payments", []),
        ("api.example", []),
        ("GET /order/*", ["policies: 'GET /order/*'"]),
        ("/orders", ["policies: '/orders' is the key of no route", "did you mean 'POST /orders'?"]),
    ],
)
def test_a_policy_for_no_route_is_told(
    build: Any, name: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One that does not look like a key of a route may be for outbound calls."""
    build(Registry(policies={name: Policy()}), ())()

    messages = told(caplog)
    assert len(messages) == bool(said)
    assert all(part in messages[0] for part in said)


@apps
def test_nothing_is_told_of_the_defaults_or_of_a_function(
    build: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from recloser.asgi import DEFAULT_EXEMPT

    build(Registry(), DEFAULT_EXEMPT)()
    build(Registry(), lambda request: False)()
    build(Registry(), iter(["/orders/*"]))()

    assert told(caplog) == []
