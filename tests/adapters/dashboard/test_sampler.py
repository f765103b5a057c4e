"""The thread that measures, and what is kept of the last minutes."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest
from tests.support.dashboard_client import ask_wsgi
from tests.support.waiting import until

from recloser import Registry, State
from recloser.testing import ManualClock
from recloser_adapters.dashboard import Dashboard
from recloser_adapters.dashboard._history import STEP, STEPS
from recloser_adapters.dashboard._record import Record
from recloser_adapters.dashboard._sampler import Sampler


def _threads() -> int:
    return sum(thread.name == "recloser-dashboard" for thread in threading.enumerate())


@pytest.fixture
def sampler(registry: Registry, clock: ManualClock) -> Sampler:
    """One without a thread, on the manual clock."""
    return Sampler(registry, Record(clock), clock)


def _good(sampler: Sampler, key: str) -> list[int]:
    [row] = [row for row in sampler.rows() if row.breaker.key == key]
    row.history.move_to(sampler.step())
    return row.history.strip()["good"]


def test_calls_are_counted_in_the_step_in_which_they_were_found(
    sampler: Sampler, registry: Registry, clock: ManualClock
) -> None:
    registry["a"].acquire().success()
    sampler.measure()
    for calls in (3, 0, 2):
        for _ in range(calls):
            registry["a"].acquire().success()
        sampler.measure()
        clock.advance(STEP)

    assert _good(sampler, "a")[-4:] == [3, 0, 2, 0]


def test_what_is_older_than_the_last_step_is_forgotten(
    sampler: Sampler, registry: Registry, clock: ManualClock
) -> None:
    registry["a"].acquire().success()
    sampler.measure()
    registry["a"].acquire().success()
    sampler.measure()
    clock.advance(STEP * (STEPS - 1))
    assert _good(sampler, "a")[0] == 1
    clock.advance(STEP)
    assert sum(_good(sampler, "a")) == 0
    clock.advance(STEP * 1000)
    assert sum(_good(sampler, "a")) == 0


def test_a_key_that_is_gone_is_forgotten(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=2)
    record = Record(clock)
    registry.subscribe(record)
    sampler = Sampler(registry, record, clock)
    for key in ("a", "b"):
        with registry[key]:
            pass
    registry["a"].open()
    registry["a"].close()
    sampler.measure()
    assert record.transitions("a")
    registry.discard(registry["a"])
    sampler.measure()

    assert [row.breaker.key for row in sampler.rows()] == ["b"]
    assert record.transitions("a") == []
    assert sampler.row("a") is None


def test_a_key_that_is_made_anew_begins_at_nothing(
    sampler: Sampler, registry: Registry, clock: ManualClock
) -> None:
    for _ in range(5):
        registry["a"].acquire().success()
    sampler.measure()
    registry.discard(registry["a"])
    registry["a"].acquire().success()
    row = sampler.row("a")

    assert row is not None
    assert row.breaker is registry["a"]
    assert row.metrics.calls == 1
    assert sum(row.history.strip()["good"]) == 0


def test_latency_is_that_of_the_last_calls(
    sampler: Sampler, registry: Registry, clock: ManualClock
) -> None:
    def call(seconds: float) -> None:
        permit = registry["a"].acquire()
        clock.advance(seconds)
        permit.success()
        sampler.measure()

    for _ in range(3):
        call(0.1)
    clock.advance(STEP * 2)
    call(0.5)
    row = sampler.row("a")

    assert row is not None
    assert row.history.latency() == pytest.approx(0.5, rel=1e-3)
    clock.advance(STEP * 3)
    row.history.move_to(sampler.step())
    assert row.history.latency() is None


def test_an_opening_is_seen_without_measuring_all(
    sampler: Sampler, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.subscribe(sampler._record)
    registry["a"].acquire().success()
    sampler.measure()
    sampler._took = 1.0  # as with very many keys: requests do not measure all
    registry["a"].open()

    [row] = sampler.rows()
    assert row.metrics.state is State.OPEN


def test_a_dashboard_has_one_thread_and_ends_it(registry: Registry) -> None:
    before = _threads()
    dashboard = Dashboard(registry)
    assert _threads() == before + 1
    dashboard.close()
    until(lambda: _threads() == before, "the end of the thread")


def test_a_dashboard_that_nobody_has_ends_its_thread_and_listens_no_more(
    registry: Registry,
) -> None:
    before = _threads()
    dashboard = Dashboard(registry)
    gone = weakref.ref(dashboard)
    del dashboard
    gc.collect()

    assert gone() is None
    until(lambda: _threads() == before, "the end of the thread")
    assert registry._listeners._listeners == ()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_measures_for_itself(registry: Registry) -> None:
    dashboard = Dashboard(registry)
    registry["a"].acquire().success()
    sampler = dashboard._sampler
    with sampler._lock:  # a request may be within it
        child = os.fork()
        if not child:
            try:
                reply = ask_wsgi(
                    dashboard, "GET", "/keys", b"", {"Host": "localhost"}, "127.0.0.1", "", ""
                )
                fine = _threads() == 1 and reply.json()["view"]["pid"] == os.getpid()
                os._exit(0 if fine else 1)
            finally:
                os._exit(2)
    _, status = os.waitpid(child, 0)
    dashboard.close()

    assert os.waitstatus_to_exitcode(status) == 0


def test_a_fault_while_measuring_is_counted_and_ends_nothing(
    sampler: Sampler, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("no figures")

    monkeypatch.setattr(sampler, "measure", fails)

    assert sampler.run_once() is not None
    assert registry.faults == 1
