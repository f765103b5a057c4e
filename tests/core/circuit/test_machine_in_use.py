"""How often the circuit decides, and what one decision does for the calls that needed none."""

from __future__ import annotations

from tests.support.limits import limit
from tests.support.training import learned

from recloser import Breaker, Permit, State
from recloser._permit import LoosePermit
from recloser.testing import ManualClock


def test_however_busy_hardly_more_than_a_thousand_calls_wait_for_a_decision(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Their latencies are kept in a list until then, and one decision processes them all."""
    learned(breaker, clock)
    recent, most = breaker._circuit.calls.recent, 0

    for number in range(30_000):  # three tenths of a second
        permit = breaker.acquire()
        clock.advance(1e-5)
        permit.success()
        if number > 20_000:  # by then it knows how busy it is
            most = max(most, len(recent))

    assert 500 < most < 2_000


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
