"""The README's code runs, its commands are those of CI, and docs/policy.md is what the code says.

`python -P tests/test_readme.py` writes the table of docs/policy.md anew.
"""

from __future__ import annotations

import configparser
import itertools
import re
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.support.documented import status_of
from tests.support.markdown import code_blocks

from recloser import Policy
from recloser.testing import open_breaker

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
POLICY = ROOT / "docs" / "policy.md"
TABLE = re.compile(
    r"(<!-- policy table: .*? -->\n\n).*?(\n<!-- end of policy table -->)", re.DOTALL
)


def policy_table() -> str:
    """One row per field of Policy: name, default, and what its docstring says."""
    documented = re.search(r"Args:\n(.*?)\n\n\s+Raises:", Policy.__doc__ or "", re.DOTALL)
    assert documented
    meanings = {
        name: " ".join(meaning.split())
        for name, meaning in re.findall(
            r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |\Z)", documented[1], re.DOTALL | re.MULTILINE
        )
    }
    rows = [
        f"| `{field.name}` | {_shown(field.default)} | {meanings[field.name]} |"
        for field in fields(Policy)
    ]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, float):
        return f"{default:,g}" if default < 1e6 else f"{default:,.0f}"
    return f"{default:,}" if isinstance(default, int) else f"`{default!r}`"


def _blocks(language: str) -> list[tuple[str, str]]:
    """The README's code blocks in a language, each with the heading above it."""
    return code_blocks(README, language)


def _check_starlette(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_api_route("/x/{number}", lambda number: "hello")

    assert status_of(app, "/x/1") == 200
    assert status_of(app, "/nowhere") == 404


def _check_flask(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_url_rule("/x/<int:number>", view_func=lambda number: "hello", endpoint="x")

    assert app.test_client().get("/x/1").text == "hello"
    assert "GET /x/<int:number>" in app.test_cli_runner().invoke(args=["recloser", "status"]).output


def _check_django(names: dict[str, Any]) -> None:
    module, _, name = names["MIDDLEWARE"][0].rpartition(".")
    pytest.importorskip("django")

    assert callable(getattr(pytest.importorskip(module), name))


def _check_client(names: dict[str, Any]) -> None:
    httpx = names["httpx"]
    with names["client"] as client:
        client._transport.wrapped = httpx.MockTransport(lambda request: httpx.Response(200))
        assert client.get("http://api.example/").status_code == 200
        open_breaker(names["breakers"]["api.example"])
        with pytest.raises(httpx.TransportError, match=re.escape("api.example")):
            client.get("http://api.example/")


def _check_llm(names: dict[str, Any]) -> None:
    openai = names["openai"]
    open_breaker(names["breakers"]["api.openai.com gpt-4o"])

    with names["client"] as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "?"}])


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "FastAPI and Starlette": _check_starlette,
    "Flask": _check_flask,
    "Django": _check_django,
    "A client": _check_client,
    "An LLM": _check_llm,
}
NEEDED = {"FastAPI and Starlette": "fastapi", "An LLM": "openai"}


def test_every_python_block_of_the_readme_is_checked() -> None:
    assert [heading for heading, _ in _blocks("python")] == list(CHECKS)


@pytest.mark.parametrize(("heading", "code"), _blocks("python"))
def test_the_code_under_this_heading_runs(
    heading: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    if heading in NEEDED:
        pytest.importorskip(NEEDED[heading])
    names: dict[str, Any] = {"__name__": "readme"}

    exec(compile(code, f"README.md, {heading}", "exec"), names)

    CHECKS[heading](names)


def test_quick_starts_have_about_five_lines() -> None:
    for heading, code in _blocks("python"):
        assert len([line for line in code.splitlines() if line]) <= 5, heading


def test_the_readme_is_about_a_screen() -> None:
    """A stranger finds in a minute: the frameworks, four workers, LLMs, what is open, no risk."""
    text = README.read_text()

    assert len(text.splitlines()) <= 120
    for page in ("observe-first", "dashboard", "several-workers", "llm-providers"):
        assert f"(docs/how-to/{page}.md)" in text.partition("### ")[0], page


def test_ci_runs_the_test_command_of_the_readme_word_for_word() -> None:
    commands = "".join(code for heading, code in _blocks("console") if heading == "See it")
    [test_command] = [line for line in commands.splitlines() if "tox" in line]

    assert test_command in _without_comments(".ci/run")
    assert test_command in (ROOT / "CONTRIBUTING.md").read_text()


def _rows(lines: str) -> set[str]:
    """The names of tox rows, with what stands in braces written out: `py3{11-13}-core`."""
    rows: set[str] = set()
    for name in re.split(r"[\s,]+(?![^{]*\})", lines.strip()):
        choices = [_choices(part) for part in re.split(r"[{}]", name)]
        rows |= {"".join(parts) for parts in itertools.product(*choices)}
    return rows


def _choices(part: str) -> list[str]:
    if span := re.fullmatch(r"(\d+)-(\d+)", part):
        return [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
    return part.split(",")


def test_ci_runs_every_row_of_the_matrix_once() -> None:
    """README's command runs the rows for contributors, and another command runs the slow rows.

    CI does not run the nightly rows, which take about an hour.
    """
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    default = _rows(tox["tox"]["env_list"])
    labels = dict(re.findall(r"^(\w+) = (.*)$", tox["tox"]["labels"].strip(), re.MULTILINE))
    assert [*labels] == ["slow", "nightly"]
    slow, nightly = _rows(labels["slow"]), _rows(labels["nightly"])
    suites = re.findall(r"^([\w, ]+): SUITE =", tox["testenv"]["set_env"], re.MULTILINE)
    sections = {name.removeprefix("testenv:") for name in tox.sections() if ":" in name}

    assert ".venv/bin/tox run-parallel -m slow\n" in _without_comments(".ci/run")
    assert {"py311-core", "py313-core", "py312-flask-latest", "lint", "docs"} <= default
    assert {"foreign-httpx", "e2e", "coverage"} <= slow
    assert {"foreign-django", "soak"} <= nightly
    assert not default & slow
    assert not nightly & (default | slow)
    factors = {factor for row in default | slow for factor in row.split("-")}
    assert {factor.strip() for suite in suites for factor in suite.split(",")} <= factors
    assert set().union(*map(_rows, sections)) <= default | slow | nightly


def _without_comments(name: str) -> str:
    lines = (ROOT / name).read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#")).replace(" || status=$?", "")


def test_the_readme_names_two_set_up_commands() -> None:
    """One for the demo and one for the tests; both start from Python and nothing else."""
    commands = [
        line
        for heading, code in _blocks("console")
        if heading == "See it"
        for line in code.splitlines()
    ]

    assert len(commands) == 2
    assert all(line.startswith("python3 -m venv .venv && .venv/bin/pip") for line in commands)


def test_the_policy_table_is_what_the_code_says() -> None:
    table = TABLE.search(POLICY.read_text())

    assert table
    assert table[0] == f"{table[1]}{policy_table()}{table[2]}"


def test_the_files_that_the_readme_links_to_exist() -> None:
    # Its page comes with the adapter.
    comes_later = set() if find_spec("recloser_adapters.django") else {"docs/how-to/django.md"}
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", README.read_text()):
        assert (ROOT / target).exists() or target in comes_later, target


if __name__ == "__main__":
    POLICY.write_text(
        TABLE.sub(lambda found: found[1] + policy_table() + found[2], POLICY.read_text())
    )


def test_each_test_file_is_run_by_a_row() -> None:
    folder = ROOT / "tests" / "adapters"
    names = [path.name for path in folder.iterdir() if not path.name.startswith("__")]
    suites = (ROOT / "tox.ini").read_text()

    assert [name for name in names if not re.search(rf"tests/adapters/{name}(\s|$)", suites)] == []
