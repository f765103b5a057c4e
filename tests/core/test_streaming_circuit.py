"""When a stream begins, and which streams are answers."""

from __future__ import annotations

from tests.support.training import learned

from recloser import Breaker
from recloser.testing import ManualClock

KIND = "GET text/event-stream"


def test_a_first_piece_in_time_takes_the_latency(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    permit = breaker.acquire()
    clock.advance(0.5 * breaker.slow_threshold)

    assert breaker.begin_stream(permit)
    assert permit.answered == clock()


def test_a_late_first_piece_takes_the_latency_as_well(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    permit = breaker.acquire()
    clock.advance(2.0 * breaker.slow_threshold)

    assert not breaker.begin_stream(permit)
    assert permit.answered == clock()


def test_streams_that_end_by_themselves_at_once_are_answers(breaker: Breaker) -> None:
    assert not breaker.are_answers(KIND)

    for _ in range(40):
        breaker.learn_stream(KIND, prompt=True, ended=True)

    assert breaker.are_answers(KIND)
    assert not breaker.are_answers("GET text/html")
