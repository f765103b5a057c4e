"""Scopes, without a client: which wait, whom they refuse, and when they are forgotten."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from recloser import LoosePermit, Mode, Policy, Refused, Registry, State
from recloser.testing import ManualClock

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.scopes import Scopes, scopes_of

A, B = "h a", "h b"  # two scopes of the key "h"


@pytest.fixture
def scopes(registry: Registry) -> Scopes:
    return scopes_of(registry)


def ask(scopes: Scopes, registry: Registry, name: str = A, wait: float | None = 30.0) -> None:
    """A call that nobody refused is asked to wait."""
    scopes.asked(name, None, registry["h"], wait, quota=False)


def fill(scopes: Scopes, registry: Registry, name: str = A, wait: float | None = 30.0) -> None:
    """So many are asked that the scope refuses."""
    for _ in range(4):
        ask(scopes, registry, name, wait)
    assert registry[name].state is State.OPEN


def admitted(scopes: Scopes, name: str = A) -> LoosePermit:
    permit = scopes.admit(name)
    assert isinstance(permit, LoosePermit)
    return permit


def test_the_scopes_of_a_registry_are_one_object(registry: Registry, scopes: Scopes) -> None:
    assert scopes_of(registry) is scopes
    assert copy.copy(scopes) is scopes
    assert scopes_of(Registry()) is not scopes


# Keys


def test_a_host_has_a_bounded_number_of_parts(scopes: Scopes) -> None:
    assert scopes.key("h", "") == "h"
    assert [scopes.key("h", f"m{number}") for number in range(128)] == [
        f"h m{number}" for number in range(128)
    ]

    assert scopes.key("h", "one more") == "h"
    assert scopes.key("h", "m0") == "h m0"
    assert scopes.key("h", "m127") is scopes.key("h", "m127")
    assert scopes.key("other", "one more") == "other one more"


def test_the_parts_of_a_bounded_number_of_hosts_are_remembered(scopes: Scopes) -> None:
    for host in ("first", "second"):
        for number in range(128):
            scopes.key(host, f"m{number}")
    for number in range(254):
        scopes.key(f"host-{number}", "m")
    assert scopes.key("first", "new") == "first"

    scopes.key("one more", "m")

    assert scopes.key("second", "new") == "second"
    assert scopes.key("first", "new") == "first new"


# Waits


def test_what_was_never_asked_to_wait_has_nothing_to_wait_for(
    scopes: Scopes, registry: Registry
) -> None:
    assert scopes.admit(A) is None
    assert (scopes.waits, scopes.keys) == ({}, {})
    assert len(registry) == 0


@pytest.mark.parametrize("policy", [Policy(max_open_for=40.0)])
def test_only_the_scope_that_was_asked_to_wait_refuses_and_only_for_that_time(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    fill(scopes, registry)

    refusal = scopes.admit(A)
    assert isinstance(refusal, Refused)
    assert refusal.breaker is registry[A]
    assert registry[A].retry_after == pytest.approx(30.0)
    assert scopes.admit(B) is None
    assert [*scopes.waits] == [A]
    assert scopes.keys == {"h": scopes.waits}
    assert registry["h"].metrics().throttled == 0

    clock.advance(29.9)
    assert isinstance(scopes.admit(A), Refused)
    clock.advance(0.2)
    first = admitted(scopes)
    # The first one is the probe. All others may pass as well, and are not asked about.
    assert registry[A].state is State.HALF_OPEN
    assert scopes.admit(A) is None
    scopes.served(A, first)
    assert registry[A].state is State.CLOSED


def test_after_a_probe_that_was_lost_the_next_call_is_one(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    fill(scopes, registry)
    clock.advance(30.0)
    registry[A].acquire().cancel()
    assert registry[A].state is State.HALF_OPEN

    scopes.served(A, admitted(scopes))

    assert registry[A].state is State.CLOSED


def test_that_it_waits_already_is_not_counted_again(scopes: Scopes, registry: Registry) -> None:
    fill(scopes, registry)

    ask(scopes, registry, wait=200.0)

    assert registry[A].metrics().throttled == 4
    assert registry[A].metrics().refused == 0
    assert registry[A].retry_after == pytest.approx(30.0)


def test_how_long_a_call_takes_is_not_the_business_of_its_scope(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    ask(scopes, registry, wait=0.1)
    clock.advance(1.0)
    permit = admitted(scopes)
    clock.advance(500.0)

    scopes.served(A, permit)

    assert registry[A].metrics().successes == 1
    assert registry[A].metrics().mean == pytest.approx(0.0, abs=1e-6)


def test_a_call_of_a_scope_that_is_asked_to_wait_is_counted_with_its_own_permit(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    fill(scopes, registry)
    clock.advance(30.0)
    permit = admitted(scopes)

    scopes.asked(A, permit, registry["h"], 50.0, quota=True)

    assert permit.ended
    assert registry[A].metrics().throttled == 5
    assert registry[A].state is State.OPEN
    assert registry[A].retry_after == pytest.approx(50.0)
    assert registry[A].refusal().reason.rule == "quota"  # type: ignore[union-attr]


@pytest.mark.parametrize(("quota", "rule"), [(True, "quota"), (False, "throttled")])
def test_a_quota_is_told_from_a_rate(
    scopes: Scopes, registry: Registry, quota: bool, rule: str
) -> None:
    for _ in range(4):
        scopes.asked(A, None, registry["h"], None, quota=quota)

    reason = registry[A].refusal().reason
    assert reason is not None
    assert (reason.rule == "quota") is (rule == "quota")


@pytest.mark.parametrize(
    ("of_key", "floor", "ceiling"),
    [
        (Policy(), Policy().slow_floor, 1.0),
        (Policy(slow_floor=3.0, slow_ceiling=20.0, half_open_requests=7), 1.0, 1.0),
        (Policy(slow_floor=0.2, slow_ceiling=0.5, max_open_for=77.0), 0.2, 0.5),
    ],
)
def test_the_policy_of_a_scope_is_that_of_its_key_with_one_probe_that_is_soon_served(
    clock: ManualClock, of_key: Policy, floor: float, ceiling: float
) -> None:
    registry = Registry(policies={"h": of_key}, clock=clock)

    ask(scopes_of(registry), registry)

    assert registry[A].policy == replace(
        of_key, slow_floor=floor, slow_ceiling=ceiling, half_open_requests=1
    )


# The end of a wait


def test_each_429_is_outweighed_by_two_calls_that_were_served(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    fill(scopes, registry)
    ask(scopes, registry, B, 0.1)
    ask(scopes, registry, B, 0.1)
    clock.advance(30.0)

    for left in range(8, 0, -1):
        assert scopes.waits[A].owed == left
        scopes.served(A, admitted(scopes, A))
    assert [*scopes.waits] == [B]
    assert scopes.keys == {"h": {B: scopes.waits[B]}}
    assert scopes.admit(A) is None

    for _ in range(4):
        scopes.served(B, admitted(scopes, B))
    assert (scopes.waits, scopes.keys) == ({}, {})


def test_many_429s_are_outweighed_by_sixteen(scopes: Scopes, registry: Registry) -> None:
    for _ in range(100):
        ask(scopes, registry)

    assert scopes.waits[A].owed == 16


def test_a_scope_that_waits_is_not_over_whatever_was_served(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    ask(scopes, registry, B, wait=30.0)  # it refuses nobody yet
    fill(scopes, registry, wait=60.0)
    for wait in scopes.waits.values():
        wait.owed = 0
    assert [wait.is_over for wait in scopes.waits.values()] == [False, False]
    clock.advance(30.0)
    assert [wait.is_over for wait in scopes.waits.values()] == [True, False]
    clock.advance(60.0)
    assert not registry[A].asked_pause
    assert not scopes.waits[A].is_over  # it is open until a call comes
    scopes.waits[B].owed = 1
    assert not scopes.waits[B].is_over


def test_a_scope_that_refuses_nobody_yet_is_asked_about_every_call(
    scopes: Scopes, registry: Registry
) -> None:
    ask(scopes, registry)

    permits = [admitted(scopes) for _ in range(5)]

    assert registry[A].metrics().in_flight == 5
    for permit in permits:
        scopes.served(A, permit)


def test_a_call_of_a_scope_that_is_forgotten_ends_all_the_same(
    scopes: Scopes, registry: Registry
) -> None:
    ask(scopes, registry, wait=0.001)
    permit = admitted(scopes)
    scopes.waits.clear()
    scopes.keys.clear()

    scopes.served(A, permit)

    assert permit.ended
    assert (scopes.waits, scopes.keys) == ({}, {})


def test_a_scope_is_found_by_its_key_again_if_another_thread_just_dropped_the_key(
    scopes: Scopes, registry: Registry
) -> None:
    ask(scopes, registry)
    scopes.keys.clear()

    ask(scopes, registry)

    assert scopes.keys == {"h": {A: scopes.waits[A]}}
    scopes.keys.clear()
    scopes.waits[A].owed = 1
    scopes.served(A, admitted(scopes))
    assert scopes.waits == {}


def test_a_scope_that_is_switched_off_refuses_nobody(scopes: Scopes, registry: Registry) -> None:
    ask(scopes, registry)
    registry[A].mode = Mode.DISABLED

    for _ in range(10):
        ask(scopes, registry)
        assert scopes.admit(A) is None

    assert registry[A].metrics().throttled == 1
