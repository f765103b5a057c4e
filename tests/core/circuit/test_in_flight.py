"""Calls in flight: which of them have a vote, and which are overdue."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.limits import hang, limit
from tests.support.training import learned, teach

from recloser import Breaker, Permit, Policy, State
from recloser._circuit.in_flight import CountedCall, InFlight, Timing
from recloser._circuit.streams import Stream, Streams
from recloser.testing import ManualClock


def timing(started: float = 0.0) -> Timing:
    call = Timing()
    call.started, call.answered = started, inf
    return call


def test_late_results_of_an_older_generation_change_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    late = [breaker.acquire() for _ in range(20)]
    breaker.open(for_=1.0)
    clock.advance(1.0)
    probe = breaker.acquire()
    until = breaker.metrics()

    for permit in late[:10]:
        permit.success()
    for permit in late[10:]:
        permit.failure()

    assert breaker.state is State.HALF_OPEN
    assert breaker.metrics().generation == until.generation
    assert probe.is_probe


def test_late_failures_do_not_open_a_recovered_breaker(
    breaker: Breaker, clock: ManualClock
) -> None:
    late = [breaker.acquire() for _ in range(20)]
    breaker.open()
    breaker.half_open()
    for _ in range(20):
        breaker.record(0.1, success=True)
    assert breaker.state is State.CLOSED

    for permit in late:
        permit.failure()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0


def test_late_results_teach_nothing_after_a_reset(breaker: Breaker, clock: ManualClock) -> None:
    late = [breaker.acquire() for _ in range(50)]
    clock.advance(20.0)
    breaker.reset()

    for permit in late:
        permit.success()

    assert breaker.metrics().p50 == 0.0


def test_failures_that_land_after_opening_do_not_move_the_next_look(
    breaker: Breaker, clock: ManualClock
) -> None:
    permits = [breaker.acquire() for _ in range(30)]
    while breaker.state is State.CLOSED:
        permits.pop(0).failure()
    look_in = breaker.retry_after

    clock.advance(0.1)
    for permit in permits:
        permit.failure()

    assert breaker.retry_after == pytest.approx(look_in - 0.1)


def test_calls_that_hang_limit_it_before_they_end_and_open_it_soon_after(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Eight slow thresholds without any answer show that no limit will help."""
    learned(breaker, clock)
    began, threshold = clock.now, breaker.slow_threshold

    hanging = hang(breaker, clock, until=State.LIMITED)
    limited_after = clock.now - began
    more = hang(breaker, clock, until=State.OPEN)

    assert limited_after < 2.5 * threshold
    assert len(hanging) < 12
    assert more == []
    assert clock.now - began < limited_after + 8.5 * threshold
    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.rule == "mute"


def test_a_call_that_hangs_is_counted_once(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    hanging = breaker.acquire()
    clock.advance(2.0)
    breaker.acquire().ignore()
    surprise = breaker.metrics().evidence

    hanging.failure(TimeoutError())

    assert surprise > 0.0
    assert breaker.metrics().evidence == surprise


def test_calls_of_a_closed_breaker_keep_their_vote_while_it_is_limited(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The callee is still the same one."""
    learned(breaker, clock)
    before = breaker.acquire()
    for _ in range(5):
        permit = breaker.acquire()
        clock.advance(0.3)
        permit.success()
    assert breaker.state is State.LIMITED

    clock.advance(0.1)
    breaker.try_acquire()

    assert not before.is_probe
    assert [*breaker._circuit.calls.overdue] == [before.token]


# Calls that end late


def test_a_cancelled_call_that_was_slow_already_is_a_slow_call(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)

    for _ in range(5):
        permit = breaker.acquire()
        clock.advance(3.0)
        permit.cancel()

    assert breaker.state is State.LIMITED


def test_calls_that_were_all_cancelled_late_open_a_limited_breaker(
    breaker: Breaker, clock: ManualClock
) -> None:
    limit(breaker, clock)

    for _ in range(30):
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(3.0)
            permit.cancel()
        if breaker.state is State.OPEN:
            break

    assert breaker.state is State.OPEN


def test_prompt_cancellations_say_nothing(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)

    for _ in range(1000):
        permit = breaker.acquire()
        clock.advance(0.05)
        permit.cancel()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0


# Long answers


def test_streams_that_began_in_time_are_never_overdue(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    streams: list[Permit] = []

    for _ in range(200):
        streams.append(breaker.acquire())
        clock.advance(0.1)
        streams[-1].mark()
        clock.advance(0.5)
    for stream in streams[::2]:
        stream.cancel()
    for stream in streams[1::2]:
        stream.success()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0
    assert breaker.metrics().in_flight == 0


def test_a_stream_that_breaks_in_the_end_has_failed(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    streams = [breaker.acquire() for _ in range(30)]
    clock.advance(0.1)
    for stream in streams:
        stream.mark()
    clock.advance(5.0)
    breaker.acquire().success()

    for stream in streams:
        stream.failure(ConnectionResetError())

    assert breaker.state is State.OPEN


def test_from_the_call_on_that_makes_latency_known_it_is_judged(
    breaker: Breaker, clock: ManualClock
) -> None:
    """However fast the calls before it came."""
    teach(breaker, clock, [0.001] * Policy().min_history)

    permit = breaker.acquire()
    clock.advance(0.3)
    permit.success()

    assert breaker.metrics().slow == 1


def test_after_a_fork_no_call_of_the_parent_is_in_flight_wherever_it_was() -> None:
    """Also those whose permits were dropped just before it: they ended in the parent."""
    calls = InFlight()
    for token in range(1, 7):
        calls.voting[token] = timing()
    calls.note_overdue(2, calls.voting.pop(2))
    calls.note_outdated(3, calls.voting.pop(3))
    calls.note_answering(4, calls.voting.pop(4))
    calls.dropped += [1, 5]

    assert calls.forget_all() == 6
    assert len(calls) == 0
    assert not any(token in calls for token in range(1, 7))
    calls.voting[7] = timing()
    assert len(calls) == 1


def test_all_calls_that_take_too_long_already_are_noted_at_once() -> None:
    """When latency becomes known, and for those that may take longer when that is known."""
    calls = InFlight()
    for token, started in enumerate((1.0, 2.0, 3.0, 3.5, 9.0), 1):
        calls.voting[token] = timing(started)

    assert calls.note_all_overdue(7.0, 10.0, but_not=[2]) == 2

    assert [*calls.overdue] == [1, 3]
    assert [*calls.voting] == [2, 4, 5]


class Announced(CountedCall):
    """A call whose answer has been announced by headers."""

    @property
    def announced(self) -> str:
        return "GET text/event-stream"


def test_a_call_announces_nothing_and_is_not_held_unless_its_permit_knows_better() -> None:
    call = timing()

    assert call.announced == ""
    assert call.is_held is False


@pytest.mark.parametrize(
    ("kind", "is_answered"), [(None, True), ("GET text/event-stream", False), ("POST x", True)]
)
def test_headers_are_the_answer_unless_streams_of_the_kind_are_answers(
    kind: str | None, is_answered: bool
) -> None:
    calls, call = InFlight(), Announced()
    call.started, call.answered = 100.0, inf
    for _ in range(50 if kind else 0):
        assert kind is not None
        calls.learn_stream(kind, Policy(), prompt=True, ended=True)

    calls.excuse(call, 7, 2.0)

    assert call.answered == (101.0 if is_answered else inf)


def test_the_times_of_a_call_of_an_older_generation_are_found_in_whichever_table_it_is() -> None:
    calls, times = InFlight(), [timing(1.0), timing(2.0), timing(3.0)]
    calls.voting = {1: times[0]}
    calls.outdated = [{2: times[1]}, {3: times[2]}]

    assert calls.outdated_call(2) is times[1]
    assert calls.outdated_call(3) is times[2]
    # One with a vote is none of them.
    assert calls.outdated_call(1) is None
    assert InFlight().outdated_call(1) is None


def test_calls_without_a_vote_that_have_not_ended_are_counted_by_when_they_began() -> None:
    calls = InFlight()
    calls.outdated = [{4: timing(1.0), 5: timing(2.0)}, {7: timing(3.0)}]
    calls.overdue = {2: timing(1.0), 3: timing(5.0)}

    assert [calls.missing(first, inf) for first in (4, 5, 6, 8)] == [5, 4, 3, 2]
    assert [calls.missing(8, before) for before in (1.0, 5.0, 5.1)] == [0, 1, 2]


def test_the_latest_tokens_that_were_given_up_are_remembered_and_no_more() -> None:
    calls = InFlight()

    new = [calls.rename(token) for token in range(1_000)]

    assert calls.renamed == (*range(1_000 - 256, 1_000),)
    assert new == sorted(set(new))


def test_when_a_generation_ends_no_stream_is_a_probe_any_more() -> None:
    calls = InFlight()
    calls.streams = Streams(Policy())
    calls.streams.by_token[1] = stream = Stream(0.0, 0.1)
    calls.voting[2] = timing()
    stream.undecided = True
    assert calls.probes == 2

    calls.end_generation()

    assert calls.probes == 0


def test_after_a_fork_no_stream_of_the_parent_goes_on() -> None:
    calls = InFlight()
    calls.note_outdated(1, timing())
    calls.note_stream(1, Stream(0.0, 0.1), Policy(), closed=True)
    assert calls.streams is not None

    calls.forget_all()

    assert calls.streams.by_token == {}
