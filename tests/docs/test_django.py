"""What docs/how-to/django.md says works as it is written."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.markdown import code_blocks

pytest.importorskip("django")
pytest.importorskip("httpx")

from tests.support.django_project import Urlconf, set_up

set_up()

from django.conf import settings
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from recloser import BreakerOpenError
from recloser_adapters.django import get_registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "django.md"
CODE = dict.fromkeys(heading for heading, _ in code_blocks(PAGE))


def run(heading: str, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run all blocks below a heading, one after the other."""
    namespace = {"__name__": "page"} if namespace is None else namespace
    found = [code for above, code in code_blocks(PAGE) if above == heading]
    assert found, heading
    for code in found:
        exec(compile(code, str(PAGE), "exec", dont_inherit=True), namespace)
    ran.add(heading)
    return namespace


ran: set[str] = set()


def order(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"order {number}")


def search(request: HttpRequest) -> HttpResponse:
    return HttpResponse("found")


PATTERNS = [path("orders/<int:number>", order), path("orders/", search), path("search", search)]


@pytest.fixture(autouse=True)
def project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Urlconf(PATTERNS), RECLOSER={}):
        yield


def test_start() -> None:
    given: dict[str, Any] = {"MIDDLEWARE": [], "INSTALLED_APPS": []}
    changed = run("Start", given)

    with override_settings(**{name: changed[name] for name in ("MIDDLEWARE", "INSTALLED_APPS")}):
        assert Client().get("/orders/7").content == b"order 7"
        assert get_registry()["GET /orders/<int:number>"].metrics().calls == 1
        assert [message for message in run_checks() if "recloser" in str(message.id)] == []


def test_a_service_that_a_view_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    views = run("A service that a view needs")
    patterns = [
        path("price/<int:number>", views["price"]),
        path("default/<int:number>", views["price_or_default"]),
    ]
    get_registry()["prices.example"].open(for_=20.0)
    with override_settings(ROOT_URLCONF=Urlconf(patterns)):
        client = Client()
        answers = [client.get(f"/{name}") for name in ("price/1", "default/101", "default/1")]

    assert [each.status_code for each in answers] == [503, 503, 200]
    assert [int(each.headers["Retry-After"]) >= 20 for each in answers[:2]] == [True, True]
    assert get_registry()["GET /price/<int:number>"].metrics().failures == 0


def test_single_views() -> None:
    views = run("Single views")
    patterns = [
        path("repair", views["repair"]),
        path("pay", views["pay"]),
        path("book", views["book"]),
        path("report", views["Report"].as_view()),
    ]
    with override_settings(ROOT_URLCONF=Urlconf(patterns)):
        client = Client()
        for name in ("repair", "pay", "book", "report"):
            assert client.get(f"/{name}").status_code == 200
        get_registry()["ledger"].open()
        assert client.get("/book").status_code == 503

    counted = {breaker.key: votes(breaker.metrics()) for breaker in get_registry()}
    assert counted == {
        "payments": {"failures": 1},
        "ledger": {"successes": 1, "refused": 1},
        "reports": {"successes": 1},
    }


def test_the_settings() -> None:
    with override_settings(RECLOSER=run("The settings")["RECLOSER"]):
        assert get_registry()["POST /orders/"].policy.open_for == 5.0
        assert get_registry()["GET /search"].policy.slow_ceiling == 10.0
        assert Client().get("/search").content == b"found"
        assert get_registry().get("GET /search").metrics().calls == 0  # type: ignore[union-attr]


def test_every_setting_is_in_the_table() -> None:
    from dataclasses import fields

    from recloser_adapters.django._config import Settings

    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {row.strip().strip("`") for row in rows}

    assert {field.name.upper() for field in fields(Settings)} <= named


def test_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    Client().get("/orders/7")
    run("What it knows")
    get_registry()["GET /orders/<int:number>"].open("by hand")

    said = capsys.readouterr().out
    assert "'GET /orders/<int:number>': 'closed" in said
    assert "GET /orders/<int:number> open by hand" in said


def test_tests() -> None:
    made = run("Tests")
    suite = unittest.TestSuite()
    for name in ("PageTests", "OutageTests"):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(made[name]))

    result = unittest.TextTestRunner(verbosity=0).run(suite)

    assert (result.testsRun, result.failures, result.errors) == (2, [], [])


def test_a_refusal_reaches_the_caller_of_the_pages_view_without_middleware() -> None:
    views = run("A service that a view needs")
    get_registry()["prices.example"].open()

    with pytest.raises(BreakerOpenError):
        views["price"](None, 1)


def test_every_block_is_run() -> None:
    assert ran == set(CODE), "run this file as a whole"
    assert settings.configured
