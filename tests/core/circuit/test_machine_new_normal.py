"""An answer may show that the callee is slower for good, and that this is its new normal."""

from __future__ import annotations

from tests.support.breaker_state import is_limited
from tests.support.limits import hang, rule, served_until
from tests.support.training import learned

from recloser import Breaker, Permit, State
from recloser.testing import ManualClock


def probing(breaker: Breaker, clock: ManualClock) -> Permit:
    """A probe of a callee that was mute."""
    learned(breaker, clock)
    for permit in hang(breaker, clock, until=State.OPEN):
        permit.ignore()
    clock.advance(breaker.retry_after)
    probe = breaker.acquire()
    assert probe.is_probe
    return probe


def answers_come_late(breaker: Breaker, clock: ManualClock) -> None:
    """They have taken a second each for so long that it is the new normal at the next chance."""
    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert recovery.was_slow
    for _ in range(100):
        recovery.answers.add(1.0, clock.now)
    recovery.slow_since -= 100.0


def test_a_latency_that_is_accepted_outweighs_the_probe_that_is_lost(
    breaker: Breaker, clock: ManualClock
) -> None:
    probe = probing(breaker, clock)
    answers_come_late(breaker, clock)

    probe.failure("HTTP 502")

    assert breaker.state is State.CLOSED
    assert rule(breaker) == "new_normal"
    # No wait is left over, which would delay the probes of a later outage.
    assert breaker._circuit.probe_at == 0.0


def test_a_late_answer_ends_an_outage_also_where_its_latency_may_be_accepted(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The load returns by a limit. It stayed open until the next probe, and forgot its own wait."""
    probe = probing(breaker, clock)
    clock.advance(1.0)
    assert breaker.try_acquire() is None
    assert breaker.metrics().state is State.OPEN
    answers_come_late(breaker, clock)

    probe.success()

    assert is_limited(breaker)
    assert rule(breaker) == "comes_back"
    assert served_until(State.CLOSED, breaker, clock, 1.0) < 30.0
    assert rule(breaker) == "new_normal"


def test_a_late_answer_while_probes_are_sent_is_a_chance_to_accept_a_latency(
    breaker: Breaker, clock: ManualClock
) -> None:
    late = probing(breaker, clock)
    clock.advance(1.0)
    assert breaker.try_acquire() is None
    clock.advance(breaker.retry_after)
    assert breaker.acquire().is_probe
    answers_come_late(breaker, clock)

    late.success()

    assert breaker.state is State.CLOSED
    assert rule(breaker) == "new_normal"


def test_a_late_answer_in_an_outage_of_failures_says_nothing_of_what_is_normal(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    threshold = breaker.slow_threshold
    while breaker.state is State.CLOSED:
        breaker.acquire().failure("HTTP 502")
    clock.advance(breaker.retry_after)
    late = breaker.acquire()
    clock.advance(breaker.policy.slow_ceiling)
    assert breaker.try_acquire() is None
    recovery = breaker._circuit.recovery
    assert recovery is not None
    for _ in range(100):
        recovery.answers.add(1.0, clock.now)
    recovery.slow_since -= 100.0

    late.success()

    assert breaker.state is State.OPEN
    assert breaker.slow_threshold == threshold
