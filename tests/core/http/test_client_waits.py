"""The time for which a handler waits for its client is taken off its latency."""

from __future__ import annotations

import pytest

from recloser import Breaker
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
