"""docs/how-to/task-queues.md: each recipe runs, with a real worker in this process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.markdown import code_blocks

from recloser import Breaker, Registry
from recloser.testing import ManualClock

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "task-queues.md"
BLOCKS = dict(code_blocks(PAGE))
FIRST = "Task queues: Celery, Dramatiq, Taskiq"
PATIENCE = 30.0  # seconds
REFUSED_FOR = 0.1  # seconds
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Callable[..., dict[str, Any]]:
    """Runs a block as a module, whose registry then goes by the clock of the test."""

    def run(heading: str, pay: Callable[[int], Any]) -> dict[str, Any]:
        module = ModuleType("shop")
        monkeypatch.setitem(sys.modules, "shop", module)
        module.__dict__["pay"] = pay
        exec(compile(BLOCKS[heading], str(PAGE), "exec"), module.__dict__)
        module.__dict__["registry"] = registry
        return module.__dict__

    return run


def reopen(breaker: Breaker, clock: ManualClock) -> None:
    """Let the time of an opening pass, once five tasks have been refused."""
    until = time.monotonic() + PATIENCE
    while breaker.metrics().refused < 5:
        assert time.monotonic() < until
        time.sleep(0.01)
    clock.advance(REFUSED_FOR)


class Payments:
    """What the tasks call. At first it fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.orders: list[int] = []

    def __call__(self, order: int) -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("reset by peer")
        self.orders.append(order)
        return f"paid {order}"


def test_every_block_has_a_test_here() -> None:
    assert len(BLOCKS) == len(code_blocks(PAGE))
    assert set(BLOCKS) == {FIRST, "Celery", "Dramatiq", "Taskiq", "Many workers"}


def test_the_beginning(run: Run) -> None:
    known = run(FIRST, Payments())

    assert known["charge"](7) == "paid 7"
    known["registry"]["payments"].open()
    with pytest.raises(known["BreakerOpenError"]):
        known["charge"](8)


def test_many_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(compile(BLOCKS["Many workers"], str(PAGE), "exec"), known)

    with known["registry"]["payments"]:
        pass

    assert votes(known["registry"]["payments"].metrics()) == {"successes": 1}
    assert (tmp_path / "recloser.db").exists()


@pytest.mark.filterwarnings("ignore")
def test_celery_puts_a_refused_task_back_until_it_may_run(run: Run, clock: ManualClock) -> None:
    pytest.importorskip("celery")
    worker: Any = pytest.importorskip("celery.contrib.testing.worker")
    payments = Payments()
    known = run("Celery", payments)
    breaker = known["registry"]["payments"]
    breaker.open("a test", for_=REFUSED_FOR)

    with worker.start_worker(known["app"], perform_ping_check=False, pool="solo", loglevel="ERROR"):
        results = [known["charge"].delay(order) for order in range(5)]
        reopen(breaker, clock)
        paid = [result.get(timeout=PATIENCE) for result in results]

    assert paid == [f"paid {order}" for order in range(5)]
    assert sorted(payments.orders) == list(range(5))
    metrics = breaker.metrics()
    assert (metrics.successes, metrics.failures) == (5, 0)
    assert metrics.refused >= 5


def test_dramatiq_puts_a_refused_task_back_until_it_may_run(run: Run, clock: ManualClock) -> None:
    dramatiq: Any = pytest.importorskip("dramatiq")
    payments = Payments(failures=1)
    known = run("Dramatiq", payments)
    broker, breaker = known["broker"], known["registry"]["payments"]
    known["charge"].options["min_backoff"] = 10  # milliseconds
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()

    def finish() -> None:
        broker.join(known["charge"].queue_name, timeout=int(PATIENCE * 1000), fail_fast=False)
        worker.join()

    try:
        known["charge"].send(0)  # a real error, and its retry
        finish()
        breaker.open("a test", for_=REFUSED_FOR)
        for order in range(1, 6):
            known["charge"].send(order)
        reopen(breaker, clock)
        finish()
    finally:
        worker.stop()
        broker.close()

    assert sorted(payments.orders) == list(range(6))
    metrics = breaker.metrics()
    assert (metrics.successes, metrics.failures) == (6, 1)


def test_taskiq_puts_a_refused_task_back_until_it_may_run(run: Run, clock: ManualClock) -> None:
    pytest.importorskip("taskiq")
    payments = Payments()

    async def pay(order: int) -> str:
        return payments(order)

    known = run("Taskiq", pay)
    broker, breaker = known["broker"], known["registry"]["payments"]
    delays: list[float] = []
    kick = broker.kick

    async def kick_in_time(message: Any) -> None:
        """A broker that knows delayed messages; that in memory does not."""
        delay = float(message.labels.get("delay", 0.0))
        delays.append(delay)
        await asyncio.sleep(delay)
        await kick(message)

    broker.kick = kick_in_time

    async def main() -> list[Any]:
        await broker.startup()
        breaker.open("a test", for_=REFUSED_FOR)
        tasks = [await known["charge"].kiq(order) for order in range(5)]
        await asyncio.to_thread(reopen, breaker, clock)
        results = [await task.wait_result(timeout=PATIENCE) for task in tasks]
        await broker.shutdown()
        return results

    results = asyncio.run(main())

    assert [result.return_value for result in results] == [f"paid {order}" for order in range(5)]
    metrics = breaker.metrics()
    assert (metrics.successes, metrics.failures) == (5, 0)
    assert metrics.refused >= 5
    assert max(delays) == pytest.approx(REFUSED_FOR)
