"""docs/how-to/tornado.md: its code runs, and does what the page says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks

pytest.importorskip("tornado")

from tests.support.scripted_handler import Answer
from tests.support.tornado_exchange import Exchange

from recloser_adapters.tornado import guarded_keys

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tornado.md"


@pytest.fixture
def page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for _, code in code_blocks(PAGE):
        exec(code, names)
    return names


def test_the_code(page: dict[str, Any]) -> None:
    app, registry = page["app"], page["registry"]

    def ask(method: str, path: str) -> Answer:
        async def main() -> Answer:
            return await Exchange(method, path).run(app)

        return asyncio.run(main())

    assert ask("GET", "/version").body == b"1"
    assert ask("GET", "/prices").body == b"1 EUR"
    assert guarded_keys(app) == {registry: {"payments", "GET /prices"}}
    page["upstream"].open()
    assert ask("GET", "/prices").refused
    assert registry["GET /prices"].metrics().ignored == 1
    page["test_it_is_refused"]()
    answer = ask("GET", "/prices")
    assert answer.status == 503
    assert b"try_again_in" in answer.body
