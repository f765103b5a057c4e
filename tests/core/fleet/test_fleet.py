"""The fleet of a registry, with its thread: only what needs one; all else is in virtual time."""

from __future__ import annotations

import copy
import pickle
import time
from pathlib import Path

import pytest
from tests.support.waiting import until

from recloser import Registry, State
from recloser._fleet.fleet import Fleet, new_name
from recloser.fleet import MemoryData, MemoryStore


def registry_at(place: Path) -> Registry:
    return Registry(store=place / "recloser.db")


def fleet_of(registry: Registry) -> Fleet:
    assert registry.fleet is not None
    return registry.fleet


def call(registry: Registry) -> None:
    """A call that needs a decision: with the first one the thread begins."""
    with registry["payments"]:
        pass
    registry["payments"].metrics()


def test_names_are_never_the_same() -> None:
    assert len({new_name() for _ in range(1000)}) == 1000


def test_a_registry_with_a_store_is_in_a_fleet_and_shows_it(tmp_path: Path) -> None:
    fleet = fleet_of(registry_at(tmp_path))

    assert "not connected" in repr(fleet)
    assert str(tmp_path) in repr(fleet)
    assert (fleet.failures, fleet.last_failure, fleet.garbage) == (0, "", 0)
    fleet.close()


def test_two_registries_with_one_file_are_of_one_opinion(tmp_path: Path) -> None:
    one, other = registry_at(tmp_path), registry_at(tmp_path)
    call(one)
    call(other)
    until(lambda: fleet_of(one).is_connected and fleet_of(other).is_connected, "both connect")

    one["payments"].open("deploy", by="ann")

    until(lambda: other["payments"].state is State.OPEN, "the other one opens")
    reason = other["payments"].refusal().reason
    assert reason is not None
    assert (reason.rule, reason.by) == ("fleet_open", "ann")
    status = fleet_of(other).status()
    assert {*status.keys} == {"payments"}
    fleet_of(one).close()
    fleet_of(other).close()


def test_who_closes_its_fleet_is_no_worker_any_more(tmp_path: Path) -> None:
    one, other = registry_at(tmp_path), registry_at(tmp_path)
    call(one)
    until(lambda: fleet_of(one).is_connected, "it connects")

    fleet_of(one).close()

    assert not fleet_of(one).is_connected
    call(other)
    until(lambda: fleet_of(other).is_connected, "it connects")
    assert fleet_of(other).workers == 1
    fleet_of(one).close()  # once more does nothing
    fleet_of(other).close()


def test_a_registry_that_makes_no_call_opens_no_store(tmp_path: Path) -> None:
    """Servers make their app before they fork: no thread may begin then."""
    registry = registry_at(tmp_path)
    assert registry["payments"].state is State.CLOSED

    assert not fleet_of(registry)._runner.is_running
    assert not fleet_of(registry).is_connected


def test_a_copy_is_in_the_same_fleet(tmp_path: Path) -> None:
    registry = registry_at(tmp_path)

    assert copy.deepcopy(registry).fleet is registry.fleet


def test_a_clock_that_is_no_time_does_not_stop_the_thread() -> None:
    store = MemoryStore(MemoryData(time.monotonic))
    times = iter([0.0])

    def clock() -> float:
        return next(times)

    registry = Registry(clock=time.perf_counter, store=store)
    fleet = fleet_of(registry)
    fleet._runner._clock = clock
    assert fleet._runner.turn() <= 1.0
    assert fleet._runner.turn() == 1.0  # the clock has raised StopIteration
    assert registry.faults == 1


def test_a_store_that_no_other_process_can_open_is_not_pickled() -> None:
    """A registry that is sent to another process decides alone there, or is in the fleet of a path."""
    registry = Registry()

    assert pickle.loads(pickle.dumps(registry)).fleet is None


@pytest.mark.parametrize("name", ["name", "store", "workers", "is_connected", "garbage"])
def test_what_it_shows_cannot_be_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(fleet_of(registry_at(tmp_path)), name, 7)
