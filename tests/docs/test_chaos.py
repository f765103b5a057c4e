"""docs/how-to/chaos.md: its code runs, and does what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.markdown import code_blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "chaos.md"


def _run_page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for heading, code in code_blocks(PAGE):
        exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
    return names


def test_the_code_of_the_page_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", "1")

    _run_page()["test_payments_open"]()

    said = capsys.readouterr().out
    assert said == "chaos in 'payments': 0.1 of the calls are slow, on purpose\n"


def test_without_the_variable_the_page_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECLOSER_CHAOS", raising=False)

    with pytest.raises(RuntimeError, match="RECLOSER_CHAOS=1"):
        _run_page()
