"""The pages about operating it: their code runs and does what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.support.documented import ROOT, Checks, headings, pages, run
from tests.support.markdown import code_blocks
from tests.support.plugin_runs import passed

from recloser import State
from recloser.testing import open_breaker

pytest.importorskip("starlette")

pytest_plugins = ["pytester"]

# What a page takes for granted: a fixture that makes a client of the user's app.
CLIENT = """
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from recloser_adapters.starlette import BreakerMiddleware

@pytest.fixture
def client(recloser_registry):
    app = Starlette(routes=[Route("/orders/{order}", lambda request: PlainTextResponse("hello"))])
    app.add_middleware(BreakerMiddleware, registry=recloser_registry)
    return TestClient(app)

"""


def check_fleet(names: dict[str, Any]) -> None:
    fleet = names["registry"].fleet
    assert fleet is not None
    assert fleet.store.place.endswith("recloser.db")
    fleet.close()


def check_dashboard(names: dict[str, Any]) -> None:
    from starlette.testclient import TestClient

    with names["registry"]["POST /payments"]:
        pass
    client = TestClient(names["app"], base_url="https://shop.example")
    client.auth = ("anna", "secret")
    actions = "/breakers/keys/POST%20%2Fpayments/"
    opened = client.post(actions + "open", json={"for": 600, "reason": "migration"})

    assert client.get("/breakers/keys", auth=("anna", "wrong")).status_code == 401
    assert opened.json()["state"] == "open"
    assert client.get("/breakers").text.startswith("<!doctype html>")
    # The dashboard itself has no breaker.
    assert [breaker.key for breaker in names["registry"]] == ["POST /payments"]


def check_dashboard_mounted(names: dict[str, Any]) -> None:
    from werkzeug.test import Client

    with names["registry"]["POST /payments"]:
        pass
    client = Client(names["application"])

    assert client.get("/").text == "the shop"
    here = {"REMOTE_ADDR": "127.0.0.1"}
    keys = client.get("/breakers/keys", environ_base=here, base_url="http://localhost").text
    assert "POST /payments" in keys


def check_dashboard_at_a_port(names: dict[str, Any]) -> None:
    with names["registry"]["POST /payments"]:
        pass
    page = names["page"]
    try:
        with urlopen(f"http://127.0.0.1:{page.server_port}/keys", timeout=30) as answer:
            assert b"POST /payments" in answer.read()
    finally:
        page.shutdown()
        page.server_close()


def check_prometheus(names: dict[str, Any]) -> None:
    from starlette.testclient import TestClient

    names["registry"]["shop"].record(0.1, True)
    with TestClient(names["app"]) as client:
        told = client.get("/metrics/").text

    assert 'recloser_calls_total{key="shop",outcome="success"} 1' in told


def check_opentelemetry(names: dict[str, Any]) -> None:
    assert names["failover"].call(lambda attempt: attempt.key) == "primary"
    assert names["registry"].trace is not None


def check_sentry(names: dict[str, Any]) -> None:
    open_breaker(names["registry"]["shop"])
    assert names["registry"].faults == 0
    names["sentry_sdk"].init()


def check_pager(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    breaker = names["registry"]["shop"]
    breaker.open("maintenance")
    breaker.half_open()
    while breaker.state is State.HALF_OPEN:
        breaker.record(0.1, False)

    assert breaker.state is State.OPEN
    assert names["registry"].faults == 0
    assert capsys.readouterr().out == "shop is open: by hand: 'maintenance'\n"


def check_other_runner(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert str(names["breaker"].state.value) == "open"
    assert "breaker 'payments' is open" in capsys.readouterr().out


CHECKS: Checks = {
    ("docs/how-to/several-workers.md", "Several workers"): check_fleet,
    ("docs/how-to/dashboard.md", "Dashboard and command line"): check_dashboard,
    ("docs/how-to/dashboard.md", "In Django and Flask"): check_dashboard_mounted,
    ("docs/how-to/dashboard.md", "A port of its own"): check_dashboard_at_a_port,
    ("docs/how-to/metrics.md", "Prometheus"): check_prometheus,
    ("docs/how-to/metrics.md", "OpenTelemetry"): check_opentelemetry,
    ("docs/how-to/metrics.md", "Sentry"): check_sentry,
}
# These print.
PRINTING: Checks = {
    ("docs/how-to/alerts.md", "Alerts"): check_pager,
    ("docs/how-to/tests.md", "Other runners"): check_other_runner,
}
LIBRARIES = {
    "Prometheus": "prometheus_client",
    "OpenTelemetry": "opentelemetry.sdk",
    "Sentry": "sentry_sdk",
    "In Django and Flask": "werkzeug",
}
OF_PYTEST = ["Tests of your own code", "Changes of state, and time"]


@pytest.mark.parametrize(("page", "heading"), CHECKS)
def test_the_code_under_this_heading_does_what_the_page_says(
    page: str, heading: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if heading in LIBRARIES:
        pytest.importorskip(LIBRARIES[heading])
    monkeypatch.setenv("BREAKERS_PASSWORD", "secret")
    monkeypatch.setenv("BREAKERS_PORT", "0")  # any that is free
    monkeypatch.chdir(tmp_path)
    run(CHECKS, page, heading)


@pytest.mark.parametrize(("page", "heading"), PRINTING)
def test_the_code_under_this_heading_prints_what_the_page_says(
    page: str, heading: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check = PRINTING[page, heading]
    run({(page, heading): lambda names: check(names, capsys)}, page, heading)


@pytest.mark.parametrize("heading", OF_PYTEST)
def test_the_tests_of_the_page_pass(heading: str, pytester: pytest.Pytester) -> None:
    [code] = [
        code for found, code in code_blocks(ROOT / "docs/how-to/tests.md") if found == heading
    ]

    passed(pytester, CLIENT + code)


@pytest.mark.parametrize("page", pages({**CHECKS, **PRINTING}))
def test_every_heading_with_code_has_its_check(page: str) -> None:
    checked = [heading for name, heading in [*CHECKS, *PRINTING] if name == page]
    if page.endswith("tests.md"):
        checked = OF_PYTEST + checked

    assert headings(page) == checked
