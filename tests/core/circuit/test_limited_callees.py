"""Limited callees: what becomes of a mixture, a sickness, an overload, and of no answer at all."""

from __future__ import annotations

from math import ceil
from random import Random

import pytest
from tests.support.limits import (
    everyday_latency,
    fill,
    hang,
    limit,
    limit_of,
    play,
    rule,
    serve,
    served_until,
    slow_down,
)
from tests.support.training import learned, teach

from recloser import Breaker, Permit, Policy, Registry, State
from recloser.testing import ManualClock

CLOSED, LIMITED = State.CLOSED, State.LIMITED
OPEN, HALF_OPEN = State.OPEN, State.HALF_OPEN


# Mixtures and sickness


def test_a_mixture_refuses_nobody_and_is_accepted(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)
    began, refused = clock.now, 0

    while breaker.state is LIMITED:
        for latency in (0.1, 0.3, 0.3):
            refused += serve(breaker, clock, latency, 1)
        assert clock.now < began + 1_000.0

    assert refused == 0
    assert rule(breaker) == "mixed"
    assert clock.now - began <= Policy().latency_patience + 10.0
    # It is normal from now on.
    for latency in (0.1, 0.3, 0.3) * 100:
        serve(breaker, clock, latency, 1)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("latency", [0.1, 0.3])
def test_a_limit_that_doubles_with_each_round_stays_a_number(
    breaker: Breaker, clock: ManualClock, latency: float
) -> None:
    """Of calls of 0.05 s there are thousands of rounds until a mixture or sickness is accepted."""
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock)
    limit_of(breaker).size = 1e6

    for _ in range(20):
        for each in (latency, 0.3, 0.3):
            serve(breaker, clock, each, 1)

    assert 1_000.0 < limit_of(breaker).size <= 1e6
    assert breaker.explain().startswith("limited: at most 1000000 calls at a time")


@pytest.mark.parametrize("latency", [0.25, 0.3, 0.4])
def test_a_mild_sickness_refuses_nobody_and_is_the_new_normal_in_the_end(
    breaker: Breaker, clock: ManualClock, latency: float
) -> None:
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, latency)
    began, refused = clock.now, 0

    while breaker.state is LIMITED:
        refused += serve(breaker, clock, latency, 1)
        assert clock.now < began + 1_000.0

    assert refused == 0
    assert rule(breaker) == "new_normal"
    patience = Policy().latency_patience
    assert 1.5 * patience < clock.now - began <= 2.0 * patience + 5.0


def test_a_latency_below_the_threshold_is_no_new_normal_while_it_may_be_rising(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Or a flash crowd makes the latency on its way up the new normal after a fraction of a second."""
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, 0.3)
    began, refused = clock.now, 0

    while breaker.state is LIMITED:
        refused += serve(breaker, clock, 0.9 * breaker.slow_threshold, 1)
        assert clock.now < began + 100.0

    assert refused == 0
    assert rule(breaker) == "new_normal"
    assert clock.now - began >= 9.0


def test_a_second_step_takes_its_patience_even_if_it_is_below_the_threshold(
    breaker: Breaker, clock: ManualClock
) -> None:
    """After the first one the threshold is at 4.5 times the old latency. Or a slow-down that comes
    bit by bit would be accepted bit by bit."""
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, 0.3)
    while breaker.state is LIMITED:
        serve(breaker, clock, 0.3, 1)
    assert rule(breaker) == "new_normal"
    for _ in range(200):  # a trouble that comes back within half a minute goes on
        serve(breaker, clock, 0.3, 1)
    slow_down(breaker, clock, 0.46)
    assert breaker.slow_threshold == pytest.approx(0.45, rel=0.01)
    began = clock.now

    while breaker.state is LIMITED:
        serve(breaker, clock, 0.44, 1)
        assert clock.now < began + 1_000.0

    assert rule(breaker) == "new_normal"
    assert clock.now - began > 0.7 * Policy().latency_patience


def test_a_mild_sickness_of_many_calls_at_a_time_refuses_hardly_any(
    breaker: Breaker, clock: ManualClock
) -> None:
    play(breaker, clock, everyday_latency, 50.0, 200.0)

    admitted, refused = play(
        breaker, clock, lambda chance, running: 3.0 * everyday_latency(chance, running), 50.0, 300.0
    )

    assert breaker.state is CLOSED
    # The limit is halved for a round to find out whether it is load.
    assert refused < 0.001 * admitted


@pytest.mark.parametrize("faster", [10.0, 100.0])
@pytest.mark.parametrize("latency", [0.06, 0.08, 0.1])
def test_however_fast_a_callee_was_a_latency_that_nobody_notices_refuses_hardly_any(
    breaker: Breaker, clock: ManualClock, faster: float, latency: float
) -> None:
    """From 1 ms, 0.1 s is a hundred times as long."""
    play(breaker, clock, lambda chance, running: everyday_latency(chance, running) / faster, 50, 99)

    admitted, refused = play(
        breaker,
        clock,
        lambda chance, running: latency / 0.1 * everyday_latency(chance, running),
        50.0,
        300.0,
    )

    assert refused < 0.01 * admitted


def test_a_severe_sickness_gets_one_call_at_a_time_until_the_patience_ends(
    breaker: Breaker, clock: ManualClock
) -> None:
    play(breaker, clock, everyday_latency, 20.0, 200.0)
    patience = Policy().latency_patience

    def sick(chance: Random, running: int) -> float:
        return 9.0 * everyday_latency(chance, running)

    admitted, refused = play(breaker, clock, sick, 20.0, patience - 15.0)
    assert breaker.state is LIMITED
    assert "limited: one call at a time, " in breaker.explain()
    one_at_a_time = (patience - 15.0) / 0.9
    assert 0.8 * one_at_a_time < admitted < 1.3 * one_at_a_time
    assert refused > 10.0 * admitted

    play(breaker, clock, sick, 20.0, 25.0)
    assert breaker.state is CLOSED
    assert rule(breaker) == "new_normal"


def test_after_the_patience_the_load_returns_only_as_far_as_the_callee_can_take_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Single calls are slow because of the calls of others. All at once would be far too many."""
    play(breaker, clock, everyday_latency, 20.0, 200.0)
    most, latest = 0, 0

    def shared(chance: Random, running: int) -> float:
        nonlocal most, latest
        most, latest = max(most, running), running
        return max(running, 3) / 3 * 0.9 * (0.9 + 0.2 * chance.random())

    play(breaker, clock, shared, 20.0, Policy().latency_patience - 15.0)
    assert latest <= 1
    before = breaker.metrics().p50
    most = 0
    play(breaker, clock, shared, 20.0, 120.0)

    assert breaker.metrics().p50 > 5.0 * before  # the latency of single calls was accepted
    assert breaker.state is LIMITED
    assert 3 <= most <= 30  # all at once, they are 140


def test_a_severe_sickness_of_a_key_with_few_calls_refuses_few(
    breaker: Breaker, clock: ManualClock
) -> None:
    """One call at a time is all that comes, so there is nothing to save."""
    play(breaker, clock, everyday_latency, 0.2, 5_000.0)

    admitted, refused = play(
        breaker, clock, lambda chance, running: 9.0 * everyday_latency(chance, running), 0.2, 600.0
    )

    # The others come while the single one is answered.
    assert refused < 0.3 * admitted


def test_a_sickness_that_comes_and_goes_is_accepted_after_the_patience(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A relapse is the same trouble: its answers and its time go on."""
    play(breaker, clock, everyday_latency, 20.0, 200.0)

    def sick(chance: Random, running: int) -> float:
        return 9.0 * everyday_latency(chance, running)

    began, refused = clock.now, 0
    while clock.now - began < 2.0 * Policy().latency_patience:
        refused = play(breaker, clock, sick, 20.0, 10.0)[1]
        play(breaker, clock, everyday_latency, 20.0, 10.0)

    assert refused < 0.2 * 10.0 * 20.0


def test_a_severe_sickness_that_ends_lets_the_load_return_soon(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, 0.9)
    while not limit_of(breaker).is_pausing:
        serve(breaker, clock, 0.9, 1, gap=0.1)
    serve(breaker, clock, 0.9, 20, gap=0.1)

    assert served_until(CLOSED, breaker, clock, 0.1) < 25.0


def test_what_was_learned_in_seconds_is_no_reason_to_wait_for_minutes(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    known_for = 8.5  # from the thirtieth call to the first limit

    slow_down(breaker, clock)

    assert served_until(CLOSED, breaker, clock, 0.3, gap=0.0) < 2.0 * known_for + 5.0
    assert rule(breaker) == "new_normal"


def test_load_is_limited_to_what_the_callee_can_take(breaker: Breaker, clock: ManualClock) -> None:
    """It serves ten calls at a time in 0.1 s each; with more of them, each takes longer."""
    play(breaker, clock, everyday_latency, 50.0, 200.0)

    def loaded(chance: Random, running: int) -> float:
        return everyday_latency(chance, running) * max(running / 10.0, 1.0)

    admitted, refused = play(breaker, clock, loaded, 200.0, 60.0)

    assert breaker.state is not OPEN
    assert refused > 0.3 * admitted
    assert admitted > 0.7 * 100.0 * 60.0
    assert served_until(CLOSED, breaker, clock, 0.1) < 70.0


def test_a_latency_that_one_call_at_a_time_shows_is_the_new_normal_even_if_it_looked_like_load(
    breaker: Breaker, clock: ManualClock
) -> None:
    """It fell by chance when the limit was halved, and then it stayed above the threshold."""
    teach(breaker, clock, [0.1] * 3_000)
    slow_down(breaker, clock, 1.0)
    serve(breaker, clock, 1.0, 16)
    assert limit_of(breaker).size == 1.0

    served_until(CLOSED, breaker, clock, 0.4, gap=5.0)

    assert rule(breaker) == "new_normal"


def test_a_key_of_which_nothing_is_known_is_limited_by_the_ceiling_and_eased(
    registry: Registry, clock: ManualClock
) -> None:
    breaker = registry["k"]
    slow_down(breaker, clock, 61.0)

    served_until(CLOSED, breaker, clock, 1.0)

    assert rule(breaker) == "eased"
    assert registry.faults == 0


# Nothing comes back


def test_a_callee_that_is_mute_opens_it(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)
    threshold, began = breaker.slow_threshold, clock.now

    hang(breaker, clock, until=OPEN)

    assert rule(breaker) == "mute"
    typical = max(threshold, 0.3)
    assert 7.0 * threshold < clock.now - began < 9.0 * typical


def test_a_silence_without_calls_is_not_mute(breaker: Breaker, clock: ManualClock) -> None:
    limit(breaker, clock)

    clock.advance(3_600.0)
    running = fill(breaker)

    assert breaker.state is LIMITED
    assert len(running) == ceil(limit_of(breaker).size)


def test_calls_that_never_come_back_do_not_fill_the_limit_of_a_callee_that_recovered(
    breaker: Breaker, clock: ManualClock
) -> None:
    """It refused every call for ever."""
    learned(breaker, clock)
    hung = hang(breaker, clock, until=OPEN)

    assert served_until(CLOSED, breaker, clock, 0.1) < 10.0

    assert breaker.metrics().in_flight == len(hung)


def test_calls_that_never_come_back_do_not_fill_the_limit_after_one_of_them_did(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    hung = hang(breaker, clock, until=OPEN)

    hung.pop(0).success()
    assert breaker.state is LIMITED
    assert rule(breaker) == "comes_back"

    assert served_until(CLOSED, breaker, clock, 0.1) < 30.0


def test_a_call_that_came_back_after_all_limits_again(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    hung = hang(breaker, clock, until=OPEN)
    generation = breaker.metrics().generation

    hung[-1].success()

    assert breaker.state is LIMITED
    assert breaker.metrics().generation == generation + 1
    assert limit_of(breaker).size == breaker._circuit.running == len(hung) - 1
    assert breaker._circuit.recovery is not None
    assert breaker._circuit.recovery.was_slow


@pytest.mark.parametrize("way", ["failure", "cancel", "ignore"])
def test_a_call_that_ends_otherwise_does_not(
    breaker: Breaker, clock: ManualClock, way: str
) -> None:
    learned(breaker, clock)
    hung = hang(breaker, clock, until=OPEN)

    for permit in hung:
        getattr(permit, way)()

    assert breaker.state is OPEN


def test_a_call_that_comes_back_does_not_limit_what_failed_or_what_a_hand_opened(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    before = [breaker.acquire() for _ in range(3)]
    for _ in range(20):
        breaker.record(0.1, success=False)
    assert breaker.state is OPEN
    before.pop().success()
    assert breaker.state is OPEN

    breaker.reset()
    limit(breaker, clock)
    before = fill(breaker)
    breaker.open("maintenance")
    for permit in before:
        permit.success()
    assert breaker.state is OPEN


@pytest.mark.parametrize("way", ["failure", "cancel"])
def test_calls_that_all_time_out_open_it_however_few_there_are(
    breaker: Breaker, clock: ManualClock, way: str
) -> None:
    """One call at a time: none is refused, so silence alone would not be noticed."""
    limit(breaker, clock)

    # Who leaves may not need the answer any more, before nothing has come back for ten seconds.
    for _ in range(20 if way == "failure" else 30):
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(1.0)
            getattr(permit, way)()

    assert breaker.state is OPEN
    assert rule(breaker) == "failing"


@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0])
def test_a_callee_that_dies_behind_a_wide_limit_costs_no_more_calls_than_another(
    breaker: Breaker, clock: ManualClock, rate: float
) -> None:
    """Nobody is refused, so nobody asks whether it is silent. Callers time out after 2 s."""
    limit(breaker, clock)
    limit_of(breaker).size = 50.0
    serve(breaker, clock, 0.3, 3)

    calls, running = 0, list[tuple[float, Permit]]()
    while breaker.state is LIMITED:
        if (permit := breaker.try_acquire()) is not None:
            running.append((clock.now, permit))
            calls += 1
        clock.advance(1.0 / rate)
        while running and clock.now - running[0][0] >= 2.0:
            running.pop(0)[1].failure(TimeoutError())
        assert calls < 1_000

    assert breaker.state is OPEN
    assert calls <= 10 + 4.0 * rate


def test_calls_that_fail_lower_the_limit_first_and_open_it_if_that_is_no_help(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    running = [breaker.acquire() for _ in range(20)]
    clock.advance(0.3)
    while breaker.state is CLOSED:
        running.pop(0).success()
    size = limit_of(breaker).size

    sizes: list[float] = []
    while breaker.state is LIMITED:
        breaker.acquire().failure()
        clock.advance(0.01)
        if breaker.state is LIMITED:
            sizes.append(limit_of(breaker).size)

    assert breaker.state is OPEN
    assert min(sizes) == 0.75 * size


# Pauses that the callee asks for


@pytest.mark.parametrize("asked", [7.0, None])
def test_a_limited_breaker_opens_if_all_calls_are_asked_to_wait(
    breaker: Breaker, clock: ManualClock, asked: float | None
) -> None:
    limit(breaker, clock)
    for _ in range(60):
        if (permit := breaker.try_acquire()) is not None:
            permit.throttled(asked)

    assert breaker.state is OPEN
    assert rule(breaker) == "retry_after"
    # A time that is named is believed at first while it refuses 20 calls: here they come ten a second.
    assert breaker.retry_after == pytest.approx(2.0 if asked else 1.0)


def test_a_few_calls_that_are_asked_to_wait_do_not_open_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    """One tenant's quota is none of the others' business."""
    learned(breaker, clock)
    running = [breaker.acquire() for _ in range(12)]
    clock.advance(0.3)
    while breaker.state is CLOSED:
        running.pop(0).success()

    for call in range(60):
        permit = breaker.acquire()
        clock.advance(0.3)
        if call % 6:
            permit.success()
        else:
            permit.throttled(60.0)

    assert breaker.state is not OPEN
    assert breaker.metrics().throttled == 10
    assert breaker.metrics().refused == 0


def test_a_late_429_does_not_change_the_wait_of_a_busy_breaker(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    hung = [breaker.acquire() for _ in range(3)]
    while breaker.state is not OPEN:
        breaker.acquire().throttled(20.0)
    wait = breaker.retry_after

    hung.pop().throttled(0.5 * wait)
    assert breaker.retry_after == pytest.approx(wait)
    hung.pop().throttled(wait + 30.0)
    assert breaker.retry_after == pytest.approx(wait)

    breaker.half_open()
    hung.pop().throttled(60.0)
    assert breaker.state is HALF_OPEN
