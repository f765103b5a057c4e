"""The store as a protocol: what a fleet asks of any engine, and which errors it bears."""

from __future__ import annotations

import pytest
from tests.support.fleets import FailingStore, World, bad

from recloser import State
from recloser._fleet.memory import MemoryData
from recloser._fleet.store import Fact, News, Store, StoreError


def test_a_store_is_told_by_its_methods() -> None:
    assert isinstance(FailingStore(MemoryData(lambda: 0.0)), Store)
    assert not isinstance(object(), Store)


def test_facts_and_news_cannot_be_changed() -> None:
    fact = Fact("key a", 1, "{}", 0.0)

    with pytest.raises(AttributeError):
        fact.epoch = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        News(1, (fact,), "x").version = 2  # type: ignore[misc]


def test_no_call_sees_an_error_of_the_store() -> None:
    world = World(2)
    for worker in world.workers:
        worker.store.fault = "the disk is full"

    world.run(10.0, bad)

    assert {*world.states} == {State.OPEN}
    assert [worker.registry.faults for worker in world.workers] == [0, 0]
    assert issubclass(StoreError, Exception)


def test_a_calm_fleet_asks_its_store_about_once_a_second() -> None:
    world = World(3)
    world.run(10.0)
    world.data.operations.clear()

    world.run(60.0)

    per_worker = {name: number / 3 for name, number in world.data.operations.items()}
    assert per_worker["news"] <= 66
    assert per_worker["beat"] <= 13
    assert sum(per_worker.values()) < 110
