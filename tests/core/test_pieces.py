"""Answers that come in pieces: a stream that has begun is not good yet."""

from __future__ import annotations

import gc

import pytest
from tests.support.training import learned

from recloser import Breaker, BreakerOpenError, Mode, Outcome, Permit, Policy, Registry, State
from recloser._pieces import Pieces
from recloser.testing import ManualClock

GAP = 0.05


def begin(breaker: Breaker, clock: ManualClock) -> tuple[Permit, Pieces]:
    """A stream whose first piece has come."""
    permit = breaker.acquire()
    clock.advance(0.1)
    return permit, permit.pieces()


def flow(pieces: Pieces, clock: ManualClock, *gaps: float) -> None:
    for gap in gaps:
        pieces.asked()
        clock.advance(gap)
        pieces.arrived()


def know_streams(
    breaker: Breaker, clock: ManualClock, longest: float = GAP, streams: int = 60
) -> None:
    for _ in range(streams):
        permit, pieces = begin(breaker, clock)
        flow(pieces, clock, 0.01, longest, 0.01)
        permit.success()


def stall(breaker: Breaker, clock: ManualClock) -> tuple[Permit, Pieces]:
    permit, pieces = begin(breaker, clock)
    flow(pieces, clock, 0.01)
    pieces.asked()
    return permit, pieces


def test_streams_that_stall_open_while_they_hang(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)

    hanging = [stall(breaker, clock) for _ in range(30) if breaker.state is State.CLOSED]

    assert breaker.state is State.OPEN
    assert len(hanging) < 30
    assert "stalled: no piece for" in breaker.explain()


def begin_answer(breaker: Breaker, clock: ManualClock) -> tuple[Permit, Pieces]:
    """An answer whose first piece may be its only one, as most bodies without a length are."""
    permit = breaker.acquire()
    clock.advance(0.1)
    permit.mark()
    latency = permit.answered - permit.started
    return permit, Pieces(breaker, permit.token, permit.answered, latency, may_be_single=True)


def test_an_answer_of_one_piece_says_nothing_of_gaps(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock, longest=1.0)
    usual = breaker.piece_timeout

    for _ in range(2000):
        permit, pieces = begin_answer(breaker, clock)
        pieces.asked()
        pieces.end_single()
        permit.success()

    assert breaker.metrics().successes == 2060
    assert breaker.piece_timeout == usual


def test_an_answer_that_stalls_before_its_second_piece_fails_meanwhile(
    breaker: Breaker, clock: ManualClock
) -> None:
    know_streams(breaker, clock)

    hanging: list[tuple[Permit, Pieces]] = []
    try:
        while len(hanging) < 30:
            permit, pieces = begin_answer(breaker, clock)
            pieces.asked()
            hanging.append((permit, pieces))
    except BreakerOpenError:
        pass

    assert len(hanging) < 30
    assert breaker.state is State.OPEN
    assert "stalled: no piece for" in breaker.explain()


def test_an_answer_is_watched_as_any_stream_from_its_second_piece_on(
    breaker: Breaker, clock: ManualClock
) -> None:
    know_streams(breaker, clock)
    before = breaker.metrics().failures
    permit, pieces = begin_answer(breaker, clock)
    flow(pieces, clock, 0.01)
    pieces.asked()
    clock.advance(5.0)

    breaker.acquire().ignore()

    assert breaker.metrics().failures == before + 1
    pieces.end_single()
    permit.success()
    assert breaker.metrics().in_flight == 0


def test_an_answer_whose_handler_ends_its_call_itself_is_forgotten(
    breaker: Breaker, clock: ManualClock
) -> None:
    know_streams(breaker, clock)
    before = breaker.metrics().failures
    for _ in range(6):
        permit, pieces = begin_answer(breaker, clock)
        pieces.asked()
        permit.success()
    clock.advance(60.0)

    breaker.acquire().ignore()

    assert breaker.metrics().failures == before
    assert breaker.state is State.CLOSED


def test_a_stream_that_stalls_fails_once(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)
    before = breaker.metrics()
    permit, pieces = stall(breaker, clock)
    clock.advance(3.0)

    breaker.acquire().ignore()
    pieces.arrived()
    flow(pieces, clock, 4.0)
    permit.success()

    after = breaker.metrics()
    assert after.failures == before.failures + 1
    assert after.successes == before.successes


@pytest.mark.parametrize("end", ["success", "failure", "cancel", "ignore", "arrived"])
def test_a_stall_is_noticed_when_the_stream_goes_on_or_ends(
    breaker: Breaker, clock: ManualClock, end: str
) -> None:
    know_streams(breaker, clock)
    for _ in range(6):
        permit, pieces = stall(breaker, clock)
        clock.advance(3.0)
        getattr(pieces if end == "arrived" else permit, end)()
        if breaker.state is not State.CLOSED:
            break

    assert breaker.state is State.OPEN


def test_a_stream_that_is_lost_is_forgotten(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)
    permit, pieces = stall(breaker, clock)
    del permit, pieces
    gc.collect()
    clock.advance(1.0)
    breaker.acquire().success()

    assert breaker.metrics().in_flight == 0
    assert breaker._calls.streams is not None
    assert not breaker._calls.streams.by_token


def test_the_time_of_the_consumer_is_not_the_callees(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)
    slow_readers = [begin(breaker, clock) for _ in range(20)]
    for _ in range(5):
        clock.advance(30.0)
        breaker.acquire().success()
        for _, pieces in slow_readers:
            flow(pieces, clock, 0.001)
    for permit, _ in slow_readers:
        permit.success()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures == 0


def test_asking_twice_is_one_wait(breaker: Breaker, clock: ManualClock) -> None:
    """As where comments come that are no pieces."""
    know_streams(breaker, clock)
    streams = [stall(breaker, clock) for _ in range(8)]
    for _ in range(30):
        clock.advance(0.1)
        for _, pieces in streams:
            pieces.asked()
    breaker.try_acquire()

    assert breaker.state is State.OPEN


def test_long_gaps_that_are_usual_are_no_stalls(breaker: Breaker, clock: ManualClock) -> None:
    """Each of these streams has one long gap among hundreds of short ones."""
    for _ in range(60):
        permit, pieces = begin(breaker, clock)
        flow(pieces, clock, *([0.01] * 100), 8.0, *([0.01] * 100))
        breaker.acquire().success()
        permit.success()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures == 0


def test_a_cold_key_waits_for_longer(breaker: Breaker, clock: ManualClock) -> None:
    streams = [stall(breaker, clock) for _ in range(20)]
    clock.advance(5.0)
    breaker.acquire().ignore()
    assert breaker.metrics().failures == 0

    clock.advance(6.0)
    breaker.try_acquire()

    assert breaker.state is State.OPEN
    assert streams


def test_the_limit_is_never_above_the_slow_ceiling(clock: ManualClock) -> None:
    breaker = Breaker("key", Policy(slow_ceiling=1.0), clock=clock)
    streams = [stall(breaker, clock) for _ in range(8)]
    clock.advance(1.2)
    breaker.try_acquire()

    assert breaker.state is State.OPEN
    assert all(pieces.timeout == 1.0 for _, pieces in streams)


def test_a_breaker_that_stalls_opened_is_not_closed_by_streams_that_stall(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The first piece of a probe shows little: the streams before had one, too."""
    know_streams(breaker, clock)
    hanging = [stall(breaker, clock) for _ in range(8)]
    clock.advance(3.0)
    assert breaker.try_acquire() is None
    hanging.clear()

    for _ in range(600):
        clock.advance(0.1)
        permit = breaker.try_acquire()
        if permit is not None:
            clock.advance(0.01)
            pieces = permit.pieces()
            flow(pieces, clock, 0.3)
            pieces.asked()
            hanging.append((permit, pieces))
        assert breaker.metrics().state is not State.CLOSED

    assert len(hanging) < 40


def test_it_closes_when_streams_flow_again(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)
    hanging = [stall(breaker, clock) for _ in range(8)]
    clock.advance(3.0)
    assert breaker.try_acquire() is None
    hanging.clear()

    permits: list[Permit] = []
    flowing: list[Pieces] = []
    for _ in range(1000):
        for pieces in flowing:
            pieces.asked()
        clock.advance(0.05)
        for pieces in flowing:
            pieces.arrived()
        permit = breaker.try_acquire()
        if permit is not None:
            flowing.append(permit.pieces())
            permits.append(permit)
        if breaker.metrics().state is State.CLOSED:
            break

    assert breaker.metrics().state is State.CLOSED


def test_a_callee_that_pauses_for_good_becomes_normal(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock, streams=200)
    for _ in range(400):
        permit = breaker.try_acquire()
        if permit is None:
            clock.advance(1.0)
            continue
        clock.advance(0.1)
        pieces = permit.pieces()
        flow(pieces, clock, 0.01, 6.0, 0.01)
        permit.success()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures < 80


def test_a_piece_that_is_not_awaited_is_no_gap(breaker: Breaker, clock: ManualClock) -> None:
    permit, pieces = begin(breaker, clock)
    clock.advance(100.0)
    pieces.arrived()
    permit.success()

    assert breaker.metrics().failures == 0


def test_the_time_out_of_a_piece_is_learned(breaker: Breaker, clock: ManualClock) -> None:
    _, cold = begin(breaker, clock)
    assert cold.timeout == breaker.policy.slow_ceiling
    know_streams(breaker, clock, longest=0.5, streams=100)
    permit, pieces = begin(breaker, clock)

    assert 2.0 < pieces.timeout < breaker.policy.slow_ceiling
    breaker.mode = Mode.OBSERVE
    assert pieces.timeout == float("inf")
    permit.success()


def test_what_is_not_counted_has_pieces_without_effect(clock: ManualClock) -> None:
    breaker = Breaker("key", clock=clock, mode=Mode.DISABLED)
    permit, pieces = begin(breaker, clock)
    flow(pieces, clock, 100.0)
    permit.success()

    assert pieces.timeout == float("inf")
    assert breaker.metrics().failures == 0


def test_a_clock_that_fails_never_reaches_the_caller() -> None:
    broken = False

    def clock() -> float:
        if broken:
            raise OSError("no clock")
        return 0.0

    registry = Registry(clock=clock)
    permit = registry["key"].acquire()
    pieces = permit.pieces()
    broken = True
    pieces.asked()
    pieces.arrived()
    permit.success()
    broken = False

    assert registry.faults >= 1


def test_a_reset_forgets_the_gaps(breaker: Breaker, clock: ManualClock) -> None:
    know_streams(breaker, clock)
    _, pieces = begin(breaker, clock)
    assert pieces.timeout < breaker.policy.slow_ceiling

    breaker.reset()

    assert pieces.timeout == breaker.policy.slow_ceiling


def test_a_key_without_streams_has_no_table_of_them(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)

    assert breaker._calls.streams is None


def test_an_outcome_that_is_known_already_stays(breaker: Breaker, clock: ManualClock) -> None:
    permit, pieces = begin(breaker, clock)
    permit.end(Outcome.FAILURE, error="HTTP 502")
    pieces.asked()
    clock.advance(100.0)
    breaker.acquire().success()
    pieces.arrived()

    assert breaker.metrics().failures == 1


def test_a_first_piece_before_its_call_began_by_a_clock_that_went_back_took_no_time(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    clock.advance(-500.0)
    pieces = permit.pieces()
    pieces.asked()
    clock.advance(1e6)
    breaker.acquire().success()

    metrics = breaker.metrics()
    assert metrics.failures == 1
    assert metrics.mean >= 0.0


def test_a_breaker_that_broken_streams_opened_is_not_closed_by_streams_that_begin(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Each breaks off by the time-out of its caller, before it is known to have stalled."""
    know_streams(breaker, clock)
    admitted = 0
    for _ in range(400):
        permit = breaker.try_acquire()
        clock.advance(0.1)
        if permit is None:
            continue
        admitted += 1
        pieces = permit.pieces()
        pieces.asked()
        clock.advance(1.8)
        permit.failure("read time-out")

    assert breaker.state is not State.CLOSED
    assert admitted < 40


def test_streams_that_begin_do_not_outlive_those_that_broke_off(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A stream that broke off after two seconds is outlived after four, not after its first piece."""
    know_streams(breaker, clock)
    in_flight: list[Permit | None] = []
    admitted = 0
    for number in range(200):
        if number >= 16 and (ended := in_flight.pop(0)) is not None:
            ended.failure("read time-out")
        permit = breaker.try_acquire()
        clock.advance(0.125)
        if permit is not None:
            admitted += 1
            permit.pieces().asked()
        in_flight.append(permit)

    assert admitted < 40
