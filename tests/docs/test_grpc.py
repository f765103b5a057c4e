"""The code of docs/how-to/grpc.md, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")

from tests.support.grpc_shop import LATE, Shop
from tests.support.markdown import code_blocks

from recloser.testing import ManualClock

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "grpc.md"
BLOCKS = [code for _, code in code_blocks(PAGE)]


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop(ManualClock())
    yield shop
    shop.stop()


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_it_runs(code: str, shop: Shop) -> None:
    names: dict[str, Any] = {}
    exec(code.replace("orders:50051", shop.target), names)

    registry = names["registry"] if "registry" in names else names["guard"].registry
    breaker = registry[f"{shop.target} shop.Orders"]
    if "get" in names:
        assert asyncio.run(names["get"]()) == b"42"
    else:
        channel = names["channel"]
        breaker.close()
        assert channel.unary_unary("/shop.Orders/Get")(b"42", timeout=LATE) == b"42"
        channel.close()
    assert breaker.metrics().successes == 1


def test_the_first_block_is_what_a_user_pastes() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) == 5
