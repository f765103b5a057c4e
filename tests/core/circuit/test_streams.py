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
    assert streams_of().time_limit == 10.0
    assert streams_of(*[0.01] * 29).time_limit == 10.0


def test_a_long_gap_of_one_of_few_streams_is_enough_to_be_more_patient() -> None:
    assert streams_of(15.0).time_limit == pytest.approx(45.0, rel=0.1)


def test_short_gaps_make_no_limit_below_two_seconds() -> None:
    assert streams_of(*[0.001] * 100).time_limit == 2.0


@pytest.mark.parametrize("usual", [1.0, 3.0, 10.0])
def test_the_limit_is_three_times_the_gaps_that_are_usual(usual: float) -> None:
    assert streams_of(*[usual] * 100).time_limit == pytest.approx(3.0 * usual, rel=0.1)


def test_one_long_gap_of_a_hundred_streams_does_not_move_the_limit() -> None:
    assert streams_of(*[0.1] * 99, 50.0).time_limit == 2.0


def test_it_is_hopeless_much_later_than_it_is_a_stall() -> None:
    few, many = streams_of(*[0.5] * 40), streams_of(*[0.5] * 1000)

    assert few.hopeless == pytest.approx(1.5 * 0.5 * 25, rel=0.1)
    assert many.hopeless == 2.0 * many.time_limit
    assert streams_of(0.5).hopeless == POLICY.slow_ceiling


def test_nothing_is_above_the_ceiling() -> None:
    policy = Policy(slow_ceiling=1.5)

    assert streams_of(policy=policy).time_limit == 1.5
    assert streams_of(*[1.0] * 100, policy=policy).time_limit == 1.5
    assert streams_of(*[5.0] * 100, policy=policy).hopeless == 1.5


@pytest.mark.parametrize("streams", [3, 100])
def test_where_pauses_beyond_the_ceiling_are_usual_there_is_no_stall(streams: int) -> None:
    """As where events are told when they happen."""
    assert streams_of(*[300.0] * streams).time_limit == inf


def test_old_gaps_are_forgotten() -> None:
    streams = streams_of(*[20.0] * 1000, *[0.01] * 6000)

    assert streams.time_limit == 2.0


def test_a_pause_of_the_process_is_no_stall() -> None:
    streams = streams_of(*[0.01] * 100)
    stream = streams.by_token[1] = Stream(0.0, 0.1)
    stream.since = 0.0

    assert streams.take_decided(5.0, lambda started, now: 4.0) == []
    assert streams.take_decided(7.0, lambda started, now: 4.0) == [(1, 0.1, 3.0)]


def test_the_next_check_is_when_the_first_stream_may_stand_still_with_others() -> None:
    streams = streams_of(*[0.01] * 100)
    for token, since in enumerate((5.0, 4.0, inf)):
        stream = streams.by_token[token] = Stream(0.0, 0.1)
        stream.since = since
    streams.take_decided(5.0, no_stall)

    assert streams.check_at == 5.0 + streams.time_limit / 32.0
    streams.take_decided(4.5, no_stall)
    assert streams.check_at == 4.0 + streams.time_limit / 2.0


# Streams in flight


def flowing(streams: Streams, token: int, began: float, since: float = inf) -> Stream:
    stream = streams.by_token[token] = Stream(began, 0.1)
    stream.since = since
    return stream


def stalled_before(policy: Policy = POLICY) -> Streams:
    """The latest stream about which was decided has stalled. The limit is two seconds."""
    streams = streams_of(*[0.01] * 100, policy=policy)
    flowing(streams, 1, 0.0, since=0.0)
    assert [token for token, _, _ in streams.take_decided(3.0, no_stall)] == [1]
    return streams


def test_a_stall_is_told_once_and_is_as_long_as_its_consumer_waited() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 1, 0.0, since=1.0)

    assert streams.take_decided(3.0, no_stall) == []
    assert streams.take_decided(3.5, no_stall) == [(1, 0.1, 2.5)]
    assert streams.take_decided(9.0, no_stall) == []


def test_after_a_stall_the_others_are_still_watched() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 1, 0.0, since=0.0)
    flowing(streams, 2, 0.0, since=4.5)
    flowing(streams, 3, 0.0, since=0.5)

    assert [token for token, _, _ in streams.take_decided(5.0, no_stall)] == [1, 3]
    assert streams.check_at == 5.5


def test_between_two_checks_there_is_a_part_of_the_limit() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 1, 0.0, since=3.0)

    streams.take_decided(5.0, no_stall)

    assert streams.check_at == 5.0 + 2.0 / 32.0


def test_without_streams_that_wait_the_next_check_is_half_a_limit_away() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 1, 0.0)

    streams.take_decided(5.0, no_stall)

    assert streams.check_at == 6.0


def test_a_probe_is_not_doubted_before_a_stream_has_stalled() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 1, 5.0)

    assert not streams.doubts(1)
    assert streams.undecided == 0


def test_after_a_stall_a_probe_is_doubted_until_it_has_flowed_for_a_while() -> None:
    streams = stalled_before()
    flowing(streams, 2, 5.0)

    assert streams.doubts(2)
    assert streams.undecided == 1
    assert streams.check_at <= 7.0
    assert streams.take_decided(7.0, no_stall) == []
    assert streams.take_decided(7.5, no_stall) == [(2, 0.1, None)]
    assert streams.undecided == 0
    assert streams.take_decided(8.0, no_stall) == []


def test_a_doubted_probe_whose_consumer_waits_for_half_of_the_limit_does_not_flow() -> None:
    streams = stalled_before()
    stream = flowing(streams, 2, 5.0, since=6.5)
    assert streams.doubts(2)

    assert streams.take_decided(7.5, no_stall) == []
    stream.since = 7.25
    assert streams.take_decided(7.5, no_stall) == [(2, 0.1, None)]


def test_a_doubted_probe_is_looked_at_often() -> None:
    streams = stalled_before()
    flowing(streams, 2, 5.0)
    streams.doubts(2)

    streams.take_decided(5.5, no_stall)

    assert streams.check_at == 5.5 + 2.0 / 32.0


def test_what_is_no_stream_or_has_stalled_is_not_doubted() -> None:
    streams = stalled_before()

    assert not streams.doubts(1)  # it has stalled
    assert not streams.doubts(99)
    assert streams.undecided == 0


def test_where_there_is_no_stall_nothing_is_doubted() -> None:
    streams = streams_of(*[300.0] * 100)
    streams._doubted = True
    flowing(streams, 2, 5.0)

    assert not streams.doubts(2)


def test_a_stream_that_ends_well_ends_the_doubt() -> None:
    streams = stalled_before()
    flowing(streams, 2, 5.0)
    streams.end(2, well=True)
    flowing(streams, 3, 6.0)

    assert not streams.doubts(3)


@pytest.mark.parametrize("token", [1, 2])
def test_one_that_had_stalled_or_fails_does_not(token: int) -> None:
    streams = stalled_before()
    flowing(streams, 2, 5.0)
    streams.end(token, well=token == 1)
    flowing(streams, 3, 6.0)

    assert streams.doubts(3)


def test_after_a_change_of_state_no_probe_is_undecided() -> None:
    streams = stalled_before()
    flowing(streams, 2, 5.0)
    streams.doubts(2)

    streams.decide_none()

    assert streams.undecided == 0
    assert streams.take_decided(7.5, no_stall) == []


def test_six_probes_that_stall_and_end_well_make_such_a_gap_usual() -> None:
    """If the callee has changed for good, it would stay open for ever otherwise."""
    streams = streams_of(*[0.01] * 1000)
    needed = 0
    while streams.time_limit < 10.0:
        needed += 1
        began = 100.0 * needed
        streams._doubted = True
        stream = flowing(streams, 1, began, since=began)
        assert streams.doubts(1)
        assert len(streams.take_decided(began + 10.0, no_stall)) == 1
        stream.longest = 10.0
        streams.end(1, well=True)

    assert 4 <= needed <= 6


def test_a_stream_that_failed_teaches_nothing() -> None:
    streams = streams_of(*[0.01] * 100)
    for _ in range(100):
        flowing(streams, 1, 0.0).longest = 20.0
        streams.end(1, well=False)

    assert streams.time_limit == 2.0
    assert streams.by_token == {}


def test_what_was_learned_of_old_gaps_is_halved_and_not_lost() -> None:
    policy = Policy(history_size=100)
    streams = streams_of(*[1.0] * 100, *[0.01] * 2, policy=policy)

    assert streams.time_limit == pytest.approx(3.0, rel=0.1)
    assert streams.hopeless > 2.0 * streams.time_limit


# Several that stand still at the same time

STILL = (0.0, 0.1, 0.2, 0.3, 0.4)


def still(*since: float, known: int = 100, flows: int = 0) -> list[int]:
    """Which of some streams have stalled, 1.5 s after the first one began to wait."""
    streams = streams_of(*[0.01] * known)
    for token, each in enumerate(since):
        flowing(streams, token, -9.0, since=each)
    for token in range(50, 50 + flows):
        flowing(streams, token, -9.0, since=1.49)
    return [token for token, _, _ in streams.take_decided(1.5, no_stall)]


def test_several_stall_after_half_the_limit_if_others_got_pieces_meanwhile() -> None:
    assert still(*STILL) == [0, 1, 2, 3, 4]
    assert still(*STILL, 1.2) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("since", "late"), [(0.5, True), (0.51, False)])
def test_each_of_several_must_stand_still_for_half_the_limit(since: float, late: bool) -> None:
    assert still(*STILL[:4], since) == ([0, 1, 2, 3, 4] if late else [])


def test_streams_that_have_stalled_before_are_none_of_several() -> None:
    streams = streams_of(*[0.01] * 100)
    for token, since in enumerate(STILL):
        flowing(streams, token, -9.0, since=since).stalled = token < 4

    assert streams.take_decided(1.6, no_stall) == []


def test_a_callee_that_pauses_as_a_whole_for_a_moment_has_not_stalled() -> None:
    assert still(0.0, 0.0, 0.01, 0.01, 0.02, 0.02) == []


def test_a_few_that_stand_still_have_not_stalled_so_soon() -> None:
    assert still(*STILL[:4]) == []


def test_they_have_not_if_as_many_flow_that_began_as_early() -> None:
    assert still(*STILL, flows=5) == []
    assert still(*STILL, flows=4) == [0, 1, 2, 3, 4]


def test_they_have_not_while_hardly_any_stream_is_known() -> None:
    assert still(*STILL, known=29) == []


def test_the_time_in_which_our_process_stood_still_does_not_count() -> None:
    streams = streams_of(*[0.01] * 100)
    for token, since in enumerate(STILL):
        flowing(streams, token, -9.0, since=since)

    assert streams.take_decided(1.6, lambda started, now: 0.3) == []
    assert len(streams.take_decided(1.75, lambda started, now: 0.3)) == 5


def test_one_that_failed_after_its_first_piece_casts_doubt_on_probes() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 2, 5.0)
    streams.end(2, well=False, failed=True)
    flowing(streams, 3, 6.0)

    assert streams.doubts(3)


def test_one_that_its_caller_left_does_not() -> None:
    streams = streams_of(*[0.01] * 100)
    flowing(streams, 2, 5.0)
    streams.end(2, well=False)
    flowing(streams, 3, 6.0)

    assert not streams.doubts(3)


def test_nothing_is_doubted_before_a_stream_has_stalled_and_after_all_is_forgotten() -> None:
    streams = streams_of()
    streams.by_token[7] = Stream(0.0, 0.1)
    assert not streams.doubts(7)

    stalled = streams.by_token[8] = Stream(0.0, 0.1)
    stalled.since = 0.0
    streams.take_decided(100.0, no_stall)
    assert streams.doubts(7)
    streams.forget()

    assert not streams.doubts(7)


def test_of_several_doubted_streams_the_first_is_looked_at_first() -> None:
    streams = streams_of()
    stalled = streams.by_token[1] = Stream(0.0, 0.1)
    stalled.since = 0.0
    streams.take_decided(100.0, no_stall)
    for token, began in ((2, 101.0), (3, 150.0)):
        streams.by_token[token] = Stream(began, 0.1)
        assert streams.doubts(token)

    assert streams.check_at <= 101.0 + streams.time_limit


def test_a_doubted_probe_is_looked_at_when_it_has_flowed_for_a_while() -> None:
    streams = streams_of(*[0.01] * 100)
    streams.by_token[7] = Stream(5.0, 0.1)
    streams._doubted = True
    streams.check_at = inf

    assert streams.doubts(7)

    assert streams.check_at == 5.0 + streams.time_limit


def half_of_the_time(started: float, now: float) -> float:
    """For so long our own process stood still."""
    return max(now - started, 0.0) / 2


def test_the_time_in_which_our_process_stood_still_is_that_since_the_consumer_waits() -> None:
    streams = streams_of(*[0.01] * 100)
    streams.by_token[7] = Stream(0.0, 0.1)
    streams.by_token[7].since = 0.0

    assert streams.take_decided(3.9, half_of_the_time) == []
    assert [token for token, _, _ in streams.take_decided(4.1, half_of_the_time)] == [7]


def test_several_streams_that_stood_still_with_our_process_have_not_stalled() -> None:
    streams = streams_of(*[0.01] * 100)
    for token in range(5):
        flowing(streams, token, -9.0, since=0.05 * token)

    assert streams.take_decided(1.5, lambda started, now: max(now - started, 0.0) * 0.125) == []
    assert len(streams.take_decided(1.5, no_stall)) == 5


@pytest.mark.parametrize(("known", "weight"), [(0, 1.0), (1000, None)])
def test_only_a_probe_that_stalls_teaches_as_much_as_many_streams(
    known: int, weight: float | None
) -> None:
    """With nothing known it teaches as much as one."""
    streams = streams_of(*[0.01] * known)
    for token, undecided in ((1, False), (2, True)):
        stream = streams.by_token[token] = Stream(0.0, 0.1)
        stream.since, stream.undecided = 0.0, undecided
    probe, other = streams.by_token[2], streams.by_token[1]

    streams.take_decided(100.0, no_stall)

    assert other.weight == 1.0
    assert probe.weight == weight if weight else probe.weight > 2.0
    assert streams.undecided == 0


def test_where_all_streams_have_stalled_none_is_one_of_several() -> None:
    streams = streams_of(*[0.01] * 100)
    for token in range(9):
        flowing(streams, token, -9.0, since=0.0).stalled = True

    assert streams.take_decided(50.0, no_stall) == []


def test_enough_streams_are_known_for_several_from_the_thirtieth_on() -> None:
    assert still(*STILL, known=30) == [0, 1, 2, 3, 4]
