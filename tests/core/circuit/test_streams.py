"""What is a stall, by the gaps of the streams so far."""

from __future__ import annotations

from math import inf

import pytest

from recloser import Policy
from recloser._circuit.streams import Stream, Streams

POLICY = Policy()


def streams_of(*longest: float, policy: Policy = POLICY) -> Streams:
    streams = Streams(policy)
    for token, gap in enumerate(longest, 1):
        stream = streams.by_token[token] = Stream(0.0, 0.1)
        stream.longest = gap
        streams.end(token, well=True)
    return streams


def no_stall(started: float, now: float) -> float:
    return 0.0


def test_while_hardly_any_stream_is_known_a_stall_takes_ten_seconds() -> None:
    assert streams_of().limit == 10.0
    assert streams_of(*[0.01] * 29).limit == 10.0


def test_a_long_gap_of_one_of_few_streams_is_enough_to_be_more_patient() -> None:
    assert streams_of(15.0).limit == pytest.approx(45.0, rel=0.1)


def test_short_gaps_make_no_limit_below_two_seconds() -> None:
    assert streams_of(*[0.001] * 100).limit == 2.0


@pytest.mark.parametrize("usual", [1.0, 3.0, 10.0])
def test_the_limit_is_three_times_the_gaps_that_are_usual(usual: float) -> None:
    assert streams_of(*[usual] * 100).limit == pytest.approx(3.0 * usual, rel=0.1)


def test_one_long_gap_of_a_hundred_streams_does_not_move_the_limit() -> None:
    assert streams_of(*[0.1] * 99, 50.0).limit == 2.0


def test_it_is_hopeless_much_later_than_it_is_a_stall() -> None:
    few, many = streams_of(*[0.5] * 40), streams_of(*[0.5] * 1000)

    assert few.hopeless == pytest.approx(1.5 * 0.5 * 25, rel=0.1)
    assert many.hopeless == 2.0 * many.limit
    assert streams_of(0.5).hopeless == POLICY.slow_ceiling


def test_nothing_is_above_the_ceiling() -> None:
    policy = Policy(slow_ceiling=1.5)

    assert streams_of(policy=policy).limit == 1.5
    assert streams_of(*[1.0] * 100, policy=policy).limit == 1.5
    assert streams_of(*[5.0] * 100, policy=policy).hopeless == 1.5


@pytest.mark.parametrize("streams", [3, 100])
def test_where_pauses_beyond_the_ceiling_are_usual_there_is_no_stall(streams: int) -> None:
    """As where events are told when they happen."""
    assert streams_of(*[300.0] * streams).limit == inf


def test_old_gaps_are_forgotten() -> None:
    streams = streams_of(*[20.0] * 1000, *[0.01] * 6000)

    assert streams.limit == 2.0


def test_a_pause_of_the_process_is_no_stall() -> None:
    streams = streams_of(*[0.01] * 100)
    stream = streams.by_token[1] = Stream(0.0, 0.1)
    stream.since = 0.0

    assert streams.take_decided(5.0, lambda started, now: 4.0) == []
    assert streams.take_decided(7.0, lambda started, now: 4.0) == [(1, 0.1, 3.0)]


def test_the_next_check_is_when_the_first_stream_may_have_stalled() -> None:
    streams = streams_of(*[0.01] * 100)
    for token, since in enumerate((5.0, 4.0, inf)):
        stream = streams.by_token[token] = Stream(0.0, 0.1)
        stream.since = since
    streams.take_decided(5.0, no_stall)

    assert streams.check_at == 4.0 + streams.limit
