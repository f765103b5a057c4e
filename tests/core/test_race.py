"""Races: a call that is cancelled because another one has ended is no hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock

Ends = Callable[[Registry, ManualClock], None]


def lose(registry: Registry, clock: ManualClock, end: str, *, hedged: float = 0.0) -> None:
    """Ask `a` and `b`, and cancel `b` when `a` has ended after 2 s."""
    first = registry["a"].acquire()
    clock.advance(hedged)
    second = registry["b"].acquire()
    clock.advance(2.0 - hedged)
    if end == "success":
        first.success()
    else:
        first.failure("HTTP 500") if end == "failure" else first.ignore()
    clock.advance(0.001)
    second.cancel()


@pytest.fixture
def registry(clock: ManualClock) -> Registry:
    return Registry(clock=clock)


@pytest.mark.parametrize("end", ["success", "ignore"])
@pytest.mark.parametrize("hedged", [0.0, 0.5])
def test_the_loser_of_a_race_says_nothing(
    registry: Registry, clock: ManualClock, end: str, hedged: float
) -> None:
    for _ in range(20):
        lose(registry, clock, end, hedged=hedged)

    assert registry["b"].state is State.CLOSED


def test_nor_against_a_winner_whose_calls_end_without_a_decision(
    registry: Registry, clock: ManualClock
) -> None:
    for _ in range(100):
        permit = registry["a"].acquire()
        clock.advance(2.0)
        permit.success()
    for _ in range(20):
        lose(registry, clock, "success")

    assert registry["b"].state is State.CLOSED


def test_a_call_that_is_stopped_because_another_one_failed_says_nothing(
    registry: Registry, clock: ManualClock
) -> None:
    for _ in range(4):
        lose(registry, clock, "failure")
        registry["a"].reset()

    given_up = registry["b"]._circuit.given_up
    assert given_up is None or not given_up.calls


def test_breakers_of_no_registry_race_as_well(clock: ManualClock) -> None:
    fast, slow = Breaker("fast", clock=clock), Breaker("slow", clock=clock)
    for _ in range(100):
        first, second = fast.acquire(), slow.acquire()
        clock.advance(2.0)
        first.success()
        second.cancel()

    assert slow.state is State.CLOSED


def test_time_outs_are_a_hang_though_other_calls_end_meanwhile(
    registry: Registry, clock: ManualClock
) -> None:
    for _ in range(20):
        if (permit := registry["b"].try_acquire()) is None:
            break
        for _ in range(10):
            other = registry["a"].acquire()
            clock.advance(0.2)
            other.success()
        permit.cancel()

    assert registry["b"].state is not State.CLOSED


def test_a_time_out_that_looks_like_a_race_by_chance_costs_a_few_calls_more(
    registry: Registry, clock: ManualClock
) -> None:
    for number in range(40):
        if registry["b"].state is not State.CLOSED:
            break
        if number % 5 == 0:
            lose(registry, clock, "success")
        elif (permit := registry["b"].try_acquire()) is not None:
            clock.advance(2.0)
            permit.cancel()

    assert registry["b"].state is not State.CLOSED
