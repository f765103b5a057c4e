"""What is said about one call: checked, and obeyed."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, Run, fates, trip

from recloser import Fate, Registry
from recloser.testing import ManualClock


@pytest.mark.parametrize("name", ["prefer", "only"])
def test_a_key_that_no_provider_has_is_an_error(registry: Registry, name: str) -> None:
    options: Any = {name: "x"}
    with pytest.raises(ValueError, match=rf"{name} must be one of \['a', 'b', 'c'\], not 'x'"):
        Fleet(registry, "a", "b", "c").failover.attempts(**options)


def test_an_argument_that_does_not_exist_is_an_error_that_names_the_one_that_is_meant(
    registry: Registry,
) -> None:
    options: Any = {"repeatabel": True}
    with pytest.raises(TypeError, match=r"'repeatabel': did you mean 'repeatable'\?$"):
        Fleet(registry, "a").failover.attempts(**options)


def test_a_model_is_a_name(registry: Registry) -> None:
    options: Any = {"model": 7}
    with pytest.raises(TypeError, match="model must be a str"):
        Fleet(registry, "a").failover.attempts(**options)


def test_the_only_provider_is_asked_or_none(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    fleet.faults["b"] = OSError("b")

    with pytest.raises(OSError, match="b"):
        invoke(fleet.failover, fleet.send, only="b", repeatable=True)

    assert fleet.sent == {"b": 1}


def test_a_sick_model_does_not_shut_the_others(registry: Registry, invoke: Invoke) -> None:
    trip(registry, "a big")
    fleet = Fleet(registry, "a", "b")

    assert invoke(fleet.failover, fleet.send, model="big") == "answer of b"
    assert invoke(fleet.failover, fleet.send, model="small") == "answer of a"
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_a_provider_that_is_shut_is_shut_for_all_models(registry: Registry, invoke: Invoke) -> None:
    registry["a"].open("by hand")
    fleet = Fleet(registry, "a", "b")

    assert invoke(fleet.failover, fleet.send, model="big") == "answer of b"


def test_a_provider_that_cannot_be_reached_is_known_for_all_models(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = ConnectionRefusedError()

    for number in range(20):
        assert invoke(fleet.failover, fleet.send, model=f"m{number}") == "answer of b"

    assert fleet.sent["a"] < 10


def test_a_provider_that_is_seldom_out_of_reach_stays(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")

    for number in range(200):
        fleet.faults = {"a": ConnectionRefusedError()} if number % 10 == 0 else {}
        fleet.failover.call(fleet.send, model="m")

    assert fleet.sent["a"] == 200


def test_what_is_known_of_a_call_explains_its_latency(registry: Registry, invoke: Invoke) -> None:
    seen: list[tuple[str, float | None]] = []

    def send(attempt: Any) -> str:
        seen.append((attempt.permit.label, attempt.permit.size))
        return "answer"

    fleet = Fleet(registry, "a", "b")
    invoke(fleet.failover, send, size=100)
    invoke(fleet.failover, send, label="stream", size=1000)
    invoke(fleet.failover, send, size=100)

    # Of the first kind nothing is said: it is the yardstick.
    assert seen == [("", None), ("stream", 512.0), ("", None)]


def test_a_mixture_of_sizes_shuts_nobody_and_is_not_cut_off(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    chance = Random(7)
    fleet = Fleet(registry, "a", "b")

    async def one(size: float) -> None:
        async def send(attempt: Any) -> None:
            await asyncio.sleep(0.01 * size * chance.lognormvariate(0.0, 0.2))

        await fleet.failover.acall(send, repeatable=True, size=size)

    for _ in range(600):
        run(one(chance.choice([4.0, 16.0, 64.0, 256.0, 1024.0])))

    assert {fates(each)[0] for each in fleet.deliveries} == {("a", Fate.SERVED)}
