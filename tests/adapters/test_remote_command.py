"""`recloser status` and the commands that steer, against a real server: requests, output, errors."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pytest
from tests.support.dashboard_stub import PREFIX, Stub, dashboard_stub, key_facts
from tests.support.waiting import PATIENCE, until

from recloser_adapters._command import credentials
from recloser_adapters._command.cli import main

ORDERS = "GET /orders/{order}"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with dashboard_stub() as stub:
        stub.keys = [key_facts(ORDERS), key_facts("POST /payments", "open", refused=977)]
        yield stub


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECLOSER_PASSWORD", raising=False)
    monkeypatch.setenv("no_proxy", "*")


def test_status_shows_whose_keys_they_are_the_worst_first(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", stub.url]) == 0

    whose, head, *rows = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert whose == "web-3, process 4242, up 3 h: 2 keys, 1 open"
    assert head == "state for calls bad refused in flight p95 key"
    assert rows == [
        "■ open 2 min 1,204 31 977 3 412 ms POST /payments",
        "open: as it is",
        f"● closed 2 min 1,204 31 0 3 412 ms {ORDERS}",
    ]


def test_machines_get_the_answer_as_it_is(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"{stub.url}/", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["keys"] == stub.keys
    assert stub.asked[0][:2] == ("GET", f"{PREFIX}/keys")


@pytest.mark.parametrize(
    ("arguments", "action", "body"),
    [
        (["open", "--for", "1h30m", "--why", "a b"], "open", {"reason": "a b", "for": 5400.0}),
        (["open"], "open", {"reason": "", "for": None}),
        (["close", "--why", "it works"], "close", {"reason": "it works"}),
        (["half-open"], "half-open", {"reason": ""}),
        (["reset"], "reset", {"reason": ""}),
        (["end-override"], "end-override", {"reason": ""}),
        (
            ["observe", "--for", "10m"],
            "mode",
            {"reason": "", "mode": "observe", "for": 600.0},
        ),
        (
            ["enforce", "--share", "0.1", "--for", "30s"],
            "mode",
            {"reason": "", "mode": "enforce", "enforce_share": 0.1, "for": 30.0},
        ),
        (["enforce"], "mode", {"reason": "", "mode": "enforce", "for": None}),
    ],
)
def test_each_command_sends_what_the_api_takes(
    stub: Stub, arguments: list[str], action: str, body: dict[str, Any]
) -> None:
    assert main([arguments[0], stub.url, ORDERS, *arguments[1:]]) == 0

    [(method, path, headers, sent)] = stub.asked
    assert (method, path) == ("POST", f"{PREFIX}/keys/GET%20%2Forders%2F%7Border%7D/{action}")
    assert headers["content-type"] == "application/json"
    assert sent == body


def test_what_was_done_and_until_when_is_said(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["open", stub.url, ORDERS, "--for", "10m", "--why", "maintenance"])
    main(["open", stub.url, ORDERS])

    assert capsys.readouterr().out.splitlines() == [
        f"{ORDERS}: open: maintenance",
        "  by hand: open, ends in 10 min, since 0 s, by ann: maintenance",
        f"{ORDERS}: open: ",
        "  by hand: open, does not expire, since 0 s, by ann",
    ]


@pytest.mark.parametrize(
    "key", ["a/b", "..", "<script>alert(1)</script>", "ключ", "a b?c=d#e", "-k"]
)
def test_any_key_can_be_steered(stub: Stub, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    stub.keys = [key_facts(key)]

    assert main(["open", stub.url, "--json", "--", key]) == 0

    assert json.loads(capsys.readouterr().out)["key"] == key
    assert stub.asked[0][1].startswith(f"{PREFIX}/keys/")


def test_arguments_that_are_no_utf_8_are_sent_as_they_are(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLOSER_PASSWORD", "\udcff")

    assert main(["open", stub.url, "k\udcff", "--why", "\udcff", "--user", "\udcff"]) == 1

    assert stub.asked[0][1] == f"{PREFIX}/keys/k%FF/open"
    assert stub.asked[0][2]["authorization"] == "Basic /zr/"
    assert capsys.readouterr().err.startswith("recloser: no breaker has the key ")


def test_an_unknown_key_is_answered_with_close_ones(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["close", stub.url, "get /order/{order}"]) == 1
    assert main(["close", stub.url, "PAYMENTS"]) == 1
    assert main(["close", stub.url, "zzz"]) == 1

    assert capsys.readouterr().err.splitlines() == [
        f"recloser: no breaker has the key 'get /order/{{order}}'; did you mean '{ORDERS}'?",
        "recloser: no breaker has the key 'PAYMENTS'; did you mean 'POST /payments'?",
        "recloser: no breaker has the key 'zzz'",
    ]


def test_what_is_out_of_range_is_said_with_the_words_of_the_server(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", stub.url, ORDERS, "--for", "365d"]) == 1

    assert capsys.readouterr().err == "recloser: refused: for must be at most 30 days\n"


PROBLEM = json.dumps({"title": "No", "detail": "Read-only\x1b[2J\nfor you."}).encode()


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ((403, {}, PROBLEM), 1, r"refused: Read-only\x1b[2J\nfor you."),
        ((429, {}, b"slow down"), 1, "refused: HTTP 429"),
        ((404, {}, b"<h1>Not found</h1>"), 3, "{url} answers, but not as a dashboard"),
        ((405, {}, b""), 3, "{url} answers, but not as a dashboard"),
        ((200, {}, b"<html>hello</html>"), 3, "{url} answers, but not as a dashboard"),
        ((200, {}, b'{"keys": [{"name": 7}]}'), 3, "{url} answers, but not as a dashboard"),
        ((200, {}, b"[" * 100_000), 3, "{url} answers, but not as a dashboard"),
        ((502, {}, b""), 3, "no answer from {url}: it failed: HTTP 502"),
        ((503, {}, PROBLEM), 3, "no answer from {url}: it failed: Read-only"),
        ((302, {"Location": "/login"}, b""), 3, "{url} redirects to /login: give that address"),
    ],
)
def test_each_bad_answer_is_one_line(
    stub: Stub,
    answer: tuple[int, dict[str, str], bytes],
    status: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub.answer = answer

    assert main(["status", stub.url]) == status

    [line] = capsys.readouterr().err.splitlines()
    assert says.format(url=stub.url) in line
    assert "\x1b" not in line


def test_who_does_not_answer_in_http_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert main(["status", url]) == 3
    assert main(["status", "http://no-such-host.invalid"]) == 3

    refused, unknown = capsys.readouterr().err.splitlines()
    assert refused == f"recloser: no answer from {url}: Connection refused"
    assert unknown.startswith("recloser: no answer from http://no-such-host.invalid: ")


def test_a_server_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recloser_adapters._command.dashboard_api.TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert main(["status", url]) == 3

    assert capsys.readouterr().err == f"recloser: no answer from {url}: nothing within 0.05 s\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://x", "'ftp://x' is no address of a dashboard"),
        ("http://", "'http://' is no address of a dashboard"),
        ("http://x:99999/", "is no address of a dashboard"),
        ("http://a b/", "is no address of a dashboard"),
        ("http://ann:secret@127.0.0.1/", "no user or password in the URL"),
    ],
)
def test_what_is_no_address_is_wrong_use(
    url: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", url]) == 2
    assert says in capsys.readouterr().err


def test_an_address_needs_no_scheme(stub: Stub) -> None:
    assert main(["status", stub.url.removeprefix("http://")]) == 0


# Who asks


def test_the_password_comes_from_the_environment(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.users = {"ann": "s:é"}
    monkeypatch.setenv("RECLOSER_PASSWORD", "s:é")
    assert main(["open", stub.url, ORDERS, "--user", "ann"]) == 0
    monkeypatch.setenv("RECLOSER_PASSWORD", "another")
    assert main(["status", stub.url, "--user", "ann"]) == 1
    assert main(["status", stub.url]) == 1

    assert capsys.readouterr().err.splitlines() == [
        f"recloser: {stub.url} asks who you are: wrong user or password",
        f"recloser: {stub.url} asks who you are: give --user NAME",
    ]


def test_or_it_is_asked_for(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.users = {"ann": "typed"}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(credentials, "getpass", lambda prompt: "typed")

    assert main(["status", stub.url, "--user", "ann"]) == 0


def test_it_is_never_on_the_command_line(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", stub.url, "--user", "ann:secret"]) == 2
    assert main(["status", stub.url, "--user", "ann"]) == 2

    in_user, missing = capsys.readouterr().err.splitlines()
    assert "no password in --user" in in_user
    assert "secret" not in in_user
    assert missing == "recloser: no password for 'ann': set RECLOSER_PASSWORD"
    assert stub.asked == []


def test_a_redirect_is_not_sent_the_password(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_PASSWORD", "secret")
    with dashboard_stub() as elsewhere:
        stub.answer = (307, {"Location": f"{elsewhere.url}/keys"}, b"")

        assert main(["status", stub.url, "--user", "ann"]) == 3
        assert elsewhere.asked == []


# Again and again


class Watching:
    """`recloser status --watch` in a process of its own; on a terminal if asked."""

    def __init__(self, *arguments: str, terminal: bool = False, without: str = "") -> None:
        code = (
            f"import sys; sys.modules[{without!r}] = None\n"
            "from recloser_adapters.__main__ import main; main()"
        )
        command = [sys.executable, "-c", code, "status", *arguments, "--watch", "--every", "50ms"]
        self._ours, theirs = pty.openpty() if terminal else os.pipe()
        os.set_blocking(self._ours, False)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment,
            # Ctrl-C must end it, even where a shell started this in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Wait until a text was shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            if select.select([self._ours], [], [], 0.1)[0]:
                self.shown += os.read(self._ours, 65536).decode()

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C; the exit status, and what was said on standard error."""
        self.process.send_signal(signal.SIGINT)
        # A terminal must be read, or its writer waits.
        until(lambda: self._drained() and self.process.poll() is not None, "it ends")
        return self.process.returncode, self.errors()

    def errors(self) -> str:
        """What was said on standard error by a process that has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def _drained(self) -> bool:
        with suppress(BlockingIOError, OSError):
            self.shown += os.read(self._ours, 65536).decode()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self._ours)


def test_watch_shows_each_change_until_ctrl_c(stub: Stub) -> None:
    with Watching(stub.url) as watching:
        watching.until("1 open")
        stub.keys[0]["state"] = "limited"
        watching.until("1 open, 1 limited")

        assert watching.end() == (130, "")
    assert any("if-none-match" in headers for _, _, headers, _ in stub.asked)


def test_watch_as_json_prints_a_line_for_each_change(stub: Stub) -> None:
    with Watching(stub.url, "--json") as watching:
        watching.until("}]}\n")
        stub.keys = [key_facts("a")]
        watching.until('"a"')
        asked = len(stub.asked)
        until(lambda: len(stub.asked) > asked + 2, "it asks again")

        assert watching.end() == (130, "")
    lines = [json.loads(line)["keys"] for line in watching.shown.splitlines()]
    assert [len(keys) for keys in lines] == [2, 1]


@pytest.mark.parametrize("without", ["rich", "nothing"])
def test_watch_on_a_terminal_fits_it_and_survives_an_outage_of_the_server(
    stub: Stub, without: str
) -> None:
    if without == "nothing":
        pytest.importorskip("rich")
    stub.keys = [key_facts(f"GET /{number}") for number in range(50)]
    with Watching(stub.url, terminal=True, without=without) as watching:
        watching.until("more lines")
        stub.answer = (502, {}, b"")
        watching.until("out of date: no answer from")
        stub.answer = None
        stub.keys = []
        watching.until("no calls yet")

        assert watching.end() == (130, "")
        assert "GET /40" not in watching.shown


def test_watch_ends_if_the_server_refuses(stub: Stub) -> None:
    with Watching(stub.url) as watching:
        watching.until("1 open")
        stub.answer = (403, {}, b"")

        assert watching.process.wait(PATIENCE) == 1
        assert watching.errors() == "recloser: refused: HTTP 403\n"


def test_a_reader_that_has_enough_is_no_error(stub: Stub) -> None:
    stub.keys = [key_facts("k" * 1000) for _ in range(2000)]
    done = subprocess.run(
        f"{sys.executable} -m recloser_adapters status {stub.url} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )

    assert done.stderr == ""
    assert done.stdout.startswith("web-3")


# flask recloser status --url


def test_flask_shows_a_process_that_serves(stub: Stub) -> None:
    flask = pytest.importorskip("flask")
    from recloser_adapters.flask import Recloser

    app = flask.Flask(__name__)
    Recloser(app)
    runner = app.test_cli_runner()

    shown = runner.invoke(args=["recloser", "status", "--url", stub.url])
    as_json = runner.invoke(args=["recloser", "status", "--json", "--url", stub.url])
    stub.answer = (502, {}, b"")
    failed = runner.invoke(args=["recloser", "status", "--url", stub.url])

    assert (shown.exit_code, as_json.exit_code, failed.exit_code) == (0, 0, 3)
    assert "POST /payments" in shown.output
    assert json.loads(as_json.output)["keys"] == stub.keys
    assert failed.output == f"recloser: no answer from {stub.url}: it failed: HTTP 502\n"
