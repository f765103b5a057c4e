"""The time for which a handler waits for its client is taken off its latency."""

from __future__ import annotations

from math import inf

import pytest

from recloser import Breaker, Registry
from recloser._http.client_waits import ClientPermit
from recloser.testing import ManualClock


@pytest.fixture
def permit(breaker: Breaker) -> ClientPermit:
    admitted = breaker.admit_strict(ClientPermit)
    assert isinstance(admitted, ClientPermit)
    return admitted


def test_waits_are_no_latency(breaker: Breaker, clock: ManualClock, permit: ClientPermit) -> None:
    for _ in range(3):
        clock.advance(1.0)
        permit.wait()
        clock.advance(500.0)
        permit.go_on()
    permit.success()

    assert breaker.metrics().mean == pytest.approx(3.0)


def test_short_waits_add_up(breaker: Breaker, clock: ManualClock, permit: ClientPermit) -> None:
    for _ in range(10_000):
        permit.wait()
        clock.advance(0.0005)
        permit.go_on()
    permit.success()

    assert breaker.metrics().mean < 0.01


def test_a_wait_after_the_answer_has_begun_changes_nothing(
    breaker: Breaker, clock: ManualClock, permit: ClientPermit
) -> None:
    clock.advance(1.0)
    permit.mark()
    permit.wait()
    clock.advance(5.0)
    permit.go_on()
    permit.success()

    assert breaker.metrics().mean == pytest.approx(1.0)


def test_to_go_on_without_a_wait_changes_nothing(breaker: Breaker, permit: ClientPermit) -> None:
    permit.go_on()
    permit.success()

    assert breaker.metrics().successes == 1


def test_a_wait_of_less_than_a_moment_needs_no_decision(
    clock: ManualClock, permit: ClientPermit, decisions: list[float]
) -> None:
    permit.wait()
    clock.advance(0.0009)
    permit.go_on()
    assert decisions == []

    permit.wait()
    clock.advance(0.0009)
    permit.go_on()

    assert len(decisions) == 1


@pytest.mark.parametrize("fails_at", ["wait", "go_on"])
def test_a_clock_that_fails_is_a_fault_and_the_call_goes_on(fails_at: str) -> None:
    broken: list[bool] = []

    def clock() -> float:
        if broken:
            raise OSError
        return 1000.0

    registry = Registry(clock=clock)
    permit = registry["k"].admit_strict(ClientPermit)
    assert isinstance(permit, ClientPermit)
    for step in ("wait", "go_on"):
        broken[:] = [True] * (step == fails_at)
        getattr(permit, step)()
    broken.clear()

    assert registry.faults == 1
    assert permit.answered == inf
    permit.success()
    assert registry["k"].metrics().successes == 1
