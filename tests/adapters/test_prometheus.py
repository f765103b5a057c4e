"""The Prometheus adapter, with the real prometheus-client, and real workers of gunicorn."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.example_server import needs
from tests.support.fleet_workers import Workers as FleetWorkers
from tests.support.waiting import until

from recloser import LoosePermit, Outcome, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.prometheus import (
    BreakerCollector,
    export,
    make_asgi_app,
    make_wsgi_app,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """The samples of a text, as prometheus-client reads them; each series must be there once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = sample.name, frozenset(sample.labels.items())
            assert series not in found, series
            found[series] = sample.value
    return found


def get(samples: Samples, name: str, /, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def told(registry: Registry, **settings: Any) -> Samples:
    return parsed(BreakerCollector(registry, **settings).text())


def play(registry: Registry, clock: ManualClock) -> None:
    """Three good calls, one of each other outcome, and a refusal."""
    breaker = registry["shop"]
    for outcome in (*[Outcome.SUCCESS] * 3, *Outcome):
        permit = breaker.acquire()
        clock.advance(0.25)
        permit.end(outcome)
    open_breaker(breaker)
    breaker.admit(LoosePermit)


def test_the_figures_of_a_key_are_told(registry: Registry, clock: ManualClock) -> None:
    collector = BreakerCollector(registry)
    play(registry, clock)
    clock.advance(3)
    samples = parsed(collector.text())

    assert get(samples, "recloser_calls_total", key="shop", outcome="success") == 4
    for outcome in ("failure", "throttled", "ignored", "cancelled"):
        assert get(samples, "recloser_calls_total", key="shop", outcome=outcome) == 1
    assert get(samples, "recloser_refused_total", key="shop") == 1
    assert get(samples, "recloser_state", key="shop", state="open") == 1
    assert get(samples, "recloser_state", key="shop", state="closed") == 0
    assert get(samples, "recloser_mode", key="shop", mode="enforce") == 1
    assert get(samples, "recloser_since_seconds", key="shop") == 3
    assert get(samples, "recloser_limit", key="shop") is None
    assert get(samples, "recloser_call_duration_seconds_count", key="shop") == 5
    assert get(samples, "recloser_call_duration_seconds_sum", key="shop") == pytest.approx(1.25)
    median = get(samples, "recloser_call_duration_seconds", key="shop", quantile="0.5")
    assert median == pytest.approx(0.25, rel=0.05)
    changed = {"key": "shop", "from": "closed", "to": "open"}
    assert get(samples, "recloser_transitions_total", **changed) == 1
    assert get(samples, "recloser_keys") == 1
    assert get(samples, "recloser_faults_total") == 0


def test_what_was_only_observed_is_told(registry: Registry, clock: ManualClock) -> None:
    registry.mode = "observe"
    play(registry, clock)
    samples = told(registry)

    assert get(samples, "recloser_refused_total", key="shop") == 1
    assert get(samples, "recloser_spared_total", key="shop") == 1
    assert get(samples, "recloser_mode", key="shop", mode="observe") == 1


@pytest.mark.parametrize("compat", [None, "resilience4j"])
def test_other_exporters_get_the_same_as_our_text(
    registry: Registry, clock: ManualClock, compat: Any
) -> None:
    play(registry, clock)
    registry["idle"]
    target = CollectorRegistry()
    collector = export(registry, to=target, compat=compat)

    assert parsed(generate_latest(target).decode()) == parsed(collector.text())


def test_every_name_has_the_ending_of_its_type(registry: Registry, clock: ManualClock) -> None:
    play(registry, clock)
    for family in text_string_to_metric_families(BreakerCollector(registry).text()):
        assert family.name.startswith("recloser_")
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


def test_the_series_of_a_key_go_with_the_key(registry: Registry, clock: ManualClock) -> None:
    collector = BreakerCollector(registry)
    play(registry, clock)
    registry["other"]
    registry.discard(registry["shop"])
    gc.collect()

    assert {dict(labels).get("key") for _, labels in parsed(collector.text())} == {"other", None}


def test_the_number_of_series_is_bounded(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=5)
    collector = BreakerCollector(registry)
    for number in range(200):
        breaker = registry[f"made up {number}"]
        breaker.record(0.1, True)
        breaker.open()
        breaker.reset()
        del breaker
        collector.text()
    gc.collect()
    samples = parsed(collector.text())

    keys = {dict(labels).get("key") for _, labels in samples} - {None}
    assert len(keys) <= 6  # with that of what overflowed
    assert get(samples, "recloser_evicted_total") == registry.evicted > 0


HOSTILE = [
    'a"b',
    "a\\b",
    "a\nb",
    'a"} 1\nrecloser_state{key="forged',
    "<script>alert(1)</script>",
    "\udc80\udcff",
    "é ✓ 日本",
    "",
    "x" * 10_000,
    "{}",
]


@pytest.mark.parametrize("compat", [None, "resilience4j"])
def test_a_key_is_text_whatever_it_is(registry: Registry, compat: Any) -> None:
    for key in HOSTILE:
        registry[key].record(0.1, True)
    text = BreakerCollector(registry, compat=compat).text()
    samples = parsed(text)

    text.encode()
    counted = [
        dict(labels)["key"]
        for name, labels in samples
        if name == "recloser_state" and ("state", "open") in labels
    ]
    assert len(counted) == len(HOSTILE)
    assert max(map(len, counted)) <= 200
    assert "forged" not in counted


def test_long_keys_that_begin_alike_are_told_apart(registry: Registry) -> None:
    registry["x" * 300 + "1"].record(0.1, True)
    registry["x" * 300 + "2"].record(0.1, False)

    assert get(told(registry), "recloser_keys") == 2


def test_a_key_of_two_registries_is_one_key(registry: Registry, clock: ManualClock) -> None:
    other = Registry(clock=clock)
    registry["shop"].record(0.1, True)
    other["shop"].record(0.3, True)
    open_breaker(other["shop"])
    samples = parsed(BreakerCollector(registry, other, registry).text())

    assert get(samples, "recloser_calls_total", key="shop", outcome="success") == 2
    assert get(samples, "recloser_state", key="shop", state="open") == 1
    assert get(samples, "recloser_state", key="shop", state="closed") == 1


def test_names_of_resilience4j(registry: Registry, clock: ManualClock) -> None:
    play(registry, clock)
    registry["idle"]
    samples = told(registry, compat="resilience4j")

    def value(name: str, /, **labels: str) -> float | None:
        return get(samples, f"resilience4j_circuitbreaker_{name}", name="shop", **labels)

    states = {
        state: value("state", state=state)
        for state in ("closed", "open", "half_open", "disabled", "metrics_only")
    }
    assert states == {"closed": 0, "open": 1, "half_open": 0, "disabled": 0, "metrics_only": 0}
    assert value("calls_seconds_count", kind="successful") == 4
    assert value("calls_seconds_count", kind="failed") == 1
    assert value("not_permitted_calls_total", kind="not_permitted") == 1
    assert value("failure_rate") == 20
    idle = get(samples, "resilience4j_circuitbreaker_failure_rate", name="idle")
    assert idle == -1


STORE = {"store": "memory:7/0"}


def _of_fleet(samples: Samples) -> dict[str, float]:
    """What is told of the fleet, by the rest of the name."""
    return {
        name.removeprefix("recloser_fleet_"): value
        for (name, labels), value in samples.items()
        if labels == frozenset(STORE.items())
    }


def test_a_registry_without_a_store_tells_of_no_fleet(registry: Registry) -> None:
    assert "recloser_fleet" not in BreakerCollector(registry).text()


def test_the_fleet_of_a_registry_is_told(clock: ManualClock) -> None:
    workers = FleetWorkers(clock)
    workers.turn(5.5)
    first = workers.registries[0]
    quiet = {"store_failures_total": 0, "garbage_total": 0, "keys_led": 0, "keys_alone": 0}
    assert _of_fleet(told(first)) == {"workers": 3, "store_up": 1, **quiet}

    first["pay"].open("migration")
    workers.turn(0.2)
    assert [_of_fleet(told(each))["keys_led"] for each in workers.registries] == [1, 0, 0]

    store = workers.fleet(first).store
    assert store.swap("key other", 0, 1, "garbage", 60.0)
    workers.turn(1.2)
    assert _of_fleet(told(first))["garbage_total"] == 1

    workers.shared.trouble = "no route"
    workers.turn(3.0)
    trouble = _of_fleet(told(first))
    assert (trouble["store_up"], trouble["workers"]) == (0, 3)
    assert trouble["store_failures_total"] >= 3
    workers.shared.trouble = ""
    workers.turn(2.0)
    assert _of_fleet(told(first))["store_up"] == 1


def test_the_keys_about_which_a_worker_decided_alone_are_told(clock: ManualClock) -> None:
    workers = FleetWorkers(clock)
    first = workers.registries[0]
    about = {"host": "here", "pid": 1, "leads": [], "alone": {"a": "open", "b": "limited"}}
    workers.turn(5.5)
    # As this worker's beat says it to the others.
    workers.fleet(first).store.beat(workers.names[0], json.dumps(about), 600.0)
    workers.fleet(first).member._beats.others = workers.fleet(first).store.workers()

    assert _of_fleet(told(first))["keys_alone"] == 2
    assert _of_fleet(told(workers.registries[1]))["keys_alone"] == 0


def test_other_exporters_get_the_same_of_a_fleet(clock: ManualClock) -> None:
    workers = FleetWorkers(clock)
    workers.call("shop")
    target = CollectorRegistry()
    collector = export(workers.registries[0], to=target)

    found = parsed(generate_latest(target).decode())
    assert found == parsed(collector.text())
    assert _of_fleet(found)["store_up"] == 1


def test_registries_of_one_fleet_are_told_together(clock: ManualClock) -> None:
    workers = FleetWorkers(clock)
    workers.turn(5.5)
    for number, registry in enumerate(workers.registries):
        registry[f"key {number}"].open()
    workers.turn(0.5)

    together = _of_fleet(parsed(BreakerCollector(*workers.registries).text()))
    assert (together["workers"], together["store_up"], together["keys_led"]) == (3, 1, 3)


def test_wrong_arguments_are_told(registry: Registry) -> None:
    with pytest.raises(TypeError, match="at least one Registry"):
        export()
    with pytest.raises(TypeError, match="Registry objects"):
        make_asgi_app("registry")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resilience4j"):
        make_wsgi_app(registry, compat="hystrix")  # type: ignore[arg-type]
    target = CollectorRegistry()
    export(registry, to=target)
    with pytest.raises(ValueError, match="Duplicated"):
        export(registry, to=target)


def asked(app: Any, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Ask an ASGI app."""
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(app({"type": "http", "method": method}, receive, send))
    head, body = messages
    headers = {name.decode(): value.decode() for name, value in head["headers"]}
    return head["status"], headers, body["body"]


def asked_by_wsgi(app: Any, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    head: list[Any] = []
    body = b"".join(app({"REQUEST_METHOD": method}, lambda *found: head.extend(found)))
    status, fields = head
    return int(status[:3]), {name.lower(): value for name, value in fields}, body


@pytest.fixture(params=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Callable[..., tuple[int, dict[str, str], bytes]]:
    def ask(registry: Registry, method: str = "GET", **settings: Any) -> Any:
        if request.param == "asgi":
            return asked(make_asgi_app(registry, **settings), method)
        return asked_by_wsgi(make_wsgi_app(registry, **settings), method)

    return ask


def test_the_apps_tell_the_figures_and_all_else_once(ask: Any, registry: Registry) -> None:
    registry["shop"].record(0.1, True)
    others = CollectorRegistry()
    Counter("sold", "Things sold.", registry=others).inc()
    export(registry, to=others)  # it must not be told twice
    status, headers, body = ask(registry, others=others)
    samples = parsed(body.decode())

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(headers["content-length"]) == len(body)
    assert get(samples, "sold_total") == 1
    assert get(samples, "recloser_calls_total", key="shop", outcome="success") == 1


def test_the_apps_are_read_only(ask: Any, registry: Registry) -> None:
    assert ask(registry, "HEAD")[::2] == (200, b"")
    assert ask(registry, "POST")[0] == 405
    assert ask(registry, "OPTIONS")[1]["allow"] == "GET, HEAD, OPTIONS"


def test_a_scrape_in_the_middle_of_everything_harms_nothing(registry: Registry) -> None:
    """A listener may scrape, too: nothing is held while listeners are told."""
    collector = BreakerCollector(registry)
    texts: list[str] = []

    class Scraping:
        def on_transition(self, transition: object) -> None:
            texts.append(collector.text())

    registry.subscribe(Scraping())
    open_breaker(registry["shop"])

    assert get(parsed(texts[0]), "recloser_state", key="shop", state="open") == 1
    assert registry.faults == 0


# Several processes

WORKER = """
import os
from recloser import Registry
from recloser_adapters.prometheus import make_wsgi_app

registry = Registry()
metrics = make_wsgi_app(registry)
before = registry["before the fork"]
before.record(0.1, True)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/metrics":
        return metrics(environ, start_response)
    with registry["work"]:
        pass
    if path == "/drop":
        registry.discard(registry["work"])
    start_response("200 OK", [("X-Process", str(os.getpid()))])
    return [b""]
"""


class Workers:
    """A running gunicorn."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str) -> tuple[str | None, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.getheader("X-Process"), response.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            self.ask("/metrics")
        except OSError:
            return False
        return True

    def work(self) -> float:
        _, text = self.ask("/metrics")
        labels = {"key": "work", "outcome": "success"}
        return get(parsed(text), "recloser_calls_total", **labels) or 0.0

    def closed(self, key: str) -> float:
        _, text = self.ask("/metrics")
        return get(parsed(text), "recloser_state", key=key, state="closed") or 0.0


@contextmanager
def gunicorn(folder: Path, *arguments: str) -> Generator[Workers, None, None]:
    (folder / "worker_app.py").write_text(WORKER)
    (folder / "figures").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--workers=4", f"--bind=127.0.0.1:{port}"),
            *(*arguments, "--no-control-socket", "worker_app:app"),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "figures"),
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        workers = Workers(port)
        until(workers.answers, "gunicorn serves")
        yield workers
    finally:
        process.terminate()
        process.wait(30)


@needs("gunicorn")
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each loads", "preload"])
def test_each_scrape_tells_the_figures_of_all_workers(
    tmp_path: Path, preload: tuple[str, ...]
) -> None:
    with gunicorn(tmp_path, *preload) as workers:
        processes: set[str | None] = set()
        calls = 0
        while len(processes) < 4:
            processes.add(workers.ask("/")[0])
            calls += 1
        until(lambda: workers.work() == calls, "all calls are told")
        assert all(workers.work() == calls for _ in range(8))  # whichever worker is asked
        assert workers.closed("work") == 4

        # The end of a worker takes nothing back, and its breaker is no longer among the states.
        ended = processes.pop()
        assert ended is not None
        os.kill(int(ended), signal.SIGKILL)
        until(lambda: workers.closed("work") == 3, "the dead worker is no longer told")
        assert workers.work() == calls

        # Another worker takes its place, and is told, too.
        while workers.ask("/")[0] in processes:
            calls += 1
        calls += 1
        until(lambda: workers.work() == calls, "all calls are told again")
        assert workers.closed("work") == 4

        # Nor does a breaker that one of them has dropped.
        workers.ask("/drop")
        until(lambda: workers.closed("work") == 3, "the dropped breaker is no longer told")
        assert workers.work() == calls

        # What was called before the fork is counted once, not once for each worker.
        def before() -> float | None:
            labels = {"key": "before the fork", "outcome": "success"}
            return get(parsed(workers.ask("/metrics")[1]), "recloser_calls_total", **labels)

        expected = 1 if preload else 5
        until(lambda: before() == expected, "what was called before the fork is told once")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def success(text: str) -> float | None:
    return get(parsed(text), "recloser_calls_total", key="shop", outcome="success")


def test_a_process_is_one_process_however_many_exporters_it_has(
    registry: Registry, folder: Path
) -> None:
    registry["shop"].record(0.1, True)
    other = Registry()
    target = CollectorRegistry()
    export(registry, to=target)
    collectors = [BreakerCollector(registry), BreakerCollector(other), BreakerCollector(registry)]

    for collector in collectors:
        assert success(collector.text()) == 1
    assert success(generate_latest(target).decode()) == 1
    _, _, page = asked(make_asgi_app(other, others=target))
    assert success(page.decode()) == 1


def test_scrapes_at_the_same_time_agree(registry: Registry, folder: Path) -> None:
    registry["shop"].record(0.1, True)
    collector = BreakerCollector(registry)
    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(lambda _: success(collector.text()), range(100)))

    assert told == {1}


def test_what_was_told_never_falls_while_breakers_come_and_go(
    registry: Registry, folder: Path
) -> None:
    collector = BreakerCollector(registry)
    other = Registry()
    other["shop"].record(0.1, True)
    BreakerCollector(other)
    before = 0.0
    for _ in range(20):
        registry["shop"].record(0.1, True)
        now = success(collector.text())
        assert now is not None
        assert now >= before
        before = now
        registry.discard(registry["shop"])
        gc.collect()

    assert before > 15


def test_a_folder_that_cannot_be_written_fails_the_scrape(registry: Registry, folder: Path) -> None:
    registry["shop"].record(0.1, True)
    app = make_asgi_app(registry, others=CollectorRegistry())
    folder.joinpath("recloser_ended.lock").mkdir()
    status, _, body = asked(app)

    assert status == 503
    assert b"cannot be read" in body
    assert registry.faults >= 1


def test_files_of_other_versions_and_nonsense_are_passed_over(
    registry: Registry, folder: Path
) -> None:
    registry["shop"].record(0.1, True)
    collector = BreakerCollector(registry)
    for number, text in enumerate(["", "[]", "{}", "null", '{"columns": []}', "\x00"]):
        (folder / f"recloser_{number}_other.json").write_text(text)
    (folder / "recloser_ended.json").write_text("nonsense")

    assert success(collector.text()) == 1


def test_it_may_be_a_route_of_starlette_and_answers_without_a_slash(registry: Registry) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.testclient import TestClient

    registry["shop"].acquire().success()
    app = Starlette()
    app.routes.append(Route("/metrics", make_asgi_app(registry)))

    answer = TestClient(app).get("/metrics", follow_redirects=False)

    assert answer.status_code == 200
    assert 'key="shop"' in answer.text


def test_a_fleet_is_told_for_all_processes_and_failures_of_ended_ones_stay(
    clock: ManualClock, folder: Path
) -> None:
    """The other process is one whose file it left, without the lock of one that lives."""
    workers = FleetWorkers(clock)
    workers.call("shop")
    collector = BreakerCollector(workers.registries[0])
    collector.text()
    [own] = folder.glob("recloser_*_*.json")
    left = json.loads(own.read_text())
    left["fleets"] = {STORE["store"]: [9, 0, 5, 2, 4, 3]}
    (folder / "recloser_1_ended.json").write_text(json.dumps(left))

    for _ in range(2):
        found = _of_fleet(parsed(collector.text()))
        assert (found["store_failures_total"], found["garbage_total"]) == (5, 2)
        assert (found["workers"], found["store_up"], found["keys_led"]) == (1, 1, 0)
