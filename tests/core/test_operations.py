"""Operations: calls timed elsewhere, orders by hand, and what a breaker shows of itself."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from tests.support.breaker_state import is_closed
from tests.support.limits import limit
from tests.support.training import learned, record

from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock, open_breaker

# Recording


@pytest.mark.parametrize(
    "latency", [nan, inf, -inf, -0.1, -1e308, 1e308, None, "fast", 1j, Decimal("NaN"), 10**400]
)
def test_a_latency_that_is_none_is_ignored_and_counted(clock: ManualClock, latency: Any) -> None:
    registry = Registry(clock=clock)
    breaker = registry["k"]
    before = breaker.metrics()

    for success in (True, False):
        breaker.record(latency, success)

    assert breaker.metrics() == before
    assert registry.strange_latencies == 2


@pytest.mark.parametrize("latency", [0.0, -0.0, 1e-300, True, 1, Decimal("0.5"), 1e8])
def test_any_other_number_is_a_latency(breaker: Breaker, latency: Any) -> None:
    breaker.record(latency, success=True)

    metrics = breaker.metrics()
    assert metrics.successes == 1
    assert metrics.mean == float(latency)
    assert metrics.in_flight == 0


def test_a_record_has_no_say_while_open(breaker: Breaker) -> None:
    open_breaker(breaker)

    record(breaker, 100, success=True)

    assert breaker.state is State.OPEN
    assert breaker.metrics().successes == 100


def test_a_record_is_a_probe_while_half_open(breaker: Breaker) -> None:
    open_breaker(breaker)
    breaker.half_open()

    record(breaker, 20, success=True)

    assert breaker.state is State.CLOSED


def test_a_finalizer_may_record_a_call_within_a_decision(clock: ManualClock) -> None:
    tried: list[None] = []
    made: list[Breaker] = []

    def chance() -> float:  # the circuit asks for it while it opens
        made[0].record(0.1, success=False)
        tried.append(None)
        return 0.5

    breaker = Breaker("k", clock=clock, random=chance)
    made.append(breaker)
    record(breaker, 20, success=False)

    assert tried == [None]
    assert breaker.state is State.OPEN


def test_records_of_slow_calls_limit_it_and_of_fast_ones_end_the_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 100, success=True)

    record(breaker, 5, success=True, latency=0.3)
    assert breaker.state is State.LIMITED
    assert breaker.metrics().in_flight == 0
    for _ in range(20):
        clock.advance(0.1)
        breaker.record(0.1, success=True)

    assert is_closed(breaker)


def test_a_record_is_not_heard_while_disabled(breaker: Breaker) -> None:
    breaker.mode = "disabled"

    record(breaker, 20, success=False)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().calls == 0


# By hand


def test_opened_by_hand_it_stays_open_until_told_otherwise(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("maintenance")

    clock.advance(1e7)

    assert breaker.try_acquire() is None
    assert breaker.explain() == "open until told otherwise: by hand: 'maintenance'"
    # A number that a header, a sleep and JSON can take.
    assert breaker.retry_after == breaker.refusal().retry_after == Policy().max_open_for


def test_opened_by_hand_for_a_time_it_looks_again_by_itself(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=30.0)

    clock.advance(29.0)
    assert breaker.try_acquire() is None
    assert breaker.retry_after == pytest.approx(1.0)
    clock.advance(1.0)

    assert breaker.try_acquire() is not None
    assert breaker.state is State.HALF_OPEN


def test_a_bad_probe_after_a_hand_opens_for_a_while_and_not_for_ever(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("maintenance")
    breaker.half_open()
    for _ in range(10):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
    assert breaker.state is State.OPEN

    clock.advance(Policy().max_open_for)

    assert breaker.try_acquire() is not None


def test_late_answers_do_not_close_what_a_hand_opened(breaker: Breaker, clock: ManualClock) -> None:
    record(breaker, 100, success=True)
    slow = [breaker.acquire() for _ in range(50)]
    clock.advance(Policy().latency_patience + 10.0)
    breaker.open("maintenance")

    for permit in slow:
        permit.success()

    assert breaker.state is State.OPEN


def test_brief_openings_by_hand_teach_nothing(breaker: Breaker, clock: ManualClock) -> None:
    record(breaker, 1000, success=True)
    before = breaker.metrics().normal_bad_rate

    for _ in range(50):
        breaker.open(for_=0.1)
        breaker.half_open()
        record(breaker, 20, success=True)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().normal_bad_rate <= before


def test_a_reset_closes_and_forgets(breaker: Breaker) -> None:
    record(breaker, 100, success=True)
    record(breaker, 50, success=False)

    breaker.reset()

    metrics = breaker.metrics()
    assert metrics.state is State.CLOSED
    assert metrics.p50 == metrics.evidence == 0.0
    assert metrics.slow_threshold == Policy().slow_ceiling
    # What was counted stays counted: these are totals.
    assert metrics.successes == 100


@pytest.mark.parametrize("for_", [-1.0, nan, -inf])
def test_opening_for_no_time_is_refused(breaker: Breaker, for_: float) -> None:
    with pytest.raises(ValueError, match="for_"):
        breaker.open(for_=for_)

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("for_", ["5", [], 1j, True])
def test_opening_for_what_is_no_time_is_refused(breaker: Breaker, for_: Any) -> None:
    with pytest.raises(TypeError, match="for_ must be a number of seconds >= 0, or None, not "):
        breaker.open(for_=for_)

    assert breaker.state is State.CLOSED


def test_a_time_in_place_of_the_reason_is_refused(breaker: Breaker) -> None:
    with pytest.raises(TypeError, match="reason must be a str, not 600: write for_="):
        breaker.open(600)  # type: ignore[arg-type]

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("for_", [inf, 10**400])
def test_opening_for_ever_is_opening_until_told_otherwise(
    breaker: Breaker, clock: ManualClock, for_: float
) -> None:
    breaker.open(for_=for_)
    clock.advance(1e9)

    assert breaker.try_acquire() is None
    assert breaker.explain() == "open until told otherwise: by hand"


def test_opened_for_no_time_the_next_call_is_a_probe(breaker: Breaker) -> None:
    breaker.open(for_=0)
    assert breaker.state is State.OPEN

    assert breaker.acquire().is_probe


def test_half_opened_by_hand_it_lets_many_probes_through_at_once(breaker: Breaker) -> None:
    breaker.open("maintenance")
    breaker.half_open()

    admitted = [breaker.try_acquire() for _ in range(20)]

    assert sum(permit is not None for permit in admitted) == Policy().half_open_requests


def test_half_opened_by_hand_a_wait_that_was_asked_for_binds_no_longer(breaker: Breaker) -> None:
    for _ in range(4):
        breaker.acquire().throttled(200.0)
    assert breaker.retry_after == pytest.approx(200.0)
    breaker.half_open()
    for _ in range(10):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
    assert breaker.state is State.OPEN

    assert breaker.retry_after <= Policy().max_open_for


# Orders within a decision


@pytest.mark.parametrize(
    "look",
    [
        lambda breaker: breaker.metrics().key == "k",
        lambda breaker: breaker.explain().startswith("closed"),
        lambda breaker: breaker.z_score(0.1) == 0.0,
        lambda breaker: breaker.slow_threshold == Policy().slow_ceiling,
        lambda breaker: not breaker.is_slow(0.1),
        lambda breaker: repr(breaker).startswith("<Breaker 'k' closed"),
        lambda breaker: breaker.refusal().key == "k",
        lambda breaker: breaker.retry_after == 0.0,
    ],
    ids=["metrics", "explain", "z_score", "threshold", "is_slow", "repr", "refusal", "retry_after"],
)
def test_within_a_decision_it_can_be_looked_at(clock: ManualClock, look: Any) -> None:
    """By a finalizer or a signal handler that interrupts one on its own thread."""
    seen: list[bool] = []
    made: list[Breaker] = []

    def chance() -> float:  # the circuit asks for it while it opens
        seen.append(look(made[0]))
        return 0.5

    made.append(Breaker("k", clock=clock, random=chance))
    record(made[0], 20, success=False)

    assert seen == [True]


def test_within_a_decision_it_can_be_reset(clock: ManualClock) -> None:
    seen: list[State] = []
    made: list[Breaker] = []

    def chance() -> float:
        made[0].reset()
        seen.append(made[0].state)
        return 0.5

    made.append(Breaker("k", clock=clock, random=chance))
    record(made[0], 20, success=False)

    assert set(seen) == {State.CLOSED}
    assert made[0].metrics().in_flight == 0


# What it shows


def test_figures_are_of_one_moment(breaker: Breaker, clock: ManualClock) -> None:
    ways = ["success", "failure", "throttled", "ignore", "cancel"]
    for way in ways:
        getattr(breaker.acquire(), way)()
    breaker.record(0.1, success=True)
    left = breaker.acquire()
    breaker.open(for_=5.0)
    assert breaker.try_acquire() is None
    clock.advance(2.0)

    metrics = breaker.metrics()

    assert metrics.calls == 8
    ended = metrics.successes + metrics.failures + metrics.throttled
    ended += metrics.ignored + metrics.cancelled
    assert (ended, metrics.refused, metrics.in_flight) == (6, 1, 1)
    assert metrics.retry_after == pytest.approx(3.0)
    assert metrics.state is State.OPEN
    left.cancel()


def test_looking_does_not_change_it(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    breaker.open(for_=1.0)
    clock.advance(2.0)
    before = breaker.metrics()

    for look in (breaker.explain, breaker.refusal, breaker.__repr__):
        look()
    breaker.z_score(1.0)
    breaker.is_slow(1.0)

    assert breaker.metrics() == before
    assert breaker.state is State.OPEN


def test_what_is_slow_is_told_by_threshold_and_by_z_score(
    breaker: Breaker, clock: ManualClock
) -> None:
    assert breaker.slow_threshold == Policy().slow_ceiling
    assert breaker.z_score(1.0) == 0.0
    assert not breaker.is_slow(1000.0)

    learned(breaker, clock)

    threshold = breaker.slow_threshold
    assert breaker.z_score(0.1) == pytest.approx(0.0, abs=0.2)
    assert breaker.z_score(threshold) == pytest.approx(Policy().failure_threshold_z_score)
    assert breaker.is_slow(1.01 * threshold)
    assert not breaker.is_slow(0.99 * threshold)


def test_its_repr_says_which_it_is_and_what_it_does(breaker: Breaker) -> None:
    breaker.open("maintenance")

    assert repr(breaker) == "<Breaker 'k' open until told otherwise: by hand: 'maintenance'>"


@pytest.mark.parametrize("order", ["open", "half_open"])
def test_an_order_that_comes_while_a_breaker_opens_is_carried_out(order: str) -> None:
    """A signal handler may give it, or a user's source of chance."""
    made: list[Breaker] = []

    def chance() -> float:
        getattr(made[0], order)()
        return 0.5

    made.append(Breaker("k", clock=ManualClock(1000.0), random=chance))
    while made[0].state is State.CLOSED:
        made[0].record(0.1, success=False)

    assert made[0].state is (State.OPEN if order == "open" else State.HALF_OPEN)


@pytest.mark.parametrize(
    ("orders", "now", "later"),
    [
        ([], True, True),
        (["open"], False, False),
        (["open", "half_open"], False, True),
        (["open", "reset"], True, True),
        (["limit"], False, True),
        (["fail"], False, True),
    ],
)
def test_a_breaker_that_is_not_closed_can_be_dropped_once_it_was_left_alone(
    breaker: Breaker, clock: ManualClock, orders: list[str], now: bool, later: bool
) -> None:
    for order in orders:
        if order == "limit":
            limit(breaker, clock)
        elif order == "fail":
            record(breaker, 30, success=False)
        else:
            getattr(breaker, order)()

    assert breaker.metrics().in_flight == 0
    assert breaker.is_spare(clock()) is now
    clock.advance(30.0)
    assert breaker.is_spare(clock()) is now
    clock.advance(60.0)
    assert breaker.is_spare(clock()) is later


def test_a_breaker_with_a_call_in_flight_cannot_be_dropped(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    assert not breaker.is_spare(clock() + 1e9)

    permit.success()

    assert breaker.is_spare(clock())
