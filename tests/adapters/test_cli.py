"""The `recloser` command: what it says when it cannot run, and its exit status."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")
pytest.importorskip("uvicorn")

from click.testing import CliRunner

import recloser_adapters._command.demo.run
from recloser_adapters import __main__ as script
from recloser_adapters._command.cli import main
from recloser_adapters._command.demo.children import ChildError


def _outcome(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def run(**options: Any) -> int:
        asked.append(options)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(recloser_adapters._command.demo.run, "run", run)
    return asked


@pytest.mark.parametrize("library", ["httpx", "rich", "starlette", "uvicorn"])
def test_a_missing_extra_is_named_in_one_line(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _outcome(monkeypatch, 0)
    monkeypatch.setitem(sys.modules, library, None)

    result = CliRunner().invoke(main, ["demo"])

    assert result.exit_code == 2
    assert result.output.splitlines() == [
        f"recloser: `recloser demo` needs {library}: pip install 'recloser[demo]'"
    ]
    assert asked == []


def test_a_bare_install_names_the_extra_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "recloser_adapters._command.cli")
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(SystemExit) as ended:
        script.main()

    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "recloser: the command needs click: pip install 'recloser[demo]'"
    ]


@pytest.mark.parametrize("seconds", ["29", "61", "nan", "soon"])
def test_a_schedule_that_is_too_short_or_too_long_is_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _outcome(monkeypatch, 0)

    result = CliRunner().invoke(main, ["demo", "--seconds", seconds])

    assert result.exit_code == 2
    assert "--seconds" in result.output
    assert asked == []


@pytest.mark.parametrize(
    ("outcome", "status"), [(0, 0), (1, 1), (ChildError("it died"), 2), (KeyboardInterrupt(), 130)]
)
def test_the_exit_status_tells_how_it_went(
    outcome: int | BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _outcome(monkeypatch, outcome)

    assert CliRunner().invoke(main, ["demo"]).exit_code == status


def test_the_options_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _outcome(monkeypatch, 0)

    CliRunner().invoke(main, ["demo"])
    CliRunner().invoke(main, ["demo", "--seconds", "30", "--serve", "--json"])

    assert asked == [
        {"seconds": 45, "serve": False, "as_json": False},
        {"seconds": 30, "serve": True, "as_json": True},
    ]


def test_a_child_that_dies_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _outcome(monkeypatch, ChildError("the upstream ended on its own: no memory"))

    result = CliRunner().invoke(main, ["demo"])

    assert result.output == "recloser: the upstream ended on its own: no memory\n"
