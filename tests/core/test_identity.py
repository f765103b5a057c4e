"""Identity: what a registry, a breaker and a guarded function are after they were pickled."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import weakref
from typing import Any

import pytest

from recloser import Breaker, BreakerOpenError, Mode, Policy, Registry, State, _identity
from recloser.testing import no_jitter, open_breaker

POLICY = Policy(min_failures=3)
shared = Registry(policies={"charge*": POLICY}, max_keys=50, mode="observe")


@shared["charge"]
def charge(amount: int) -> int:
    return amount


def again(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_in_its_own_process_it_is_itself(protocol: int) -> None:
    alone = Breaker("alone", POLICY)

    for thing in (shared, shared["charge"], alone, charge):
        assert pickle.loads(pickle.dumps(thing, protocol)) is thing


def elsewhere(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Unpickle something as a process does that never had it."""
    monkeypatch.setattr(_identity, "_things", weakref.WeakValueDictionary())
    monkeypatch.setattr(_identity, "_latest", {})
    return pickle.loads(data)


def test_elsewhere_it_has_the_settings_and_a_state_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(Policy(open_for=2.0), policies={"a*": POLICY}, max_keys=7, mode="observe")
    open_breaker(registry["ab"])

    other: Registry = elsewhere(pickle.dumps(registry), monkeypatch)

    assert other is not registry
    assert (other.policy, other.policy_for("ab")) == (registry.policy, POLICY)
    assert (other.max_keys, other.mode, other.clock) == (7, Mode.OBSERVE, registry.clock)
    assert (len(other), other["ab"].state) == (0, State.CLOSED)


def test_elsewhere_all_that_was_sent_of_a_registry_is_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, alone = Registry(), Breaker("alone", POLICY)
    sent = [pickle.dumps(each) for each in (registry, registry["a"], registry["a"], alone, alone)]

    other: Registry = elsewhere(sent[0], monkeypatch)
    # In between nobody uses it, as between two tasks.
    address = id(other)
    other["a"].open("maintenance")
    del other
    gc.collect()

    a, b = pickle.loads(sent[1]), pickle.loads(sent[2])
    assert a is b
    assert a.state is State.OPEN
    assert id(pickle.loads(sent[0])) == address
    assert pickle.loads(sent[3]) is pickle.loads(sent[4])
    assert pickle.loads(sent[3]).policy == POLICY


def test_elsewhere_a_breaker_has_its_usual_mode_and_its_own_source_of_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = Breaker("alone", random=no_jitter, mode="disabled", enforce_share=0.5)
    alone.override("observe", enforce_share=0.25)

    other: Breaker = elsewhere(pickle.dumps(alone), monkeypatch)

    assert (other.mode, other.enforce_share, other.overrides) == (Mode.DISABLED, 0.5, ())
    assert other._circuit.random is no_jitter


def test_a_breaker_whose_registry_is_gone_stands_for_itself() -> None:
    breaker = Registry(POLICY)["k"]
    gc.collect()

    assert again(breaker) is breaker
    assert breaker.policy == POLICY


def test_what_was_sent_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [pickle.dumps(Registry()) for _ in range(100)]
    elsewhere(sent[0], monkeypatch)
    for each in sent:
        pickle.loads(each)
    gc.collect()

    assert len(_identity._latest) == len(_identity._things) == _identity._KEPT


def test_two_processes_draw_different_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all would send their probes at the same moment."""
    registry, alone = Registry(), Breaker("alone")

    assert len(pickle.dumps(registry)) < 2_000
    assert len(pickle.dumps(alone)) < 2_000
    assert elsewhere(pickle.dumps(registry), monkeypatch)._random is registry._random


def test_what_cannot_be_sent_is_an_error_that_names_it() -> None:
    registry = Registry(clock=lambda: 1.0)

    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(registry)


def breaker_of(registry: Registry) -> Breaker:
    return registry["k"]


def test_a_spawned_process_gets_it() -> None:
    registry = Registry(max_keys=9)

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(charge, (5,)) == 5
        # The breaker that comes back names the registry that it is from.
        breaker = pool.apply(breaker_of, (registry,))

    assert breaker is registry["k"]


def test_a_refusal_by_what_was_sent_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    other: Breaker = elsewhere(pickle.dumps(registry["k"]), monkeypatch)
    open_breaker(other)

    with pytest.raises(BreakerOpenError, match="'k' is open"):
        other.acquire()
    registry["k"].acquire().success()
