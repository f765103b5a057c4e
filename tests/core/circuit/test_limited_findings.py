"""Limited: what the circuit does with what a round of answers shows."""

from __future__ import annotations

import pytest
from tests.support.limits import fill, limit, limit_of

from recloser import Breaker, Outcome, Permit, State
from recloser._circuit.recovery import Recovery
from recloser._circuit.round import Finding
from recloser._circuit.votes import Ending
from recloser.testing import ManualClock


def recovery_of(breaker: Breaker) -> Recovery:
    assert breaker._circuit.recovery is not None
    return breaker._circuit.recovery


def conclude(breaker: Breaker, finding: Finding, now: float) -> None:
    breaker._circuit._conclude(finding, limit_of(breaker), recovery_of(breaker), now)


def refusing(breaker: Breaker, clock: ManualClock) -> list[Permit]:
    """Limited, and some calls were refused; those in flight."""
    limit(breaker, clock)
    running = fill(breaker)
    for _ in range(30):
        assert breaker.try_acquire() is None
    assert limit_of(breaker).refuses
    return running


@pytest.mark.parametrize("crowding", [True, False])
def test_that_calls_fail_only_together_is_refuted_where_a_limit_for_that_was_no_help(
    breaker: Breaker, clock: ManualClock, crowding: bool
) -> None:
    limit(breaker, clock)
    recovery = recovery_of(breaker)
    for _ in range(100):
        recovery.crowding.add(alone=True, good=True)
        recovery.crowding.add(alone=False, good=False)
    limit_of(breaker).failures.are_crowding = crowding

    conclude(breaker, Finding.FAILING, clock.now)

    assert breaker.state is State.OPEN
    assert recovery.crowding.is_sure != crowding


def test_few_slow_answers_are_enough_to_send_one_call_at_a_time_where_it_is_the_load(
    breaker: Breaker, clock: ManualClock
) -> None:
    running = refusing(breaker, clock)
    limit_of(breaker).load.is_likely = True
    recovery_of(breaker).answers.forget()

    conclude(breaker, Finding.SICK, clock.now)

    assert limit_of(breaker).is_pausing
    assert running


def test_where_nothing_was_ever_answered_a_caller_that_leaves_may_say_something(
    breaker: Breaker, clock: ManualClock
) -> None:
    left = Ending(1, Outcome.CANCELLED, 1.0, clock.now)
    circuit, recovery = breaker._circuit, Recovery(breaker.policy, clock.now, 1, 0)
    assert not circuit._is_in_use(recovery, left)

    circuit._note_came_back(clock.now)

    assert circuit._is_in_use(recovery, left)


def test_a_limit_of_calls_whose_usual_latency_is_unknown_ends_without_a_new_normal(
    breaker: Breaker, clock: ManualClock
) -> None:
    circuit = breaker._circuit
    circuit._begin_limit(8.0, clock.now, circuit._new_recovery(clock.now))
    limit_of(breaker).level = 0.5

    conclude(breaker, Finding.EASED, clock.now)

    assert breaker.state is State.CLOSED
    assert circuit.reason is not None
    assert circuit.reason.rule == "eased"


@pytest.mark.parametrize(("late", "accepted"), [(0.01, True), (-0.01, False)])
def test_where_the_patience_ends_before_the_next_answer_a_mild_latency_is_accepted_now(
    breaker: Breaker, clock: ManualClock, late: float, accepted: bool
) -> None:
    """Otherwise some would be refused for longer than the patience."""
    running = refusing(breaker, clock)
    clock.advance(200.0)
    recovery, limited = recovery_of(breaker), limit_of(breaker)
    limited.load.is_likely = False
    limited.level = 0.5
    limited.pause(4.0)
    assert limited.pauses == 0.5
    recovery.answers.forget()
    for _ in range(40):
        recovery.answers.add(0.35, clock.now)
    until = clock.now + limited.pauses + 0.35
    recovery.slow_since = until - breaker.policy.latency_patience - late

    conclude(breaker, Finding.SICK, clock.now)

    assert limited.is_accepted is accepted
    assert (recovery.slow_since == clock.now) is accepted
    assert running
