"""Calls with a label or a size, while they are in flight: when they are overdue."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.breaker_state import is_closed
from tests.support.labelled_load import MIXED, Load, make
from tests.support.training import learned

from recloser import LONG_POLL, Breaker, State
from recloser.testing import ManualClock


@pytest.mark.parametrize("labels", [{}, {"long": 30.0}])
def test_long_labelled_calls_do_not_hide_unlabelled_ones_that_hang(
    clock: ManualClock, labels: dict[str, float]
) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, {"": 0.1, **labels}), 0.5)
    load.run([("long", 30.0)] * 10 if labels else [("", 0.1)] * 10, 0.01)

    took = load.run([("", inf)] * 100, 0.02, until=State.LIMITED)

    assert breaker.state is State.LIMITED
    assert took < 0.4


def test_labelled_calls_that_hang_are_overdue_after_their_own_time(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, {"": 0.1, "long": 3.0}), 0.5)
    load.end_all()
    threshold = breaker.slow_threshold

    held = [breaker.acquire("long") for _ in range(6)]
    clock.advance(20 * threshold)
    breaker.acquire().success()
    assert breaker.metrics().evidence == 0.0
    clock.advance(20 * threshold)
    breaker.try_acquire()

    assert breaker.metrics().evidence > 0.0 or not is_closed(breaker)
    assert not any(permit.ended for permit in held)


def test_a_watched_call_that_is_cancelled_after_its_time_has_hung(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, {"": 0.1, "long": 3.0}), 0.5)
    load.end_all()
    in_time, hung = breaker.acquire("long"), breaker.acquire("long")
    clock.advance(1.0)
    breaker.acquire().success()

    in_time.cancel()
    assert breaker.metrics().evidence == 0.0
    clock.advance(19.0)
    hung.cancel()

    assert breaker.metrics().evidence > 0.0


def test_a_labelled_call_that_began_to_answer_in_its_time_is_not_overdue(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, {"": 0.1, "long": 3.0}), 0.5)
    load.end_all()
    in_time, too_late = breaker.acquire("long"), breaker.acquire("long")

    clock.advance(3.0)
    in_time.mark()
    clock.advance(1.0)
    breaker.acquire().success()
    assert breaker.metrics().evidence == 0.0

    clock.advance(100.0)
    too_late.mark()
    breaker.acquire().success()
    too_late.success()
    assert breaker.metrics().slow == 1
    in_time.success()
    assert breaker.metrics().slow == 1


def test_many_long_calls_at_once_are_not_late(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(3000, {"": 0.1, "long": 3.0}), 0.5)
    load.end_all()
    breaker.acquire().success()
    assert breaker._circuit.detector.evidence.is_settled

    held = [breaker.acquire("long") for _ in range(40)]
    clock.advance(0.9 * breaker.slow_threshold)
    breaker.acquire().success()
    clock.advance(0.05 * breaker.slow_threshold)
    breaker.acquire().success()

    assert is_closed(breaker)
    assert breaker.metrics().evidence == 0.0
    assert len(held) == 40


def test_long_calls_in_flight_when_latencies_become_known_are_not_overdue(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    held = breaker.acquire("export")
    clock.advance(30.0)

    learned(breaker, clock)

    assert held.token not in breaker._circuit.calls.overdue
    held.success()
    assert breaker.metrics().slow == 0


def is_open(breaker: Breaker) -> bool:
    return breaker.state is State.OPEN


def test_nothing_comes_back_only_after_the_time_of_the_longest_call(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, {"": 0.1, "long": 3.0}), 0.5)
    load.end_all()
    load.run([("", 0.5)] * 100, 0.05, until=State.LIMITED)
    load.end_all()
    held = [breaker.try_acquire("long") for _ in range(20)]
    assert None in held

    clock.advance(20 * breaker.slow_threshold)
    breaker.try_acquire()
    assert not is_open(breaker)
    clock.advance(700 * breaker.slow_threshold)  # all calls take five times as long now
    breaker.try_acquire()
    assert is_open(breaker)


def test_where_sizes_are_told_at_the_end_a_call_in_flight_may_be_of_any(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1500, MIXED), 0.5, sizes=True)
    load.end_all()
    shortest = breaker._circuit.detector.baseline.threshold
    held = breaker.acquire()

    clock.advance(min(5.0, 10.0 * shortest))
    breaker.acquire().success()
    assert breaker.metrics().evidence == 0.0
    clock.advance(40.0)
    breaker.acquire().success()
    assert breaker.metrics().evidence > 0.0
    assert not held.ended


def test_sizes_told_at_the_end_explain_the_latency_too(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)

    load.run(load.labels(1500, MIXED), 0.5, sizes=True)

    assert is_closed(breaker)
    assert load.refused <= 15  # while it was learned
    generation, refused = breaker.metrics().generation, load.refused
    load.run(load.labels(5000, MIXED), 0.5, sizes=True)
    assert breaker.metrics().generation == generation
    assert load.refused == refused


def test_such_calls_that_hang_are_noticed_after_the_longest_time(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1500, MIXED), 0.5, sizes=True)

    took = load.run([("", inf)] * 200, 0.5, until=State.LIMITED, sizes=True)

    assert breaker.state is State.LIMITED
    assert 6.4 < took < 40.0


def test_a_size_told_at_the_end_matters_to_calls_of_its_label_only(clock: ManualClock) -> None:
    breaker = make(clock)
    for number in range(1200):
        long = number % 3 == 0
        permit = breaker.acquire("essay" if number % 2 else "word", 10.0)
        clock.advance((10.0 if long else 0.5) if number % 2 else 0.2)
        if number % 2:
            permit.size = 1000.0 if long else 10.0
        permit.success()
    essay, word = breaker.acquire("essay", 10.0), breaker.acquire("word", 10.0)

    assert is_closed(breaker)
    assert breaker.ratio_of(essay.token) > 20.0 * breaker.ratio_of(word.token)
    assert breaker.timeout_of(essay.token) > 20.0
    assert breaker.timeout_of(word.token) < 5.0


def test_long_polls_are_neither_slow_nor_learned_nor_cut_off(clock: ManualClock) -> None:
    breaker = make(clock)
    for _ in range(100):
        clock.advance(0.1)
        permit = breaker.acquire()
        clock.advance(0.05)
        permit.success()
    known = breaker.slow_threshold
    polls = [breaker.acquire(LONG_POLL) for _ in range(20)]
    waits = [poll.timeout for poll in polls]
    for _ in range(100):
        clock.advance(1.0)
        breaker.acquire().success()
    for poll in polls:
        poll.success()

    assert waits == [inf] * 20
    assert breaker.metrics().evidence == 0.0
    assert breaker.slow_threshold == pytest.approx(known, rel=0.3)
    assert is_closed(breaker)


def test_long_polls_that_fail_open_all_the_same(clock: ManualClock) -> None:
    breaker = make(clock)
    for _ in range(100):
        clock.advance(0.1)
        breaker.acquire().success()

    for _ in range(5):
        poll = breaker.acquire(LONG_POLL)
        clock.advance(20.0)
        poll.failure()

    assert breaker.state is State.OPEN


def test_a_long_poll_that_is_the_probe_does_not_hold_the_door(clock: ManualClock) -> None:
    breaker = make(clock)
    for _ in range(100):
        clock.advance(0.1)
        breaker.acquire().success()
    for _ in range(5):
        breaker.acquire().failure()
    assert breaker.state is State.OPEN
    while (poll := breaker.try_acquire(LONG_POLL)) is None:
        clock.advance(0.1)

    refused = 0
    for _ in range(100):
        clock.advance(0.1)
        permit = breaker.try_acquire()
        if permit is None:
            refused += 1
        else:
            clock.advance(0.01)
            permit.success()

    assert refused <= 2
    assert is_closed(breaker)
    poll.success()
