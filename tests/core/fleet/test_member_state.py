"""What the parts of a member share."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import cast

import pytest

from recloser import Registry, State
from recloser._fleet.incident import Incident
from recloser._fleet.member_state import MemberState
from recloser.fleet import MemoryData, MemoryStore
from recloser.testing import ManualClock, no_jitter, open_breaker


@pytest.fixture
def shared(clock: ManualClock) -> MemberState:
    store = MemoryStore(MemoryData(clock))
    registry = Registry(clock=clock, random=no_jitter, store=store)
    return MemberState(registry, store, "me", no_jitter)


@pytest.mark.parametrize(("workers", "pace"), [(1, 0.05), (64, 0.05), (128, 0.1), (640, 0.5)])
def test_the_more_workers_the_rarer_their_reports(
    shared: MemberState, workers: int, pace: float
) -> None:
    """So that a leader gets about as many of them."""
    shared.workers = workers

    assert shared.pace == pytest.approx(pace)


@pytest.mark.parametrize(("workers", "pace"), [(1, 0.01), (16, 0.01), (32, 0.02), (640, 0.4)])
def test_a_key_that_hurries_is_reported_more_often(
    shared: MemberState, workers: int, pace: float
) -> None:
    shared.workers, known = workers, shared.known("a")
    known.hurry(7.0)

    assert shared.pace_of(known, 8.0) == pytest.approx(pace)
    assert shared.pace_of(known, 8.001) == shared.pace


def test_hurry_begins_with_the_next_report_and_delays_none(shared: MemberState) -> None:
    late, soon = shared.known("late"), shared.known("soon")
    late.report_at, soon.report_at = 7.05, 7.001

    for known in (late, soon):
        shared.hurry(known, 7.0)

    assert late.report_at == pytest.approx(7.01)
    assert soon.report_at == 7.001


def test_in_a_hurry_a_leader_looks_no_more_often_than_calls_come(shared: MemberState) -> None:
    slow = shared.known("slow")
    slow.report_at = 9.0
    slow.incident = cast("Incident", SimpleNamespace(looks_every=0.5))

    shared.hurry(slow, 7.0)

    assert slow.report_at == 7.5
    assert shared.pace_of(slow, 7.0) == 0.5


def test_a_key_is_known_by_one_object(shared: MemberState) -> None:
    assert shared.known("a") is shared.known("a")
    assert {*shared.keys} == {"a"}


def test_a_key_without_a_breaker_has_no_circuit(shared: MemberState) -> None:
    assert shared.circuit_of("never called") is None
    assert shared.registry.get("never called") is None


def test_garbage_is_counted_each_time_and_logged_once(
    shared: MemberState, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "recloser"):
        for _ in range(10):
            shared.note_garbage(ValueError("this is not JSON"))

    assert shared.garbage == 10
    assert len([each for each in caplog.records if "garbage" in each.getMessage()]) == 1


def test_a_worker_is_alone_if_its_breaker_is_not_closed_and_has_no_orders(
    clock: ManualClock,
) -> None:
    registry = Registry(clock=clock)
    shared = MemberState(registry, MemoryStore(MemoryData(clock)), "me", no_jitter)
    open_breaker(registry["k"])
    assert registry["k"].state is State.OPEN

    # A breaker of no fleet cannot follow one.
    assert shared.alone("k") == ""
