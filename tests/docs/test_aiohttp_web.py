"""docs/how-to/aiohttp-web.md: its code runs, and does what the page says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks

pytest.importorskip("aiohttp")

from aiohttp import web
from tests.support.aiohttp_exchange import Exchange
from tests.support.scripted_handler import Answer

from recloser_adapters.aiohttp_web import guarded_keys

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "aiohttp-web.md"


@pytest.fixture
def page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for _, code in code_blocks(PAGE):
        exec(code, names)
    return names


def ask(app: web.Application, *paths: str) -> list[Answer]:
    async def main() -> list[Answer]:
        return [await Exchange("GET", path).run(app) for path in paths]

    return asyncio.run(main())


def test_the_app_of_the_first_lines(page: dict[str, Any]) -> None:
    app = page["app"]

    answers = ask(app, "/version", "/pay/7", "/prices")

    assert [answer.body for answer in answers] == [b"1", b"paid", b"1 EUR"]
    assert list(guarded_keys(app).values()) == [{"payments", "GET /prices"}]
    page["upstream"].open()
    assert [answer.refused for answer in ask(app, "/prices")] == [True]


def test_the_settings(page: dict[str, Any]) -> None:
    app = web.Application(middlewares=[page["guard"]])
    app.router.add_get("/orders/{id}", page["version"])
    page["registry"]["GET /orders/{id}"].open()
    page["test_it_is_refused"]()

    # `version` is exempt wherever it is.
    assert [answer.body for answer in ask(app, "/orders/7")] == [b"1"]

    async def order(request: web.Request) -> web.Response:
        return web.Response(text="order")

    app = web.Application(middlewares=[page["guard"]])
    app.router.add_get("/orders/{id}", order)
    [refused] = ask(app, "/orders/7")
    assert refused.status == 503
    assert b"try_again_in" in refused.body
