"""The pages about web apps, and the first hour: their code runs and does what they say."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.documented import Checks, call_asgi, headings, pages, run, status_of
from tests.support.waiting import until

from recloser import Mode, Registry
from recloser.testing import open_breaker

pytest.importorskip("fastapi")
pytest.importorskip("flask")


def client_of(app: Any) -> Any:
    from starlette.testclient import TestClient

    return TestClient(
        app,
        base_url="http://localhost",
        client=("127.0.0.1", 50_000),
        raise_server_exceptions=False,
    )


def check_fastapi(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_api_route("/x/{number}", lambda number: "hello")

    assert status_of(app, "/x/1") == 200
    assert status_of(app, "/nowhere") == 404


def check_shared_key(names: dict[str, Any]) -> None:
    client = client_of(names["app"])

    assert client.get("/orders/1").json() == {"order": 1}
    open_breaker(names["registry"]["ledger"])
    assert client.get("/orders/1").status_code == 503
    assert client.get("/invoices/1").status_code == 503
    assert client.get("/about").status_code == 200


def check_outbound_refusal(names: dict[str, Any]) -> None:
    client = client_of(names["app"])

    assert client.post("/charges").json() == "charged"
    open_breaker(names["payments"])
    refused = client.post("/charges")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1


def check_protect(names: dict[str, Any]) -> None:
    client, registry = client_of(names["app"]), names["registry"]

    assert client.get("/orders/1").json() == {"order": 1}
    assert client.get("/reports/july").json() == "all about july"
    assert sorted(each.key for each in registry) == ["GET /orders/{number}", "reports"]
    open_breaker(registry["reports"])
    assert client.get("/reports/july").status_code == 503


def check_flask(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_url_rule("/x/<int:number>", view_func=lambda number: "hello", endpoint="x")

    assert app.test_client().get("/x/1").text == "hello"
    assert "GET /x/<int:number>" in app.test_cli_runner().invoke(args=["recloser", "status"]).output


def check_flask_keys(names: dict[str, Any]) -> None:
    client = names["app"].test_client()
    registry = names["app"].extensions["recloser"].registry

    assert client.get("/orders/1").json == {"order": 1}
    assert client.get("/reports/july").text == "all about july"
    for key, path in (("ledger", "/orders/1"), ("reports", "/reports/july")):
        open_breaker(registry[key])
        assert client.get(path).status_code == 503
    assert client.get("/about").status_code == 200


def check_flask_settings(names: dict[str, Any]) -> None:
    state = names["app"].extensions["recloser"]

    assert state.mode is Mode.OBSERVE
    assert state.exempt == ("/health", "GET /reports/*")


def check_any_app(names: dict[str, Any]) -> None:
    assert status_of(names["app"], "/orders/1") == 200
    assert [each.key for each in names["app"].registry] == ["orders"]


def check_cors(names: dict[str, Any]) -> None:
    app = names["app"]
    registry = Registry()
    next(each for each in app.user_middleware if "Breaker" in str(each)).kwargs["registry"] = (
        registry
    )
    app.add_api_route("/x", lambda: "hello")
    assert status_of(app, "/x") == 200
    open_breaker(registry["GET /x"])

    answer = call_asgi(app, "/x", ((b"origin", b"https://shop.example"),))

    assert answer["status"] == 503
    allowed = dict(answer["headers"])[b"access-control-allow-origin"]
    assert allowed == b"https://shop.example"


def check_further_out(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_api_route("/x", lambda: "hello")

    assert client_of(app).get("/x").headers["x-served-by"] == "shop"
    assert [each.cls.__name__ for each in app.user_middleware] == [
        "BaseHTTPMiddleware",
        "BreakerMiddleware",
    ]


def check_observing(names: dict[str, Any]) -> None:
    breaker = names["registry"]["payments"]
    for _ in range(9):
        breaker.record(0.01, False)
    assert breaker.state.value == "open"

    with breaker:  # made all the same
        pass
    assert breaker.metrics().spared == 1


def check_harm(names: dict[str, Any]) -> None:
    check_observing(names)

    assert names["harm"]() == ["payments: 1 spared, 100% of them good"]


def check_some_keys(names: dict[str, Any]) -> None:
    registry = names["registry"]

    assert registry["GET /search"].mode is Mode.ENFORCE  # for ten minutes
    assert registry["GET /search/people"].mode is Mode.OBSERVE
    assert registry["POST /payments"].enforce_share == 0.1
    [override] = registry["GET /search"].overrides
    assert override.by == "ann"


def check_settings(names: dict[str, Any]) -> None:
    registry = names["registry"]

    assert isinstance(registry, Registry)
    assert registry["GET /search/people"].policy.failure_threshold_z_score == 3.0
    assert registry["POST /payments"].policy.min_failures == 3
    assert registry["GET /"].policy.slow_ceiling == 10.0
    assert registry["GET /"].mode is Mode.OBSERVE
    assert status_of(names["app"], "/health") == 404


def check_shop(names: dict[str, Any]) -> None:
    """The whole hour: as curl does it."""
    with client_of(names["app"]) as client:
        assert client.get("/orders/1").json() == {"order": 1}
        client.put("/ledger/down")
        statuses = [client.get(f"/orders/{number}").status_code for number in range(9)]
        assert statuses[:5] == [502] * 5
        # A machine that was slow just then has sent a probe.
        assert set(statuses[5:]) <= {502, 503}
        assert 503 in statuses
        assert client.get("/about").status_code == 200
        shown = client.get("/breakers/keys").json()
        assert "5 of the last 5 calls were bad" in str(shown)
        client.put("/ledger/up")
        breaker = names["registry"]["GET /orders/{number}"]

        def closed() -> bool:
            client.get("/orders/1")
            return bool(breaker.state.value == "closed")

        until(closed, "it closes by itself")


CHECKS: Checks = {
    ("docs/how-to/fastapi.md", "FastAPI and Starlette"): check_fastapi,
    ("docs/how-to/fastapi.md", "The key"): check_shared_key,
    ("docs/how-to/fastapi.md", "An outbound call that was refused"): check_outbound_refusal,
    (
        "docs/how-to/fastapi.md",
        "One endpoint or one router, without the middleware",
    ): check_protect,
    ("docs/how-to/flask.md", "Flask"): check_flask,
    ("docs/how-to/flask.md", "The key"): check_flask_keys,
    ("docs/how-to/flask.md", "Settings"): check_flask_settings,
    ("docs/how-to/any-app.md", "Any ASGI or WSGI app"): check_any_app,
    ("docs/how-to/middleware-order.md", "The order of middleware, and CORS"): check_cors,
    (
        "docs/how-to/middleware-order.md",
        "What should be further out than the breaker",
    ): check_further_out,
    ("docs/how-to/observe-first.md", "Observe first"): check_observing,
    ("docs/how-to/observe-first.md", "What it would have refused"): check_harm,
    ("docs/how-to/observe-first.md", "Some keys only"): check_some_keys,
    ("docs/how-to/settings.md", "Settings"): check_settings,
    ("docs/first-hour.md", "Guard an app"): check_shop,
}


@pytest.mark.parametrize(("page", "heading"), CHECKS)
def test_the_code_under_this_heading_does_what_the_page_says(page: str, heading: str) -> None:
    run(CHECKS, page, heading)


@pytest.mark.parametrize("page", pages(CHECKS))
def test_every_heading_with_code_has_its_check(page: str) -> None:
    assert headings(page) == [heading for name, heading in CHECKS if name == page]
