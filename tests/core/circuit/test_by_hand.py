"""What operators do with a circuit by hand."""

from __future__ import annotations

import pytest
from tests.support.limits import hang, slow_down
from tests.support.training import learned, record

from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter, open_breaker

LIMITED, OPEN, CLOSED = State.LIMITED, State.OPEN, State.CLOSED


def shut(breaker: Breaker, clock: ManualClock, state: State) -> None:
    if state is LIMITED:
        hang(breaker, clock, until=LIMITED)
    elif state is not CLOSED:
        open_breaker(breaker)
        if state is State.HALF_OPEN:
            breaker.half_open()


@pytest.mark.parametrize("state", State)
def test_close_lets_all_calls_through_and_keeps_what_was_learned(
    registry: Registry, clock: ManualClock, state: State
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    learned(breaker, clock)
    threshold = breaker.slow_threshold
    shut(breaker, clock, state)
    registry.subscribe(listener)

    breaker.close("it was the network", by="ann")

    assert breaker.state is CLOSED
    assert breaker.slow_threshold == threshold
    assert all(breaker.try_acquire() is not None for _ in range(50))
    if state is not CLOSED:
        (closed,) = listener.transitions
        assert (closed.reason.rule, closed.by) == ("manual", "ann")
        assert str(closed.reason) == "by hand by 'ann': 'it was the network'"


def test_close_ends_a_pause_that_the_callee_asked_for(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    while breaker.state is CLOSED:
        breaker.acquire().throttled(retry_after=300.0)

    breaker.close()

    assert breaker.try_acquire() is not None
    assert breaker.asked_pause == 0.0


def test_close_ends_a_pause_also_while_the_clock_is_near_zero() -> None:
    clock = ManualClock(0.25)
    breaker = Breaker("k", clock=clock, random=no_jitter)
    while breaker.state is CLOSED:
        breaker.acquire().throttled(retry_after=300.0)

    breaker.close()

    assert breaker.asked_pause == 0.0


def test_reset_forgets_the_rate_and_how_many_calls_run_at_a_time(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker._circuit.counts.rate = 50.0
    breaker._circuit.counts.measure_concurrency(20)

    breaker.reset()

    assert (breaker._circuit.counts.rate, breaker._circuit.counts.concurrency) == (0.0, 1)


def test_calls_that_are_recorded_while_it_is_open_change_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    hang(breaker, clock, until=OPEN)
    recovery = breaker._circuit.recovery
    assert recovery is not None
    level = recovery.answers.level

    record(breaker, 200, success=True, latency=5.0)

    assert breaker.state is OPEN
    assert (recovery.bad, recovery.answers.level) == (0, level)
    assert breaker.metrics().successes == 300


# A new policy


def test_the_probes_of_an_outage_are_judged_by_a_new_policy(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.open(for_=1e6)
    breaker.half_open()

    breaker.policy = Policy(half_open_requests=1)
    breaker.acquire().success()

    assert breaker.state is CLOSED


def test_a_lower_ceiling_holds_for_streams_and_for_calls_with_a_label_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker._circuit.calls.learn_stream("events", breaker.policy, prompt=True, ended=True)
    explained = breaker._circuit.explain_any()
    assert breaker.piece_timeout == explained.slow_after(1e9) == 60.0

    breaker.policy = Policy(slow_ceiling=5.0)

    assert breaker.piece_timeout == explained.slow_after(1e9) == 5.0


def test_a_momentary_outage_is_learned_as_normal_whatever_the_policy_becomes_meanwhile(
    clock: ManualClock,
) -> None:
    def learned_rate(*, replaces: bool) -> tuple[float, float]:
        breaker = Breaker("k", clock=clock, random=no_jitter)
        learned(breaker, clock)
        evidence = breaker._circuit.detector.evidence
        before = evidence.normal_bad_rate
        while breaker.state is CLOSED:
            breaker.acquire().failure("HTTP 500")
        if replaces:
            breaker.policy = Policy()
        while breaker.state is not CLOSED:
            clock.advance(0.05)
            if (permit := breaker.try_acquire()) is not None:
                permit.success()
        return before, evidence.normal_bad_rate

    before, after = learned_rate(replaces=False)
    assert after > before
    assert learned_rate(replaces=True) == (before, after)


def test_it_opens_again_if_the_callee_is_still_sick(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    slow_down(breaker, clock)
    breaker.close()

    calls = 0
    while breaker.state is CLOSED and calls < 100:
        breaker.acquire().failure("HTTP 500")
        calls += 1

    assert breaker.state is OPEN
    assert calls <= 20


@pytest.mark.parametrize("action", ["half_open", "reset", "close"])
def test_who_did_it_and_why_is_in_the_reason(breaker: Breaker, action: str) -> None:
    open_breaker(breaker)

    getattr(breaker, action)("as agreed", by="bob\n")

    assert breaker._circuit.reason is not None
    assert str(breaker._circuit.reason) == "by hand by 'bob\\n': 'as agreed'"
    with pytest.raises(TypeError, match="by must be a str, not 5"):
        getattr(breaker, action)("", by=5)
