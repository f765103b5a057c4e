"""The status of a fleet, as one worker or the store knows it."""

from __future__ import annotations

import json
from math import inf

import pytest
from tests.support.fleets import KEY, World, bad

from recloser import Reason, State
from recloser._fleet.facts import KeyFact, key_name, mode_name
from recloser._fleet.status import key_status, read_status, worker_status


def fact(state: State, **values: object) -> KeyFact:
    return KeyFact(
        state=state,
        leader="a",
        lease=2.0,
        reason=Reason("failures", "5 of 5 failed", by="ann"),
        since=1.0,
        wait=5.0,
        size=4.0,
        tickets=("b",),
        **values,  # type: ignore[arg-type]
    )


def test_the_status_of_a_key_is_as_old_as_its_fact() -> None:
    status = key_status("k", fact(State.OPEN), 2.0)

    assert (status.key, status.state, status.leader) == ("k", State.OPEN, "a")
    assert (status.reason, status.by) == ("5 of 5 failed", "ann")
    assert status.since == 3.0
    assert status.retry_after == 3.0
    assert status.probers == ("b",)
    assert key_status("k", fact(State.OPEN), 60.0).retry_after == 0.0


@pytest.mark.parametrize(
    ("state", "retry_after", "limit", "probers"),
    [
        (State.OPEN, 5.0, 0.0, ("b",)),
        (State.HALF_OPEN, 0.0, 0.0, ("b",)),
        (State.LIMITED, 0.0, 4.0, ()),
        (State.CLOSED, 0.0, 0.0, ()),
    ],
)
def test_a_state_shows_its_own_numbers_only(
    state: State, retry_after: float, limit: float, probers: tuple[str, ...]
) -> None:
    status = key_status("k", fact(state), 0.0)

    assert (status.retry_after, status.limit, status.probers) == (retry_after, limit, probers)


def test_a_worker_tells_what_it_leads_and_where_it_disagrees() -> None:
    text = json.dumps({"host": "h", "pid": 7, "leads": ["a"], "alone": {"b": "open"}})

    status = worker_status("h/7/x", text)

    assert (status.host, status.pid, status.leads) == ("h", 7, ("a",))
    assert status.alone == {"b": "open"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"pid": "x", "leads": 7, "alone": [1], "host": null}',
        "[" * 100_000,
        '{"pid": ' * 100_000,
        '{"pid": ' + "9" * 5_000 + "}",
    ],
    ids=range(8),
)
def test_the_beat_of_a_foreign_worker_shows_its_name_at_least(text: str) -> None:
    status = worker_status("someone", text)

    assert (status.name, status.pid, status.leads, status.alone) == ("someone", 0, (), {})


def test_every_worker_and_the_store_know_the_same_of_a_key_that_is_open() -> None:
    world = World(3)
    world.run(10.0, bad, until=State.OPEN)
    world.settle()

    told = [worker.fleet.status() for worker in world.workers]
    read = read_status(world.workers[0].store)

    assert {each.keys[KEY].state for each in (*told, read)} == {State.OPEN}
    assert len({each.keys[KEY].leader for each in (*told, read)}) == 1
    assert [each.me for each in told] == [worker.name for worker in world.workers]
    assert read.me == ""
    assert {*read.workers} == {worker.name for worker in world.workers}
    assert 0.0 <= read.keys[KEY].retry_after < inf


def test_a_calm_fleet_has_no_keys_to_show() -> None:
    world = World(2)

    assert dict(world.workers[0].fleet.status().keys) == {}
    assert dict(read_status(world.workers[0].store).keys) == {}


def test_the_store_counts_garbage_and_shows_the_rest() -> None:
    world = World(2)
    store = world.workers[0].store
    store.swap(key_name("a"), 0, 1, "garbage", 60.0)
    store.swap(key_name("b"), 0, 1, fact(State.OPEN).as_text(), 60.0)
    store.swap(mode_name("c"), 0, 1, "none of its business", 60.0)
    store.swap("of a newer version", 0, 1, "?", 60.0)

    status = read_status(store)

    assert {*status.keys} == {"b"}
    assert status.garbage == 1


def test_a_fact_of_a_huge_epoch_is_garbage() -> None:
    world = World(2)
    now = world.clock.now
    text = fact(State.OPEN).as_text()
    world.data.version += 1
    world.data.facts[key_name("a")] = 2**60, text, now, now + 60.0, world.data.version

    status = read_status(world.workers[0].store)

    assert dict(status.keys) == {}
    assert status.garbage == 1
