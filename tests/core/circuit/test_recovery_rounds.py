"""Recovery: what a round of probes keeps, and what one outage leaves to the next."""

from __future__ import annotations

from random import Random

import pytest

from recloser import Breaker, Policy
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.new_normal import Usual
from recloser._circuit.recovery import Recovery
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome
from recloser.testing import ManualClock


@pytest.mark.parametrize(("pause", "goes_on"), [(4.0, True), (6.0, False)])
def test_whether_calls_fail_only_together_is_asked_on_in_a_relapse(
    pause: float, goes_on: bool
) -> None:
    before = Recovery(Policy(), 100.0, 1, 5)
    before.ended = 200.0

    again = Recovery(Policy(), 200.0 + pause, 1, 5, before)

    assert (again.crowding is before.crowding) == goes_on
    assert (again.answers is before.answers) == goes_on


def test_a_new_policy_judges_the_answers_too() -> None:
    recovery, policy = Recovery(Policy(), 0.0, 1, 5), Policy(latency_patience=7.0)

    recovery.adopt(policy, 0.4)

    assert recovery.answers.policy is policy
    assert (recovery.is_patient(6.9), recovery.is_patient(7.0)) == (False, True)


def test_an_outage_of_one_failed_call_tolerates_slow_probes() -> None:
    assert Recovery(Policy(min_failures=1), 0.0, 1, run=1).tolerates_slowness


def crowded() -> Recovery:
    """Single probes are good, and probes together fail, so often that it is sure."""
    recovery = Recovery(Policy(), 0.0, 1, 5)
    for _ in range(100):
        recovery.crowding.add(alone=True, good=True)
        recovery.crowding.add(alone=False, good=False)
    recovery.share.good = 3
    assert recovery.is_crowded
    return recovery


def test_calls_that_were_slow_do_not_fail_because_there_are_too_many() -> None:
    recovery = crowded()

    recovery.was_slow = True

    assert not recovery.is_crowded


def test_a_round_without_a_good_probe_is_not_crowded() -> None:
    recovery = crowded()

    recovery.begin_round(1)

    assert not recovery.is_crowded


def test_a_probe_that_outlives_others_says_something() -> None:
    """So the silent ones before it are not counted any more."""
    recovery, calls = Recovery(Policy(), 0.0, 1, 5), InFlight()
    call = Timing()
    call.started, call.answered = 0.0, float("inf")
    calls.voting[9] = call
    failed = Ending(8, Outcome.FAILURE, 0.1, 1.0)
    recovery.count_silent(5.0)
    assert recovery.silent == 1

    recovery.outliving.note_failed(failed)
    recovery.outlive(calls, 10.0)

    assert recovery.good == 1
    assert recovery.silent == 0
    assert recovery.vote(Vote.GOOD, Ending(9, Outcome.SUCCESS, 0.1, 10.0), 1, 0.0)
    assert recovery.good == 1


@pytest.mark.parametrize(("run", "expected"), [(0, False), (1, True), (5, True)])
def test_only_a_run_of_bad_calls_may_have_been_chance(run: int, expected: bool) -> None:
    """What opened it for another reason, such as by hand, was none."""
    recovery = Recovery(Policy(), 100.0, 1, run)

    assert recovery.was_momentary(100.1) == expected


def test_a_latency_in_place_of_one_that_was_not_known_for_any_time_is_accepted_at_once() -> None:
    recovery = Recovery(Policy(open_for=0.1), 100.0, 1, 0)
    for _ in range(20):
        recovery.answers.add(1.0, 100.0)
    usual = Usual(median=0.1, high=0.2, known_for=0.0)

    assert recovery.new_normal(100.0, usual, missing=0, rate=1e6, patience=None) == 1.0


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_a_key_that_fails_three_of_five_calls_from_its_first_one_on_is_not_left_open(
    rate: float,
) -> None:
    """If a run of failures comes before anything is known, the probes may fail as often, too."""
    refused = calls = 0
    for number in range(6):
        clock, chance = ManualClock(1000.0), Random(number)
        breaker = Breaker("k", Policy(), clock=clock, random=chance.random)
        while clock.now < 1300.0:
            clock.advance(chance.expovariate(rate))
            calls += 1
            permit = breaker.try_acquire()
            if permit is None:
                refused += 1
            elif chance.random() < 0.6:
                permit.failure()
            else:
                permit.success()

    assert refused < 0.05 * calls  # it was a third in some of them
