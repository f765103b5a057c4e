"""A provider that recovers: which call is its probe, and how much traffic it gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, Run, fates, trip, warm

from recloser import Fate, Mode, Registry, State
from recloser.testing import ManualClock, open_breaker


def test_a_call_that_may_not_be_repeated_leaves_the_first_probe_to_others(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    invoke(fleet.failover, fleet.send)
    trip(registry, "a")
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    assert fates(fleet.deliveries[-1]) == [("a", Fate.HELD_BACK), ("b", Fate.SERVED)]
    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of a"
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_after_probe_wait_any_call_may_be_the_probe(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", probe_wait=20.0)
    invoke(fleet.failover, fleet.send)
    trip(registry, "a")
    fleet.faults["a"] = OSError("still sick")

    clock.advance(19.9)
    assert invoke(fleet.failover, fleet.send) == "answer of b"
    clock.advance(0.2)
    with pytest.raises(OSError, match="still sick"):
        invoke(fleet.failover, fleet.send)
    clock.advance(5.0)
    assert invoke(fleet.failover, fleet.send) == "answer of b"


def test_a_provider_that_was_never_called_is_probed_after_probe_wait_too(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", probe_wait=20.0)
    trip(registry, "a")
    clock.advance(100.0)

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    clock.advance(20.0)
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_if_all_want_a_probe_the_first_gets_it(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    trip(registry, "b")
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_nothing_is_held_back_from_a_breaker_that_only_observes(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    clock.advance(5.0)
    registry["a"].mode = Mode.OBSERVE

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_any_call_may_be_the_probe_if_nobody_else_takes_it(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    open_breaker(registry["b"])
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_a_recovered_primary_is_not_flooded(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    """Twenty callers at a time: only as many as its half-open window go to it, the rest elsewhere."""
    warm(registry, clock, "a")
    trip(registry, "a")
    clock.advance(5.0)
    fleet = Fleet(registry, "a", "b")
    running = most = 0
    per_wave: list[int] = []

    async def send(attempt: Any) -> None:
        nonlocal running, most
        if attempt.key == "a":
            running += 1
            fleet.sent["a"] += 1
            most = max(most, running)
        await asyncio.sleep(0.1)
        running -= attempt.key == "a"

    async def waves() -> None:
        for _ in range(6):
            before = fleet.sent["a"]
            calls = [fleet.failover.acall(send, repeatable=True) for _ in range(20)]
            await asyncio.gather(*calls)
            per_wave.append(fleet.sent["a"] - before)

    run(waves())

    assert per_wave[:2] == [1, 5]
    assert per_wave[-1] == 20
    assert registry["a"].state is State.CLOSED
