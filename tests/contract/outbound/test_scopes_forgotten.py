"""Scopes, without a client: when they are forgotten, and where there are none."""

from __future__ import annotations

import pytest

from recloser import Registry
from recloser.testing import ManualClock

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.scopes import Scopes, scopes_of

from .test_scopes_alone import A, B, ask, fill


@pytest.fixture
def scopes(registry: Registry) -> Scopes:
    return scopes_of(registry)


def test_a_scope_that_nobody_asks_is_forgotten_a_minute_after_its_wait(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    fill(scopes, registry, wait=100.0)
    ask(scopes, registry, B, wait=100.0)  # it refuses nobody, and yet it waits
    for _ in range(9):
        clock.advance(10.0)
        scopes.tidy()
    assert [*scopes.waits] == [A, B]
    clock.advance(5.0)
    scopes.admit(A)  # 95 s, so it is kept until 155 s
    clock.advance(10.0)

    scopes.tidy()
    assert [*scopes.waits] == [A]
    assert {each.key for each in registry} == {"h", A}
    clock.advance(49.9)
    scopes.tidy()
    assert [*scopes.waits] == [A]
    clock.advance(10.0)
    scopes.tidy()

    assert (scopes.waits, scopes.keys) == ({}, {})
    assert {each.key for each in registry} == {"h"}


def test_an_asked_scope_counts_as_used(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    ask(scopes, registry, wait=1.0)
    assert scopes.waits[A].used_at == clock()
    clock.advance(59.9)
    scopes.tidy()
    assert [*scopes.waits] == [A]
    clock.advance(10.0)
    scopes.tidy()

    assert [*scopes.waits] == []


def test_it_is_looked_after_every_ten_seconds(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    scopes.tidy()
    ask(scopes, registry, wait=0.1)
    scopes.waits[A].owed = 0
    clock.advance(9.9)
    scopes.tidy()
    assert [*scopes.waits] == [A]
    clock.advance(0.1)
    scopes.tidy()

    assert (scopes.waits, scopes.keys) == ({}, {})
    assert A in registry  # its breaker is closed, so it does no harm


def test_the_first_look_is_at_once() -> None:
    clock = ManualClock(0.0)
    registry = Registry(clock=clock)
    scopes = scopes_of(registry)
    ask(scopes, registry, wait=0.1)
    scopes.waits[A].owed = 0
    clock.advance(0.5)

    scopes.tidy()

    assert scopes.waits == {}


def test_a_bounded_number_waits_until_the_time_of_others_is_over(
    scopes: Scopes, registry: Registry, clock: ManualClock
) -> None:
    for number in range(128):
        ask(scopes, registry, f"h m{number}", wait=1.0)
    ask(scopes, registry, A)
    ask(scopes, registry, "h m5", wait=1.0)
    assert registry["h m5"].metrics().throttled == 2
    assert len(scopes.waits) == 128
    assert A not in scopes.waits
    assert A not in registry

    clock.advance(60.0)
    ask(scopes, registry, A)

    assert [*scopes.waits] == [A]


# What is not there


def test_where_a_registry_is_full_no_scope_waits(clock: ManualClock) -> None:
    registry = Registry(max_keys=1, clock=clock)
    scopes = scopes_of(registry)
    held = registry["h"].acquire()

    ask(scopes, registry)

    assert (scopes.waits, scopes.keys) == ({}, {})
    held.success()


def test_the_scopes_of_a_registry_that_is_gone_do_nothing(
    registry: Registry, clock: ManualClock
) -> None:
    gone = Registry(clock=clock)
    scopes = scopes_of(gone)
    scopes.asked(A, None, gone["h"], 1.0, quota=False)
    del gone

    ask(scopes, registry, B)
    clock.advance(100.0)
    scopes.tidy()

    assert (scopes.waits, scopes.keys) == ({}, {})
