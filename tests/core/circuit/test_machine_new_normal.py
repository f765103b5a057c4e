"""A probe whose answer shows that the callee is slower for good: that is the new normal."""

from __future__ import annotations

from tests.support.limits import hang, rule
from tests.support.training import learned

from recloser import Breaker, Permit, State
from recloser.testing import ManualClock


def probing(breaker: Breaker, clock: ManualClock) -> Permit:
    """A probe of a callee that was mute, and has answered late since."""
    learned(breaker, clock)
    for permit in hang(breaker, clock, until=State.OPEN):
        permit.ignore()
    clock.advance(breaker.retry_after)
    probe = breaker.acquire()
    assert probe.is_probe
    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert recovery.was_slow
    for _ in range(100):
        recovery.answers.add(1.0, clock.now)
    recovery.slow_since -= 100.0
    return probe


def test_a_probe_that_comes_back_late_may_be_the_last_answer_that_was_missing(
    breaker: Breaker, clock: ManualClock
) -> None:
    probe = probing(breaker, clock)
    clock.advance(1.0)

    probe.success()

    assert breaker.state is State.CLOSED
    assert rule(breaker) == "new_normal"


def test_a_latency_that_is_accepted_outweighs_the_probe_that_is_lost(
    breaker: Breaker, clock: ManualClock
) -> None:
    probe = probing(breaker, clock)

    probe.failure("HTTP 502")

    assert breaker.state is State.CLOSED
    assert rule(breaker) == "new_normal"
