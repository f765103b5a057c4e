"""Provider: what makes a provider, and what makes a set of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from recloser import Failover, Provider, Registry
from recloser._failover.provider import checked_providers

# One provider


def test_a_provider_is_its_key_and_what_a_call_needs() -> None:
    target = object()

    provider = Provider("eu", target)

    assert (provider.key, provider.weight) == ("eu", 1.0)
    assert provider.target is target


def test_a_provider_never_changes() -> None:
    provider = Provider("a", "")

    with pytest.raises(dataclasses.FrozenInstanceError):
        provider.weight = 2.0  # type: ignore[misc]  # that is the point


def test_the_weight_is_given_by_name() -> None:
    make: Any = Provider

    with pytest.raises(TypeError, match="positional"):
        make("a", "", 2.0)


@pytest.mark.parametrize("weight", [0, 0.0, 0.001, 1, 1e300])
def test_any_finite_share_is_a_weight(weight: float) -> None:
    assert Provider("a", "", weight=weight).weight == weight


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), -0.001])
def test_a_weight_that_is_no_share_is_an_error(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Provider("a", "", weight=weight)


@pytest.mark.parametrize("weight", [True, "1", None])
def test_a_weight_that_is_no_number_is_an_error(weight: Any) -> None:
    with pytest.raises(TypeError, match="weight"):
        Provider("a", "", weight=weight)


@pytest.mark.parametrize(("key", "kind"), [("", ValueError), (None, TypeError), (7, TypeError)])
def test_a_key_that_is_none_is_an_error(key: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="key"):
        Provider(key, "")


# All providers of a failover


def test_providers_keep_their_order_whatever_they_come_in() -> None:
    providers = [Provider(key, key.upper()) for key in "cab"]

    assert checked_providers(iter(providers)) == tuple(providers)


def test_two_providers_may_share_a_target() -> None:
    assert len(checked_providers([Provider("a", "x"), Provider("b", "x")])) == 2


def test_no_provider_at_all_is_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Failover(registry, [])


def test_a_key_twice_is_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        Failover(registry, [Provider("a", 1), Provider("b", 2), Provider("a", 3)])


def test_a_provider_that_is_none_is_an_error(registry: Registry) -> None:
    urls: Any = ["https://a"]
    with pytest.raises(TypeError, match="Provider"):
        Failover(registry, urls)


def test_a_weight_that_no_float_can_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match="weight"):
        Provider("a", "", weight=10**400)
