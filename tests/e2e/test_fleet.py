"""Fleets of real processes on real stores, in short; `python -m benchmarks.fleet_chaos` has the long runs."""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.fleet_chaos import chaos, overhead, peer, restart, servers, spread, upstream
from benchmarks.fleet_chaos.figures import percentile
from benchmarks.fleet_chaos.invariants import Invariants
from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import engines, started
from benchmarks.fleet_chaos.upstream import Probe
from tests.support.waiting import until

# One server is enough here: the tests of the engine have all.
ENGINES = engines()[:2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs forks and UNIX sockets")


@pytest.mark.parametrize("engine", ENGINES)
def test_all_workers_open_when_the_callee_fails(engine: str) -> None:
    found = spread.measure(engine, 2, calm=0.2)

    assert found.broken == []
    assert len(found.spreads) == 2
    # The goal, 50 ms, is for a machine that is not busy: there, the benchmark judges it.
    assert max(found.spreads) < 2.0


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_breaks_under_faults(engine: str) -> None:
    found = chaos.run(engine, 10.0, seed=1)

    assert found.broken == []
    assert found.faults.total() > 1
    assert found.calls > 100


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restart_forgets_nothing(engine: str) -> None:
    # The new workers have 15 calls each: too few to learn themselves what is normal.
    found = restart.measure(engine, learns=6.0, reads=0.5, workers=4)

    assert found.broken == []
    assert max(map(abs, found.changes())) <= restart.GOAL


_APP = """
import os
from recloser import Registry
from recloser.asgi import BreakerMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

registry = Registry(store=os.environ["STORE"])

async def index(request):
    return PlainTextResponse(str(registry["app"].slow_threshold))

shop = Starlette(routes=[Route("/", index), Route("/known", index)])
app = BreakerMiddleware(shop, registry, exempt=["/known"])
"""


@contextmanager
def _served(folder: Path) -> Generator[Callable[[str], float]]:
    """A server that is told to end afterwards; ask it for its slow threshold, in seconds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop:app", f"--port={port}", "--log-level=error"],
        cwd=folder,
        env={**os.environ, "STORE": str(folder / "recloser.db")},
    )

    def ask(path: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return float(answer.read())

    try:
        until(lambda: _answers(port), "the server answers")
        yield ask
        process.terminate()
        process.wait(30)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def test_a_server_that_is_started_again_knows_what_it_had_learned(tmp_path: Path) -> None:
    """uvicorn ends by a signal, so nothing of `atexit` runs: the middleware leaves the fleet before."""
    if importlib.util.find_spec("uvicorn") is None:
        pytest.skip("not installed: uvicorn")
    (tmp_path / "shop.py").write_text(_APP)
    with _served(tmp_path) as ask:
        unknown = ask("/")
        learned = [ask("/") for _ in range(60)][-1]
    assert learned < unknown

    with _served(tmp_path) as ask:
        ask("/")  # one call: nothing can be learned from it
        until(lambda: ask("/known") < unknown, "it reads what was kept")

        assert ask("/known") == pytest.approx(learned, rel=0.2)


@pytest.mark.parametrize("kind", servers.KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_servers_with_several_workers_are_one_fleet(engine: str, kind: str) -> None:
    if servers.missing(kind):
        pytest.skip(f"not installed: {servers.missing(kind)}")

    found = servers.measure(engine, kind)

    assert found.broken == []
    assert (found.seen, found.opened) == (servers.WORKERS, servers.WORKERS)


def test_healthy_calls_are_no_operations() -> None:
    if len(ENGINES) < 2:
        pytest.skip("no server is installed")

    few, _ = overhead.measure_operations(ENGINES[1], 40.0, workers=2, seconds=4.0)
    many, calls = overhead.measure_operations(ENGINES[1], 400.0, workers=2, seconds=4.0)

    assert calls > 800
    assert max(few, many) <= overhead.OPERATIONS + 0.5  # a beat more or less in so short a time


def test_a_peer_without_a_store_in_a_file_is_told() -> None:
    assert peer.unfit("sqlite") == (
        "--peer: interlock-cb has no store in a file; write --engines redis-server"
    )


@pytest.mark.parametrize("make", [peer.Metered, peer.Interlock])
def test_a_peer_is_measured_as_recloser_is(make: type[peer.Metered]) -> None:
    if len(ENGINES) < 2:
        pytest.skip("no server is installed")
    if make is peer.Interlock:
        pytest.importorskip("interlock")

    found = peer.run(ENGINES[1], 6.0, 1, make)

    assert found.errors == []
    assert found.calls > 100
    assert found.wasted > 0
    assert found.well > 0


# What judges


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(None, workers=2, rate=50.0)
    yield made
    made.close()


def probe(begun: float, ended: float, allowed: int = 1, worker: int = 0, kind: str = "f") -> Probe:
    return Probe(worker, kind, allowed, begun, begun, ended)


def test_probes_above_the_tickets_are_seen(pool: Pool) -> None:
    with started("sqlite") as place:
        watch = Invariants(pool, place, pytest.fail)

        assert watch.judge_probes([probe(1.0, 2.0), probe(2.0, 3.0)], 0.0) == []
        assert len(watch.judge_probes([probe(1.0, 2.1), probe(2.0, 3.0)], 0.0)) == 1
        assert watch.judge_probes([probe(1.0, 2.1, 2), probe(2.0, 3.0, 2)], 0.0) == []
        assert watch.judge_probes([probe(1.0, 2.1, kind="a"), probe(2.0, 3.0)], 0.0) == []


def test_a_probe_of_a_worker_that_was_stopped_is_not_judged(pool: Pool) -> None:
    with started("sqlite") as place:
        watch = Invariants(pool, place, pytest.fail)
        now = time.monotonic()
        watch.note_gone(1)

        probes = [probe(now - 1.0, math.inf, worker=1), probe(now + 1.0, now + 2.0)]

        assert watch.judge_probes(probes, 0.0) == []


def test_an_epoch_that_falls_is_seen(pool: Pool) -> None:
    broken: list[str] = []
    with started("sqlite") as place:
        watch, store = Invariants(pool, place, broken.append), place.open()
        assert store.swap("key a", 0, 5, "text", 60.0)
        watch.read_store()
        assert store.swap("key a", 5, 6, "text", 60.0)
        watch.read_store()
        assert broken == []

        assert store.swap("key a", 6, 7, "text", 0.001)
        until(lambda: store.get("key a") is None, "the time of the fact is over")
        assert store.swap("key a", 0, 1, "text", 60.0)
        watch.read_store()

        assert len(broken) == 1
        store.close()


def test_workers_that_do_not_agree_are_seen(pool: Pool) -> None:
    broken: list[str] = []
    with started("sqlite") as place:
        watch = Invariants(pool, place, broken.append)
        # Without a store they are not connected, and that is told once.
        now, told = time.monotonic(), list[int]()
        for seconds in (0.0, 1.9, 2.5, 3.0):
            for worker in pool.workers:
                assert worker.news is not None
                worker.news = replace(worker.news, at=now + seconds)
            watch.judge(False, now + seconds)
            told.append(len(broken))

    assert told == [0, 0, 1, 1]


def test_a_callee_that_hangs_is_let_go() -> None:
    with upstream.running() as callee:
        callee.become(upstream.HANGS)
        with pytest.raises(TimeoutError):
            upstream.ask(callee.path, 1, "f", 1, time.monotonic())
        callee.become(upstream.WELL)
        assert upstream.ask(callee.path, 1, "f", 1, time.monotonic())

        def has_told() -> bool:
            callee.read()
            return len(callee.probes) == 2

        until(has_told, "it tells of both probes")

    assert callee.probes[0].ended < callee.probes[1].begun


def test_percentiles() -> None:
    assert percentile(range(101), 0.5) == 50
    assert percentile([1.0], 0.99) == 1.0
    assert math.isnan(percentile([], 0.5))
