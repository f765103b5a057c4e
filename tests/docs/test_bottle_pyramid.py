"""docs/how-to/bottle-pyramid.md: its code runs, and does what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks
from tests.support.wsgi_client import Exchange

pytest.importorskip("bottle")
pytest.importorskip("pyramid")

from recloser import Registry
from recloser_adapters import bottle, pyramid

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "bottle-pyramid.md"


@pytest.fixture
def page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for _, code in code_blocks(PAGE):
        exec(code, names)
    return names


def test_the_code_for_bottle(page: dict[str, Any]) -> None:
    guarded = page["guarded"]

    answers = [Exchange("GET", path).run(guarded) for path in ("/version", "/pay/7", "/prices")]

    assert [answer.body for answer in answers] == [b"1", b"paid", b"1 EUR"]
    registry: Registry = guarded.registry
    assert {breaker.key for breaker in registry.breakers()} == {"payments", "GET /prices"}
    page["upstream"].open()
    assert Exchange("GET", "/prices").run(guarded).refused
    assert registry["GET /prices"].metrics().ignored == 1
    assert bottle.guarded_keys(guarded) == {registry: {"payments", "GET /prices"}}


def test_the_code_for_pyramid(page: dict[str, Any]) -> None:
    from pyramid.response import Response

    config, registry = page["config"], page["registry"]
    config.add_route("order", "/orders/{id}")
    config.add_view(lambda request: Response("ok"), route_name="order")
    app = config.make_wsgi_app()
    page["test_it_is_refused"]()

    # The settings say that it observes only.
    assert Exchange("GET", "/orders/7").run(app).body == b"ok"
    assert registry["GET /orders/{id}"].metrics().refused == 1
    assert pyramid.guarded_keys(app) == {registry: {"GET /orders/{id}"}}
