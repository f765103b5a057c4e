"""Races: a call that is cancelled because another one has ended is no hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recloser import Breaker, Registry, State
from recloser._operations import OperableCircuit
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


def win_and_lose(registry: Registry, clock: ManualClock) -> None:
    """`a`, whose calls end without a decision by now, wins: that says nothing of `b`."""
    for _ in range(100):
        permit = registry["a"].acquire()
        clock.advance(2.0)
        permit.success()
    for _ in range(20):
        lose(registry, clock, "success")

    assert registry["b"].state is State.CLOSED


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
    win_and_lose(registry, clock)


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


def test_a_latency_of_long_ago_is_no_winner(registry: Registry, clock: ManualClock) -> None:
    """Idle breakers keep the last latency that ended without a decision."""
    for number in range(50):
        for _ in range(40):
            permit = registry[f"idle {number}"].acquire()
            clock.advance(5.0 + 0.001 * number)
            permit.success()
    clock.advance(3600.0)
    cancelled = 0
    while registry["b"].state is State.CLOSED and cancelled < 100:
        cancelled += 1
        permit = registry["b"].acquire()
        clock.advance(5.02)
        permit.cancel()

    assert registry["b"].state is not State.CLOSED
    assert cancelled <= 25


def test_thousands_of_breakers_are_not_looked_at_for_each_cancel(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(clock=clock, max_keys=5000)
    looked, others = 0, Breaker.others
    for number in range(3000):
        registry[f"k{number}"].acquire().success()
    cold = registry["cold"]
    clock.advance(60.0)

    def counted(breaker: Breaker) -> list[OperableCircuit]:
        nonlocal looked
        looked += 1
        return others(breaker)

    monkeypatch.setattr(Breaker, "others", counted)
    for _ in range(100):
        permit = cold.try_acquire()
        clock.advance(0.01)
        if permit is not None:
            permit.cancel()

    assert 1 <= looked <= 8


def test_a_winner_is_known_again_among_thousands(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=5000)
    for number in range(3000):
        registry[f"k{number}"].acquire().success()
    win_and_lose(registry, clock)
