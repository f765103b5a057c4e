"""docs/how-to/graphql.md: its code runs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.graphql_requests import asgi, counted
from tests.support.markdown import code_blocks
from tests.support.wsgi_client import Exchange

from recloser import Outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "graphql.md"
BLOCKS = code_blocks(PAGE)


def run(index: int) -> dict[str, Any]:
    module = sys.modules["graphql_page"] = ModuleType("graphql_page")
    exec(BLOCKS[index][1], vars(module))
    return vars(module)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_each_block_runs(index: int) -> None:
    code = BLOCKS[index][1]
    for library in ("strawberry", "ariadne", "starlette"):
        if f"from {library}" in code or f"import {library}" in code:
            pytest.importorskip(library)

    assert callable(run(index)["app"])


def test_strawberry_in_starlette_has_a_breaker_for_each_operation() -> None:
    pytest.importorskip("strawberry")
    (index,) = [at for at, (_, code) in enumerate(BLOCKS) if "strawberry" in code]
    names = run(index)

    assert asgi(names["app"], query="query Orders { order }")[0] == 200
    assert counted(names["registry"]) == {"GRAPHQL Orders": {"successes": 1}}


def test_ariadne_on_wsgi_answers() -> None:
    pytest.importorskip("ariadne")
    (index,) = [at for at, (_, code) in enumerate(BLOCKS) if "ariadne" in code]

    exchange = Exchange("GET", "/")
    exchange.environ["QUERY_STRING"] = "query=query%20Orders%7Border%7D"
    app = run(index)["app"]
    exchange.run(app)

    assert list(counted(app.registry)) == ["GRAPHQL Orders"]


def test_the_judgement_of_the_page() -> None:
    (index,) = [at for at, (_, code) in enumerate(BLOCKS) if "def classify_error" in code]
    classify = run(index)["classify_error"]

    assert classify({"message": "no such order"}) is Outcome.IGNORED
    assert classify({"message": "timed out"}) is None
