"""`recloser status` and the commands that steer, against a real dashboard on a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from recloser import Mode, Registry, State
from recloser_adapters._command.cli import main
from recloser_adapters.dashboard import Dashboard, basic

KEY = "GET /orders/{order}"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for key in (KEY, "POST /payments", "a/b ?#%é<script>"):
        registry[key].acquire().success()
    return registry


@pytest.fixture(params=["/ops/breakers", ""], ids=["mounted", "root"])
def url(request: pytest.FixtureRequest, registry: Registry) -> Iterator[str]:
    dashboard = Dashboard(registry, auth=basic({"ann": "pass:word"}))
    prefix: str = request.param

    def app(environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"] = prefix
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(prefix)
        return dashboard.wsgi(environ, start_response)

    with make_server("127.0.0.1", 0, app, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
        server.shutdown()
        thread.join()
    dashboard.close()


@pytest.fixture(autouse=True)
def _who(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_PASSWORD", "pass:word")
    monkeypatch.setenv("no_proxy", "*")


def _run(url: str, command: str, *arguments: str) -> int:
    return main([command, url, *arguments, "--user", "ann"])


def test_a_key_is_opened_and_seen_and_closed(
    url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(url, "open", KEY, "--for", "10m", "--why", "maintenance") == 0
    assert registry[KEY].state is State.OPEN
    [override] = registry[KEY].overrides
    assert (override.by, override.reason) == ("ann", "maintenance")
    assert override.until - override.since == pytest.approx(600.0)
    assert _run(url, "status") == 0
    assert _run(url, "close", KEY, "--why", "it works") == 0
    assert registry[KEY].state is State.CLOSED

    done, held, head, *shown = capsys.readouterr().out.splitlines()
    assert done.startswith(f"{KEY}: open")
    assert held.startswith("  by hand: open, ends in 10 min, since 0 s, by ann: maintenance")
    assert head.endswith("3 keys, 1 open")
    assert shown[1].startswith("■ open")


def test_each_command_does_what_it_says(url: str, registry: Registry) -> None:
    def after(*command: str) -> tuple[Mode, float, State]:
        assert _run(url, command[0], KEY, *command[1:]) == 0
        breaker = registry[KEY]
        return breaker.mode, breaker.enforce_share, breaker.state

    assert after("observe", "--for", "1h") == (Mode.OBSERVE, 1.0, State.CLOSED)
    assert after("end-override") == (Mode.ENFORCE, 1.0, State.CLOSED)
    assert after("enforce", "--share", "0.25") == (Mode.ENFORCE, 0.25, State.CLOSED)
    assert after("half-open") == (Mode.ENFORCE, 0.25, State.HALF_OPEN)
    assert after("reset") == (Mode.ENFORCE, 0.25, State.CLOSED)


@pytest.mark.parametrize("key", ["POST /payments", "a/b ?#%é<script>"])
def test_any_key_can_be_named(url: str, registry: Registry, key: str) -> None:
    assert _run(url, "open", key) == 0
    assert registry[key].state is State.OPEN
    assert sum(each.state is State.OPEN for each in registry) == 1


def test_what_is_refused_is_said_in_one_line_and_changes_nothing(
    url: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _run(url, "open", "GET /orders/{ordre}") == 1
    assert _run(url, "open", KEY, "--for", "31d") == 1
    assert _run(f"{url}/elsewhere", "status") == 3
    monkeypatch.setenv("RECLOSER_PASSWORD", "wrong")
    assert _run(url, "open", KEY) == 1

    unknown, long, elsewhere, wrong = capsys.readouterr().err.splitlines()
    assert f"did you mean '{KEY}'?" in unknown
    assert "30 days" in long
    assert "not as a dashboard" in elsewhere
    assert "wrong user or password" in wrong
    assert all(each.state is State.CLOSED for each in registry)


def test_machines_get_json(
    url: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(url, "status", "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert {each["key"] for each in told["keys"]} == {each.key for each in registry}
