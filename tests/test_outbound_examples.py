"""Every outbound example demonstrates what it says, and serves, on real sockets."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.example_server import EXAMPLES, needs, serving

DEADLINE = 60.0
# What has to be installed for an example to run.
NEEDED = {
    "llm_failover": ["httpx", "starlette", "uvicorn"],
    "payments_flask": ["flask", "requests"],
    "fanout_aiohttp": ["aiohttp"],
}


def demonstration(example: str) -> dict[str, str]:
    """Run an example to its end; what it printed, by the title of the scene."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{example}.py")],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Openings are warnings, and Python prints those where no logging is configured.
    changes = re.compile(r"'[^']+' \w+ -> (?:open|limited): .+")
    assert not [line for line in done.stderr.splitlines() if not changes.fullmatch(line)]
    scenes: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith("    "):
            title = next(reversed(scenes))
            scenes[title] += line + "\n"
        else:
            scenes[line] = ""
    return scenes


def counts(scene: str) -> dict[str, int]:
    """`3 x 'this', 1 x 'that'` as a mapping."""
    return {what: int(count) for count, what in re.findall(r"(\d+) x '([^']*)'", scene)}


def answered(scene: str) -> dict[str, int]:
    """Answers by provider. Which of two it was that are well, a pause of the machine may decide."""
    answers = counts(scene)
    assert all(what.endswith(" says hello") for what in answers), scene
    return {what.split()[0]: count for what, count in answers.items()}


@needs(*NEEDED["llm_failover"])
def test_the_llm_route_loses_no_question_before_the_first_token() -> None:
    scenes = demonstration("llm_failover")

    hangs = scenes["north hangs: a few calls wait a moment, none is lost."]
    cut = scenes["north breaks streams off before the first token."]
    for scene, asked in ((hangs, 100), (cut, 20)):
        assert sum(answered(scene).values()) == asked
        assert "north" not in answered(scene)
        assert "north is well again, and served 20 of" in scene
    late = counts(scenes["It breaks one off after the first token: too late."])
    assert late == {"an answer that breaks off": 1}
    limited = answered(scenes["It says 429, Retry-After 1: it is left alone."])
    assert sum(limited.values()) == 20
    assert "north" not in limited
    overloaded = counts(scenes["All are overloaded."])
    assert overloaded["later"] > 0
    assert sum(overloaded.values()) == 20


@needs(*NEEDED["payments_flask"])
def test_the_payment_view_charges_everybody_once_and_refunds_nobody_twice() -> None:
    scenes = demonstration("payments_flask")

    well = counts(scenes["All is well"])
    assert well.keys() <= {"200 east", "200 west"}
    assert sum(well.values()) == 60
    assert well["200 east"] > 50
    assert counts(scenes["east fails: charges go on to west"]) == {"200 west": 60}
    assert counts(scenes["east hangs: charges go on to west"]) == {"200 west": 60}
    assert counts(scenes["both fail"])["503 later"] > 0
    last = scenes["east fails: what may not be repeated is not"]
    assert 0 < counts(last)["502 the payment host failed: HTTPError"] < 30
    assert "180 charged once" in last
    assert "refunds made twice: 0" in last


@needs(*NEEDED["fanout_aiohttp"])
def test_the_page_does_not_wait_for_a_sick_service() -> None:
    scenes = demonstration("fanout_aiohttp")

    hangs = scenes["reviews hang: five pages wait for them, the others do not."]
    assert "reviews left out" in hangs
    (median,) = re.findall(r"median ([\d.]+) ms", hangs)
    assert float(median) < 200.0
    assert "reviews left out, ads left out" in scenes["ads fail, too."]
    # A page that a pause of the machine falls into may lack a part.
    (complete,) = re.findall(r"(\d+) x complete", scenes["All are well."])
    assert int(complete) > 50


class Server:
    """An example that serves."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body=b"hello?" if method == "POST" else None)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/breakers")[0] == 200
        except OSError:
            return False


@contextmanager
def running(example: str) -> Iterator[Server]:
    with serving(example, "serve", answers=lambda port: Server(port).answers()) as port:
        yield Server(port)


@needs(*NEEDED["llm_failover"])
def test_the_llm_route_serves() -> None:
    with running("llm_failover") as server:
        status, headers, text = server.ask("POST", "/chat")
        assert (status, headers["x-served-by"]) == (200, "north")
        assert text == "north (big) says hello "

        server.ask("PUT", "/providers/north/overload")

        status, headers, text = server.ask("POST", "/chat")
        assert (status, headers["x-served-by"]) == (200, "south")
        assert text == "south (s-70b) says hello "


@needs(*NEEDED["payments_flask"])
def test_the_payment_view_serves() -> None:
    with running("payments_flask") as server:
        assert json.loads(server.ask("POST", "/pay/1")[2]) == {"charges": "1", "host": "east"}

        server.ask("PUT", "/hosts/east/fail")

        assert json.loads(server.ask("POST", "/pay/2")[2]) == {"charges": "2", "host": "west"}
        assert server.ask("POST", "/refund/1")[0] == 502


@needs(*NEEDED["fanout_aiohttp"])
def test_the_page_serves() -> None:
    with running("fanout_aiohttp") as server:
        assert json.loads(server.ask("GET", "/page")[2])["reviews"] == "the reviews"

        server.ask("PUT", "/services/reviews/fail")

        page = json.loads(server.ask("GET", "/page")[2])
        assert page["reviews"] == "missing: ClientResponseError"
        assert page["ads"] == "the ads"


def test_every_outbound_example_is_tested() -> None:
    assert set(NEEDED) <= {path.stem for path in EXAMPLES.glob("*.py")}
