"""What the parts of a member share."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import cast

import pytest

from recloser import Registry, State
from recloser._fleet.incident import Incident
from recloser._fleet.workplace import Workplace
from recloser.fleet import MemoryData, MemoryStore
from recloser.testing import ManualClock, no_jitter, open_breaker


@pytest.fixture
def place(clock: ManualClock) -> Workplace:
    store = MemoryStore(MemoryData(clock))
    registry = Registry(clock=clock, random=no_jitter, store=store)
    return Workplace(registry, store, "me", no_jitter)


@pytest.mark.parametrize(("workers", "pace"), [(1, 0.05), (64, 0.05), (128, 0.1), (640, 0.5)])
def test_the_more_workers_the_rarer_their_reports(
    place: Workplace, workers: int, pace: float
) -> None:
    """So that a leader gets about as many of them."""
    place.workers = workers

    assert place.pace == pytest.approx(pace)


@pytest.mark.parametrize(("workers", "pace"), [(1, 0.01), (16, 0.01), (32, 0.02), (640, 0.4)])
def test_a_key_that_hurries_is_reported_more_often(
    place: Workplace, workers: int, pace: float
) -> None:
    place.workers, key = workers, place.key("a")
    key.hurry(7.0)

    assert place.pace_of(key, 8.0) == pytest.approx(pace)
    assert place.pace_of(key, 8.001) == place.pace


def test_hurry_begins_with_the_next_report_and_delays_none(place: Workplace) -> None:
    late, soon = place.key("late"), place.key("soon")
    late.report_at, soon.report_at = 7.05, 7.001

    for key in (late, soon):
        place.hurry(key, 7.0)

    assert late.report_at == pytest.approx(7.01)
    assert soon.report_at == 7.001


def test_in_a_hurry_a_leader_looks_no_more_often_than_calls_come(place: Workplace) -> None:
    slow = place.key("slow")
    slow.report_at = 9.0
    slow.incident = cast("Incident", SimpleNamespace(looks_every=0.5))

    place.hurry(slow, 7.0)

    assert slow.report_at == 7.5
    assert place.pace_of(slow, 7.0) == 0.5


def test_a_key_is_known_by_one_object(place: Workplace) -> None:
    assert place.key("a") is place.key("a")
    assert {*place.keys} == {"a"}


def test_a_key_without_a_breaker_has_no_circuit(place: Workplace) -> None:
    assert place.circuit_of("never called") is None
    assert place.registry.get("never called") is None


def test_garbage_is_counted_each_time_and_logged_once(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "recloser"):
        for _ in range(10):
            place.note_garbage(ValueError("this is not JSON"))

    assert place.garbage == 10
    assert len([each for each in caplog.records if "garbage" in each.getMessage()]) == 1


def test_a_worker_is_alone_if_its_breaker_is_not_closed_and_has_no_orders(
    clock: ManualClock,
) -> None:
    registry = Registry(clock=clock)
    place = Workplace(registry, MemoryStore(MemoryData(clock)), "me", no_jitter)
    open_breaker(registry["k"])
    assert registry["k"].state is State.OPEN

    # A breaker of no fleet cannot follow one.
    assert place.alone("k") == ""
