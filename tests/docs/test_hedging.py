"""docs/how-to/hedging.md: its code runs, and does what the page says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "hedging.md"


def _run_page() -> dict[str, Any]:
    async def fetch(target: str, timeout: float) -> str:  # noqa: ASYNC109 - as clients have it
        assert timeout > 0.0
        return target

    names: dict[str, Any] = {"fetch": fetch}
    for heading, code in code_blocks(PAGE):
        exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
    return names


def test_the_page_calls_the_first_provider(capsys: pytest.CaptureFixture[str]) -> None:
    names = _run_page()

    assert asyncio.run(names["main"]()) == "https://eu.example"
    assert "hedging: 0 of 0 calls were sent twice" in capsys.readouterr().out


def test_the_test_of_the_page_passes() -> None:
    asyncio.run(_run_page()["test_the_second_attempt_wins"]())
