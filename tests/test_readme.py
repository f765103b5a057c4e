"""The README's code runs, its commands are those of CI, and docs/policy.md is what the code says.

`python -P tests/test_readme.py` writes the table of docs/policy.md anew.
"""

from __future__ import annotations

import asyncio
import configparser
import itertools
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recloser import BreakerOpenError, Mode, Policy, Registry
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
    found = []
    heading = ""
    for part in re.finditer(
        r"^(#+ (?P<heading>[^\n]+)|```(?P<language>\w+)\n(?P<code>.*?)^```)$",
        README.read_text(),
        re.DOTALL | re.MULTILINE,
    ):
        if part["heading"]:
            heading = part["heading"]
        elif part["language"] == language:
            found.append((heading, part["code"]))
    return found


def _call_asgi(app: Any, path: str = "/") -> int:
    """Ask an ASGI app for a path and return the status."""
    statuses: list[int] = []
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.test")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(app(scope, receive, send))
    [status] = statuses
    return status


def _check_starlette(names: dict[str, Any]) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    app = names["app"]
    app.router.routes.append(Route("/x/{id}", lambda request: PlainTextResponse("hello")))

    assert _call_asgi(app, "/x/1") == 200
    assert _call_asgi(app, "/nowhere") == 404


def _check_flask(names: dict[str, Any]) -> None:
    app = names["app"]
    app.add_url_rule("/x/<int:number>", view_func=lambda number: "hello", endpoint="x")

    assert app.test_client().get("/x/1").text == "hello"
    assert "GET /x/<int:number>" in app.test_cli_runner().invoke(args=["recloser", "status"]).output


def _check_asgi(names: dict[str, Any]) -> None:
    assert _call_asgi(names["app"], "/orders/1") == 200


def _check_function(names: dict[str, Any]) -> None:
    breaker = names["breakers"]["payments"]

    assert names["charge"](5) == "charged 5"
    open_breaker(breaker)
    with pytest.raises(BreakerOpenError, match="payments"):
        names["charge"](5)


def _check_client(names: dict[str, Any]) -> None:
    import httpx

    with names["client"] as client:
        open_breaker(names["breakers"]["api.example"])
        with pytest.raises(httpx.TransportError, match=re.escape("api.example")):
            client.get("http://api.example/")


def _check_labels(names: dict[str, Any]) -> None:
    breaker = names["breakers"]["llm"]

    assert names["ask"]("really") == "really? Yes."
    assert names["permit"].ended
    assert breaker.metrics().successes == 3
    assert len(breaker._circuit.explained._levels) == 3


def _check_cutting_off(names: dict[str, Any]) -> None:
    httpx = names["httpx"]
    timeouts: list[Any] = []

    def answer(request: Any) -> Any:
        timeouts.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, content=b"all of it")

    names["client"]._transport.wrapped = httpx.MockTransport(answer)
    with names["client"] as client:
        client.get("http://api.example/", timeout=None)
        client.get("http://api.example/", timeout=3.0)

        def get(url: str, timeout: float) -> Any:
            return client.get(url, timeout=timeout)

        names["httpx"] = SimpleNamespace(get=get)
        assert names["report"]("july") == b"all of it"
    assert asyncio.run(names["search"]("breakers")) == "all about breakers"
    assert timeouts[1:] == [3.0, 30.0]
    assert timeouts[0] == names["breakers"]["api.example"].policy.slow_ceiling


def _check_failover(names: dict[str, Any]) -> None:
    assert names["answer"] == "https://a.example says yes"


def _check_llm_client(names: dict[str, Any]) -> None:
    httpx = names["httpx"]
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(request)
        return httpx.Response(503 if request.url.host == "api.openai.com" else 200)

    names["transport"].wrapped = httpx.MockTransport(answer)

    assert names["client"].post("/chat/completions", json={"model": "big"}).status_code == 200
    assert str(sent[1].url) == "https://api.groq.com/openai/v1/chat/completions"
    assert sent[1].headers["authorization"] == "Bearer gsk-2"
    assert sent[1].content == b'{"model": "llama-3.3-70b"}'


def _check_prometheus(names: dict[str, Any]) -> None:
    from starlette.testclient import TestClient

    names["registry"]["shop"].record(0.1, True)
    with TestClient(names["app"]) as client:
        told = client.get("/metrics/").text

    assert 'recloser_calls_total{key="shop",outcome="success"} 1' in told


def _check_opentelemetry(names: dict[str, Any]) -> None:
    assert names["failover"].call(lambda attempt: attempt.key) == "primary"
    assert names["registry"].trace is not None


def _check_sentry(names: dict[str, Any]) -> None:
    open_breaker(names["registry"]["shop"])
    assert names["registry"].faults == 0
    names["sentry_sdk"].init()


def _check_configuration(names: dict[str, Any]) -> None:
    registry = names["registry"]

    assert isinstance(registry, Registry)
    assert registry["GET /search/people"].policy.failure_threshold_z_score == 3.0
    assert registry["POST /payments"].policy.min_failures == 3
    assert registry["GET /"].policy.slow_ceiling == 10.0
    assert registry["GET /"].mode is Mode.OBSERVE
    assert _call_asgi(names["app"], "/health") == 404


def _check_dashboard(names: dict[str, Any]) -> None:
    from starlette.testclient import TestClient

    with names["registry"]["POST /payments"]:
        pass
    client = TestClient(names["app"], base_url="https://shop.example")
    client.auth = ("anna", "secret")
    actions = "/breakers/keys/POST%20%2Fpayments/"
    opened = client.post(actions + "open", json={"for": 600, "reason": "migration"})

    assert client.get("/breakers/keys", auth=("anna", "wrong")).status_code == 401
    assert opened.json()["state"] == "open"
    assert client.get("/breakers").text.startswith("<!doctype html>")
    # The dashboard itself has no breaker.
    assert [breaker.key for breaker in names["registry"]] == ["POST /payments"]


def _check_fleet(names: dict[str, Any]) -> None:
    fleet = names["registry"].fleet
    assert fleet is not None
    assert fleet.store.place.endswith("recloser.db")
    fleet.close()


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "Starlette and FastAPI": _check_starlette,
    "Flask": _check_flask,
    "Any ASGI or WSGI app": _check_asgi,
    "Any function": _check_function,
    "Calls that are known to take longer": _check_labels,
    "Outbound calls": _check_client,
    "Cutting off what hangs": _check_cutting_off,
    "Several providers": _check_failover,
    "Several LLM providers": _check_llm_client,
    "Prometheus": _check_prometheus,
    "OpenTelemetry": _check_opentelemetry,
    "Sentry": _check_sentry,
    "Configure": _check_configuration,
    "Several workers": _check_fleet,
    "Dashboard": _check_dashboard,
}


def test_every_python_block_of_the_readme_is_checked() -> None:
    assert [heading for heading, _ in _blocks("python")] == list(CHECKS)


@pytest.mark.parametrize(("heading", "code"), _blocks("python"))
def test_the_code_under_this_heading_runs(
    heading: str, code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BREAKERS_PASSWORD", "secret")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}

    exec(compile(code, f"README.md, {heading}", "exec"), names)

    CHECKS[heading](names)


def test_quick_starts_have_about_five_lines() -> None:
    for heading, code in _blocks("python")[:2]:
        assert len([line for line in code.splitlines() if line]) <= 5, heading


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
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target


if __name__ == "__main__":
    POLICY.write_text(
        TABLE.sub(lambda found: found[1] + policy_table() + found[2], POLICY.read_text())
    )
