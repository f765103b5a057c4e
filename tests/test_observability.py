"""examples/observability: a real Prometheus reads the app, and answers every query of the dashboard."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.example_server import EXAMPLES, needs, serving
from tests.support.waiting import until

FOLDER = EXAMPLES / "observability"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
ORDERS = "GET /orders/{number}"

# Debian's package `prometheus`, which .ci/run installs: there they may not be missing.
pytestmark = [
    needs("starlette", "uvicorn", "prometheus_client"),
    pytest.mark.skipif(
        shutil.which("prometheus") is None and "CI" not in os.environ,
        reason="needs Debian's package prometheus",
    ),
]


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except OSError:
        return False


class Prometheus:
    """A running Prometheus, which reads the app every second."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **parameters: object) -> Any:
        status, text = ask(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(text)
        assert status == 200, answer
        return answer["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """What a query of the dashboard finds in the last minutes."""
        for name, value in {
            "$__rate_interval": "8s",
            "$__range": "5m",
            "$job": ".*",
            "$key": ".*",
        }.items():
            query = query.replace(name, value)
        assert "$" not in query
        now = time.time()
        found = self.get("query_range", query=query, start=now - 300, end=now, step=1)
        result: list[dict[str, Any]] = found["result"]
        return result

    def highest(self, query: str, **labels: str) -> float:
        """The highest value of a query, in the series with these labels."""
        series = [each for each in self.series(query) if labels.items() <= each["metric"].items()]
        return max((float(value) for each in series for _, value in each["values"]), default=0.0)


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    """The port of the app."""
    with serving("observability/app", answers=lambda port: answers(port, "/metrics/")) as port:
        yield port


@pytest.fixture(scope="module")
def prometheus(app: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the configuration of the example, after an outage."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = (FOLDER / "prometheus.yml").read_text().replace("localhost:8000", f"127.0.0.1:{app}")
    (folder / "prometheus.yml").write_text(text.replace("15s", "1s"))
    shutil.copy(FOLDER / "alerts.yml", folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port, "/-/ready"), "Prometheus is ready")
        found = Prometheus(port)
        until(lambda: found.highest("up") == 1, "Prometheus reads the app")
        play(app, found)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def play(app: int, prometheus: Prometheus) -> None:
    """Good calls, an outage until calls are refused, and time for Prometheus to see it."""
    for number in range(60):
        assert ask(app, f"/orders/{number}")[0] == 200
        assert ask(app, "/suggestions")[0] == 200
    good = {"key": ORDERS, "outcome": "success"}
    seen = "recloser_calls_total"
    # A rate is that of what changes after Prometheus has first seen it.
    until(lambda: prometheus.highest(seen, **good) == 60, "Prometheus sees the calls")
    ask(app, "/shop/down", "PUT")

    def refused() -> bool:
        ask(app, "/suggestions")
        ask(app, "/orders/1")
        return prometheus.highest("recloser_refused_total", key=ORDERS) > 5

    until(refused, "Prometheus sees refusals")
    ask(app, "/shop/up", "PUT")
    # Calls that only observing has spared, and that are good.
    until(
        lambda: (
            ask(app, "/suggestions")[0] == 200
            and prometheus.highest("recloser_spared_total", key="suggestions") > 0
        ),
        "Prometheus sees what was spared",
    )
    ask(app, "/shop/down", "PUT")


def test_the_app_is_what_the_configuration_reads(prometheus: Prometheus) -> None:
    (target,) = prometheus.get("targets")["activeTargets"]

    assert target["health"] == "up"
    assert not target["lastError"]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboard_is_answered(prometheus: Prometheus, query: str) -> None:
    # Rates and increases want two scrapes of what has changed.
    until(lambda: bool(prometheus.series(query)), query)


def test_every_annotation_of_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    for annotation in DASHBOARD["annotations"]["list"]:
        assert prometheus.series(annotation["expr"])


def test_the_dashboard_shows_the_outage(prometheus: Prometheus) -> None:
    queries = {panel["title"]: panel["targets"][0]["expr"] for panel in PANELS}

    assert prometheus.highest(queries["States"], key=ORDERS) == 3
    assert prometheus.highest(queries["Open keys"]) >= 1
    assert prometheus.highest(queries["Evidence"], key=ORDERS) > 0.5
    assert prometheus.highest(queries["Share of failures"], key=ORDERS) > 0.5
    assert prometheus.highest(queries["Not closed now"], key=ORDERS) > 0
    assert prometheus.highest(queries["Modes"], mode="observe") == 1
    assert prometheus.highest(queries["Faults"]) == 0


def test_the_variables_of_the_dashboard_have_values(prometheus: Prometheus) -> None:
    keys = prometheus.get("label/key/values")

    assert {ORDERS, "suggestions"} <= set(keys)
    assert prometheus.get("label/job/values") == ["shop"]


def test_every_alert_rule_is_loaded_and_can_be_evaluated(prometheus: Prometheus) -> None:
    def rules() -> list[Any]:
        (group,) = prometheus.get("rules")["groups"]
        found: list[Any] = group["rules"]
        return found

    until(lambda: all(rule["health"] != "unknown" for rule in rules()), "rules are evaluated")

    assert [(rule["name"], rule["health"]) for rule in rules()] == [
        (name, "ok")
        for name in (
            "BreakerOpen",
            "BreakerLimited",
            "BreakerFlaps",
            "ManyCallsRefused",
            "BreakerOpenForHours",
            "ObservedRefusalsWouldHarm",
            "BreakerFaults",
            "BreakerKeysOverflow",
            "FleetStoreDown",
            "FleetDisagrees",
        )
    ]
    assert all(rule["annotations"]["summary"] for rule in rules())


def test_an_open_breaker_is_an_alert(app: int, prometheus: Prometheus) -> None:
    def pending() -> set[str]:
        ask(app, "/orders/1")
        alerts = prometheus.get("alerts")["alerts"]
        return {each["labels"]["key"] for each in alerts if each["state"] in ("pending", "firing")}

    until(lambda: ORDERS in pending(), "the breaker is open, and Prometheus knows it")


def test_promtool_finds_no_mistake(app: int, tmp_path: Path) -> None:
    """Nor in the names and the types of what the app tells."""
    _, told = ask(app, "/metrics/")
    ours = "".join(line for line in told.splitlines(keepends=True) if "recloser_" in line)

    for command, text in {
        "check config prometheus.yml": "",
        "check rules alerts.yml": "",
        "check metrics": ours,
    }.items():
        checked = subprocess.run(
            ["promtool", *command.split()],
            cwd=FOLDER,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_panels_do_not_overlap_and_are_told_apart() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells

    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["description"] for panel in PANELS)


def test_the_app_serves_while_the_shop_is_slow(app: int) -> None:
    ask(app, "/shop/slow", "PUT")
    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda number: ask(app, f"/orders/{number}")[0], range(16)))
    ask(app, "/shop/up", "PUT")

    assert statuses <= {200, 503}
