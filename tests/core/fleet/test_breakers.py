"""What a member uses of a registry and its breakers: a registry has it all."""

from __future__ import annotations

import inspect

import pytest

from recloser import Breaker, Registry
from recloser._fleet.breakers import AnyBreaker, Breakers


def public(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


@pytest.mark.parametrize("name", public(AnyBreaker))
def test_a_breaker_has_what_a_member_uses(name: str) -> None:
    wanted, there = getattr(AnyBreaker, name), getattr(Breaker, name)

    if inspect.isfunction(wanted):
        assert {*inspect.signature(wanted).parameters} <= {*inspect.signature(there).parameters}


@pytest.mark.parametrize("name", public(Breakers))
def test_a_registry_has_what_a_member_uses(name: str) -> None:
    assert hasattr(Registry(), name)


def test_the_breaker_of_no_fleet_has_no_circuit_to_follow_one() -> None:
    assert Registry()["k"].following is None
