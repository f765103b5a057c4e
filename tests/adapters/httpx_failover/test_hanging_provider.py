"""A provider that hangs: the time-outs of each attempt, and the end of the time budget."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.httpx_failover_client import World


def test_a_hanging_provider_costs_patience_with_what_is_hopeless(world: World) -> None:
    world.warm("a")
    world.rules["patience"] = 3.0
    limit = 3.0 * world.registry["a"].timeout
    world.answers["a"] = world.hang
    began = world.clock()

    assert world.request("GET", timeout=30.0).text == "b"

    waited = world.clock() - began
    assert waited == pytest.approx(limit, rel=0.02)
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


def test_limits_become_time_outs_never_above_the_clients_own(world: World) -> None:
    """An async attempt is cancelled at its limit, so its client needs none for the answer."""
    world.warm("a")
    hopeless = world.registry["a"].timeout
    connect = max(hopeless, 2.0)
    answer = 4 * hopeless
    seen: list[dict[str, float]] = []

    def respond(request: Any) -> Any:
        seen.append(dict(request.extensions["timeout"]))
        return world.lib.Response(200)

    world.answers["a"] = respond
    world.request("GET", timeout=30.0)
    world.request("POST", timeout=30.0)
    world.request("GET", timeout=0.05)
    world.request("GET", timeout=None)

    read = 30.0 if world.asynchronous else pytest.approx(answer)
    assert seen[0] == {"connect": connect, "pool": connect, "read": read, "write": read}
    assert seen[1] == {"connect": connect, "pool": connect, "read": 30.0, "write": 30.0}
    assert set(seen[2].values()) == {0.05}
    if not world.asynchronous:
        assert seen[3] == seen[0]


def test_before_anything_is_known_the_clients_own_time_outs_hold(world: World) -> None:
    seen: list[dict[str, float]] = []

    def respond(request: Any) -> Any:
        seen.append(dict(request.extensions["timeout"]))
        return world.lib.Response(200)

    world.answers["a"] = respond
    world.request("GET", timeout=600.0)

    assert set(seen[0].values()) == {600.0}


def test_the_body_is_read_under_the_clients_own_time_outs(world: World) -> None:
    world.warm("a")
    world.request("GET", timeout=30.0)

    assert world.received["a"][0].extensions["timeout"] == {
        "connect": 30.0,
        "read": 30.0,
        "write": 30.0,
        "pool": 30.0,
    }


def test_the_end_of_the_time_budget_is_a_time_out_of_the_library(world: World) -> None:
    world.rules["time_budget"] = 3.0
    world.answers = {"a": world.hang, "b": world.hang}

    with pytest.raises(world.lib.ReadTimeout):
        world.request("POST", timeout=30.0)

    assert world.counts == {"a": 1}
    assert world.in_flight() == 0
