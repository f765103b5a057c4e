"""The `recloser` command: its options, what it says when it cannot run, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from recloser_adapters import __main__ as script
from recloser_adapters._command.cli import main


def _run(arguments: Sequence[str]) -> int:
    """The exit status; argparse ends by an exception for what is used wrongly."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_command_needs_the_standard_library_only() -> None:
    """On a server there may be nothing but recloser; seen in a fresh interpreter."""
    script = (
        "import sys\n"
        "before = {name.split('.')[0] for name in sys.modules}\n"
        "from recloser_adapters._command.cli import main\n"
        "assert main(['status', 'http://127.0.0.1:1']) == 3\n"
        "loaded = {name.split('.')[0] for name in sys.modules} - before\n"
        "print(*sorted(loaded - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["recloser", "recloser_adapters"]


def test_the_script_exits_with_the_status_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recloser", "status", "http://127.0.0.1:1"])

    with pytest.raises(SystemExit) as ended:
        script.main()

    assert ended.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("recloser: no answer from http://127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["statu", "u"], "invalid choice: 'statu'"),
        (["status"], "the following arguments are required: URL"),
        (["open", "u"], "the following arguments are required: KEY"),
        (["open", "u", ""], "argument KEY: must not be empty"),
        (["open", "u", "k", "--for", "10"], "not '10': write 10s"),
        (["open", "u", "k", "--for", "0s"], "must be a time such as 30s, 10m or 1h30m, not '0s'"),
        (["open", "u", "k", "--for", "soon"], "must be a time such as 30s, 10m or 1h30m"),
        (["close", "u", "k", "--for", "10m"], "unrecognized arguments: --for 10m"),
        (["observe", "u", "k", "--share", "1"], "unrecognized arguments: --share 1"),
        (["enforce", "u", "k", "--share", "1.1"], "must be a share in 0.0-1.0, not '1.1'"),
        (["enforce", "u", "k", "--share", "nan"], "must be a share in 0.0-1.0, not 'nan'"),
        (["status", "u", "--every", "0s"], "must be a time such as"),
        (["status", "u", "--password", "x"], "unrecognized arguments: --password x"),
    ],
)
def test_wrong_use_is_said_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(arguments) == 2

    output = capsys.readouterr()
    [line] = output.err.splitlines()
    assert line.startswith("recloser")
    assert says in line
    assert output.out == ""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status", "-h"], ["enforce", "-h"], ["--version"]]
)
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(arguments) == 0
    assert "recloser" in capsys.readouterr().out


# The demo


def _outcome(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> list[dict[str, Any]]:
    pytest.importorskip("rich")
    pytest.importorskip("uvicorn")
    import recloser_adapters._command.demo.run

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
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _outcome(monkeypatch, 0)
    monkeypatch.setitem(sys.modules, library, None)

    assert _run(["demo"]) == 2

    assert capsys.readouterr().err.splitlines() == [
        f"recloser: `recloser demo` needs {library}: pip install 'recloser[demo]'"
    ]
    assert asked == []


@pytest.mark.parametrize("seconds", ["29", "61", "nan", "soon"])
def test_a_schedule_that_is_too_short_or_too_long_is_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = _outcome(monkeypatch, 0)

    assert _run(["demo", "--seconds", seconds]) == 2

    assert "--seconds" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("outcome", "status"), [(0, 0), (1, 1), ("it died", 2), (KeyboardInterrupt(), 130)]
)
def test_the_exit_status_tells_how_it_went(
    outcome: int | str | BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn")
    from recloser_adapters._command.demo.children import ChildError

    _outcome(monkeypatch, ChildError(outcome) if isinstance(outcome, str) else outcome)

    assert _run(["demo"]) == status


def test_the_options_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _outcome(monkeypatch, 0)

    _run(["demo"])
    _run(["demo", "--seconds", "30", "--serve", "--json", "--dashboard"])

    assert asked == [
        {"seconds": 45, "serve": False, "as_json": False, "dashboard": False},
        {"seconds": 30, "serve": True, "as_json": True, "dashboard": True},
    ]


def test_a_child_that_dies_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("uvicorn")
    from recloser_adapters._command.demo.children import ChildError

    _outcome(monkeypatch, ChildError("the upstream ended on its own: no memory"))

    _run(["demo"])

    assert capsys.readouterr().err == "recloser: the upstream ended on its own: no memory\n"
