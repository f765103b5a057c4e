"""How often the circuit decides, and what one decision does for the calls that needed none."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.limits import limit, limit_of, rule
from tests.support.training import learned, teach

from recloser import Breaker, Outcome, Permit, State
from recloser._circuit import votes
from recloser._circuit.in_flight import Timing
from recloser._circuit.votes import Ending
from recloser._permit import LoosePermit
from recloser.testing import ManualClock


@pytest.mark.parametrize(
    ("calls", "seconds", "until"),
    [(500, 0.01, 0.0205), (900, 0.01, 0.0114), (5, 0.02, 0.1)],
    ids=["busy", "very busy", "quiet"],
)
def test_the_next_decision_is_after_a_thousand_calls_or_a_tenth_of_a_second(
    breaker: Breaker, clock: ManualClock, calls: int, seconds: float, until: float
) -> None:
    """Until then the latencies of good calls wait in a list, which must not grow without end."""
    learned(breaker, clock)
    in_flight = breaker._circuit.calls
    in_flight.recent += [0.1] * 4_000
    breaker.metrics()  # computes the threshold anew, which is not due again soon
    breaker.acquire().success()

    clock.advance(seconds)
    in_flight.recent += [0.1] * calls
    breaker.metrics()

    assert in_flight.recent == []
    assert in_flight.quick_until - clock.now == pytest.approx(until, rel=0.02)


def test_calls_that_wait_for_their_own_callers_do_not_make_a_callee_mute(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Such as uploads: nothing can come back yet, however many of them there are."""
    limit(breaker, clock)
    uploads = list[Permit]()

    for _ in range(100):
        clock.advance(0.1)
        for _ in range(3):
            if (permit := breaker.try_acquire()) is not None:
                assert isinstance(permit, LoosePermit)
                permit.wait()
                uploads.append(permit)

    assert breaker.state is State.LIMITED
    assert len(uploads) > 50
    assert breaker.metrics().refused > 50


def test_a_probe_is_judged_when_it_ends_or_another_call_comes(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.half_open()
    probe = breaker.acquire()
    clock.advance(breaker.policy.slow_ceiling)

    breaker.notice()
    assert breaker.state is State.HALF_OPEN
    assert probe.is_probe

    breaker.try_acquire()
    assert not probe.is_probe


def test_a_slow_call_among_failures_does_not_hide_what_failed(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)

    while breaker.state is State.CLOSED:
        permit = breaker.acquire()
        if breaker.metrics().failures == 4:
            clock.advance(0.5)
            permit.success()
        else:
            permit.failure("HTTP 502")

    reason = breaker.refusal().reason
    assert reason is not None
    assert "HTTP 502" in reason.sentence


def test_a_pause_between_single_calls_is_not_silence_of_the_callee(
    breaker: Breaker, clock: ManualClock
) -> None:
    """However long it is: nothing is in flight that could come back."""
    limit(breaker, clock)
    limited = limit_of(breaker)
    limited.level = 0.5
    while limited.pauses < 8.0:
        limited.pause(60.0)

    for _ in range(15):
        clock.advance(0.5)
        assert breaker.try_acquire() is None
        assert breaker.state is State.LIMITED

    clock.advance(0.5)
    assert breaker.try_acquire() is not None


def test_a_callee_of_which_hardly_anything_is_known_is_mute_after_eight_hopeless_times(
    breaker: Breaker, clock: ManualClock
) -> None:
    """By the first few answers, not by the ceiling for slow calls, which is six times as long."""
    teach(breaker, clock, [0.05] * 20)
    hanging, began = [breaker.acquire() for _ in range(10)], clock.now
    assert breaker._circuit.hopeless == 10.0

    while breaker.state is not State.OPEN:
        clock.advance(0.5)
        if (permit := breaker.try_acquire()) is not None:
            hanging.append(permit)

    assert rule(breaker) == "mute"
    assert 80.0 < clock.now - began < 100.0


def test_what_the_end_of_a_call_says_is_told(breaker: Breaker, clock: ManualClock) -> None:
    circuit, calls = breaker._circuit, breaker._circuit.calls
    endings = []
    for token, outcome in ((1, Outcome.SUCCESS), (2, Outcome.FAILURE), (3, Outcome.THROTTLED)):
        calls.voting[token] = timing = Timing()
        timing.started, timing.answered = clock.now - 0.1, inf
        endings.append(Ending(token, outcome, 0.1, clock.now))

    said = [circuit.end(ending) for ending in endings]

    assert said == [votes.GOOD, votes.FAILED, votes.ASKED_TO_WAIT]
    assert circuit.end(endings[0]) is votes.NONE


@pytest.mark.parametrize(
    ("way", "comes_back"), [("success", True), ("throttled", True), ("failure", False)]
)
def test_a_callee_that_asks_for_a_pause_has_come_back(
    breaker: Breaker, clock: ManualClock, way: str, comes_back: bool
) -> None:
    permit = breaker.acquire()
    clock.advance(0.1)

    getattr(permit, way)()
    breaker.metrics()

    assert (breaker._circuit._came_back_at == clock.now) is comes_back


def test_the_usual_concurrency_is_not_measured_while_calls_are_refused(
    breaker: Breaker, clock: ManualClock
) -> None:
    """It falls with each measurement: after an outage a few probes would seem usual."""
    learned(breaker, clock)
    circuit = breaker._circuit
    circuit.counts.concurrency = 20

    breaker.open()
    circuit._refresh(clock.now)
    assert circuit.counts.concurrency == 20

    breaker.close()
    circuit._refresh(clock.now)
    assert circuit.counts.concurrency == 18


def test_under_a_limit_a_call_is_overdue_after_the_slow_threshold_whatever_it_began_with(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Only a probe after failures has time until its answer is hopeless."""
    limit(breaker, clock)
    circuit = breaker._circuit
    assert circuit.recovery is not None
    circuit.recovery.run, circuit.recovery.was_slow = 5, False
    permit = breaker.acquire()
    clock.advance(1.1 * breaker.slow_threshold)

    breaker.notice()

    assert permit.token in circuit.calls.overdue


def test_a_check_that_has_just_limited_does_not_look_for_late_calls_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The calls in flight keep their votes: they are what the limit is judged by."""
    teach(breaker, clock, [0.1] * 1200)
    breaker.metrics()
    assert breaker._circuit.detector.evidence.is_settled
    in_flight = [breaker.acquire() for _ in range(60)]
    clock.advance(1.1 * breaker.slow_threshold)

    breaker.try_acquire()

    assert breaker.state is State.LIMITED
    voting, overdue = breaker._circuit.calls.voting, breaker._circuit.calls.overdue
    assert {each.token for each in in_flight} <= {*voting, *overdue}
