"""When a stream begins, and which streams are answers."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.training import learned

from recloser import Breaker, Mode, Policy, Registry
from recloser._circuit.streams import Stream, Streams
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


def streaming(breaker: Breaker) -> Streams:
    """What a breaker knows of streams, of which there has been one."""
    breaker.learn_stream(KIND, prompt=True, ended=True)
    streams = breaker._calls.streams
    assert streams is not None
    return streams


def test_until_streams_are_known_a_piece_may_take_as_long_as_any_answer(breaker: Breaker) -> None:
    assert breaker.piece_timeout == Policy().slow_ceiling

    streams = streaming(breaker)
    streams.hopeless = 7.0
    assert breaker.piece_timeout == 7.0

    breaker.mode = Mode.OBSERVE
    assert breaker.piece_timeout == inf


def test_a_second_piece_is_expected_of_calls_with_a_vote_while_closed(breaker: Breaker) -> None:
    permit, stream = breaker.acquire(), Stream(1000.0, 0.1)
    assert not breaker.expect_piece(permit.token, stream)  # nothing is known of streams yet
    by_token = streaming(breaker).by_token

    assert not breaker.expect_piece(permit.token + 1, stream)
    assert by_token == {}
    assert breaker.expect_piece(permit.token, stream)
    assert by_token == {permit.token: stream}

    breaker.forget_stream(permit.token)
    assert by_token == {}


def test_no_second_piece_is_expected_of_a_probe(breaker: Breaker) -> None:
    streaming(breaker)
    breaker.half_open()
    probe = breaker.acquire()

    assert probe.is_probe
    assert not breaker.expect_piece(probe.token, Stream(1000.0, 0.1))


def test_where_nothing_is_known_of_streams_there_is_nothing_to_forget(breaker: Breaker) -> None:
    stream = Stream(1000.0, 0.1)

    breaker.forget_stream(7)
    breaker.note_gap(stream, 1000.0, 1100.0)

    assert stream.longest == 100.0


def test_a_gap_in_which_the_process_stood_still_is_none_of_the_stream(breaker: Breaker) -> None:
    stalls, stream = breaker._listeners.stalls, Stream(1000.0, 0.1)
    stalls.beat(1001.0 - 0.02)
    stalls.beat(1005.0)
    stalls.stop()

    breaker.note_gap(stream, 1000.0, 1006.0)

    assert stream.longest == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("stalled", [True, False])
def test_a_stall_is_counted_at_once_and_only_once(
    breaker: Breaker, decisions: list[float], stalled: bool
) -> None:
    streams, stream = streaming(breaker), Stream(1000.0, 0.1)
    stream.stalled = stalled
    decisions.clear()

    breaker.note_gap(stream, 1000.0, 1000.5 * streams.time_limit)

    assert len(decisions) == (not stalled)


def test_a_clock_that_fails_at_a_first_piece_is_a_fault_and_takes_no_latency(
    registry: Registry,
) -> None:
    breaker = registry["k"]
    permit = breaker.acquire()

    def broken() -> float:
        raise OSError("no clock")

    breaker.clock = broken

    assert breaker.begin_stream(permit) is False
    assert permit.answered == inf
    assert registry.faults == 1


def test_a_first_piece_just_at_the_threshold_is_in_time(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    clock.advance(breaker.slow_threshold)

    assert breaker.begin_stream(permit)
