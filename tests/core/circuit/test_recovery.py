"""Recovery: when the callee is looked at again, which probes pass, and what closes the breaker."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from math import inf, nan

import pytest
from tests.support.breaker_state import is_closed
from tests.support.training import learned, record, teach

from recloser import Breaker, Outcome, Permit, Policy, State
from recloser._circuit.recovery import Recovery, Step
from recloser._circuit.votes import Ending, Vote
from recloser.testing import ManualClock

# Probes


def test_of_200_callers_at_half_open_only_the_window_passes(
    breaker: Breaker, clock: ManualClock
) -> None:
    async def caller() -> Permit | None:
        permit = breaker.try_acquire()
        await asyncio.sleep(0)
        return permit

    async def all_at_once() -> list[Permit | None]:
        return await asyncio.gather(*(caller() for _ in range(200)))

    breaker.open(for_=5.0)
    clock.advance(5.0)

    admitted = [permit for permit in asyncio.run(all_at_once()) if permit is not None]

    assert len(admitted) == 1
    assert admitted[0].is_probe
    assert breaker.metrics().refused == 199


def test_the_window_widens_with_each_good_probe_and_only_by_little(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=5.0)
    clock.advance(5.0)
    widths: list[int] = []

    for _ in range(8):
        permits: list[Permit] = []
        while (permit := breaker.try_acquire()) is not None:
            permits.append(permit)
        widths.append(len(permits))
        permits[0].success()
        for permit in permits[1:]:
            permit.cancel()

    assert breaker.state is State.CLOSED
    assert widths[0] == 1
    assert all(0 < next_one - one <= 4 for one, next_one in pairwise(widths))


def test_a_hung_probe_never_wedges_it(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    breaker.open(for_=1.0)
    clock.advance(1.0)
    hung = breaker.acquire()
    assert breaker.try_acquire() is None

    for _ in range(100):
        clock.advance(breaker.retry_after + 0.001)
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(0.1)
            permit.success()
        if breaker.state is State.CLOSED:
            break

    assert breaker.state is State.CLOSED
    assert not hung.ended


def test_the_lease_of_a_probe_ends_at_the_slow_threshold(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.open(for_=1.0)
    clock.advance(1.0)
    probe = breaker.acquire()

    clock.advance(breaker.slow_threshold * 0.99)
    assert breaker.try_acquire() is None
    assert probe.is_probe
    clock.advance(breaker.slow_threshold * 0.02)
    breaker.try_acquire()

    assert not probe.is_probe
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("how", ["cancel", "ignore", "drop"])
def test_a_probe_without_a_verdict_gives_its_slot_back(
    breaker: Breaker, clock: ManualClock, how: str
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)

    for _ in range(10_000 if how == "cancel" else 100):
        permit = breaker.try_acquire()
        assert permit is not None
        assert permit.is_probe
        if how != "drop":
            getattr(permit, how)()
        del permit

    assert breaker.state is State.HALF_OPEN
    assert breaker.metrics().in_flight == 0


def test_a_throttled_probe_gives_its_slot_back_and_opens_again_only_if_it_is_the_first(
    breaker: Breaker, clock: ManualClock
) -> None:
    """One tenant's limit must not keep all others out."""
    breaker.open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().throttled()
    assert breaker.metrics().state is State.OPEN

    clock.advance(breaker.retry_after)
    breaker.acquire().success()
    breaker.acquire().throttled()

    assert breaker.state is State.HALF_OPEN
    assert breaker.metrics().in_flight == 0


def test_probes_that_are_told_to_wait_too_often_open_again(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().success()

    for _ in range(8):
        if (permit := breaker.try_acquire()) is not None:
            permit.throttled(7.0)

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(7.0)


def test_each_probe_that_is_told_to_wait_after_failures_is_one_bad_probe(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 10, success=False)
    assert breaker.state is State.OPEN
    clock.advance(breaker.retry_after)
    breaker.acquire().success()
    recovery = breaker._circuit.recovery
    assert recovery is not None

    for number in range(1, 3):
        breaker.acquire().throttled(7.0)
        assert (recovery.share.good, recovery.share.failed) == (1, number)


def test_pauses_for_which_a_callee_names_no_time_double(
    breaker: Breaker, clock: ManualClock
) -> None:
    waits: list[float] = []
    while breaker.state is State.CLOSED:
        breaker.acquire().throttled()

    for _ in range(9):
        waits.append(breaker.retry_after)
        clock.advance(breaker.retry_after)
        breaker.acquire().throttled()

    assert waits == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])


def test_a_failed_probe_opens_again_at_once(breaker: Breaker, clock: ManualClock) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)

    breaker.acquire().failure()

    assert breaker.state is State.OPEN
    assert breaker.retry_after > 0.0


def test_probes_that_answer_without_end_close_it_all_the_same(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.open(for_=1.0)
    clock.advance(1.0)
    streams: list[Permit] = []

    for _ in range(500):
        if breaker.state is State.CLOSED:
            break
        if (stream := breaker.try_acquire()) is not None:
            streams.append(stream)
            stream.mark()
        clock.advance(0.1)

    assert breaker.state is State.CLOSED


# From the outage to normal traffic


def test_an_outage_that_turns_into_slowness_ends(breaker: Breaker, clock: ManualClock) -> None:
    """It began with failures, and the callee came back three times slower, for good."""
    teach(breaker, clock, [0.1] * 300)
    for _ in range(100):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
        clock.advance(0.1)
    assert not is_closed(breaker)

    for _ in range(20_000):
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(1.0)
            permit.success()
            if is_closed(breaker):
                break
        clock.advance(0.1)

    assert is_closed(breaker)


@pytest.mark.parametrize("begins", ["failures", "hand", "throttled"])
def test_a_healthy_callee_gets_its_traffic_back(
    breaker: Breaker, clock: ManualClock, begins: str
) -> None:
    if begins == "failures":
        record(breaker, 30, success=False)
    elif begins == "hand":
        breaker.open(for_=10.0)
    else:
        for _ in range(4):
            breaker.acquire().throttled(10.0)
    assert not is_closed(breaker)

    began = clock.now
    while not is_closed(breaker) and clock.now < began + 100.0:
        clock.advance(0.05)
        if (permit := breaker.try_acquire()) is not None:
            permit.success()

    assert is_closed(breaker)
    assert clock.now - began < 15.0


def test_the_first_call_after_a_month_of_silence_is_admitted(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 30, success=False)
    clock.advance(1.0)
    breaker.acquire().ignore()
    assert breaker.state is State.HALF_OPEN

    clock.advance(30 * 86_400.0)

    assert breaker.try_acquire() is not None


def test_looks_are_never_further_apart_than_max_open_for(
    breaker: Breaker, clock: ManualClock
) -> None:
    record(breaker, 30, success=False)

    for _ in range(200):
        assert breaker.retry_after <= Policy().max_open_for + 1e-6
        clock.advance(breaker.retry_after)
        permit = breaker.try_acquire()
        assert permit is not None
        permit.failure()


@pytest.mark.parametrize("chance", [nan, inf, -inf, -1e9, 1e9, 0.0, 1.0])
def test_a_strange_source_of_chance_leaves_waits_near_what_they_were(chance: float) -> None:
    breaker = Breaker("k", clock=ManualClock(), random=lambda: chance)

    record(breaker, 30, success=False)

    assert breaker.state is State.OPEN
    assert 0.9 * Policy().open_for <= breaker.retry_after <= 1.1 * Policy().open_for


def test_while_half_open_the_wait_is_that_of_a_look_not_of_a_lease(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)
    probe = breaker.acquire()

    assert breaker.try_acquire() is None
    assert probe.is_probe
    assert 0.0 <= breaker.refusal().retry_after <= Policy().open_for


def test_after_failures_a_slow_answer_is_a_good_probe(policy: Policy) -> None:
    """The callee answers. If it is slow, a limit deals with that once the breaker is closed."""
    recovery = Recovery(policy, 0.0, 1, run=5)
    slow = Ending(9, Outcome.SUCCESS, 5.0, 1.0)

    steps = [recovery.vote(Vote.SLOW, slow, 1, 0.02) for _ in range(10)]

    assert Step.RECOVERED in steps
    assert recovery.share.good == 10


@pytest.mark.parametrize(
    ("run", "slow", "expected"), [(5, False, True), (5, True, False), (0, False, False)]
)
def test_only_after_failures_a_slow_probe_is_good(run: int, slow: bool, expected: bool) -> None:
    recovery = Recovery(Policy(), 0.0, 1, run)
    recovery.was_slow = slow

    assert recovery.tolerates_slowness is expected


@pytest.mark.parametrize(("concurrency", "probes"), [(1, 8), (57, 8), (58, 9), (115, 9), (116, 10)])
def test_the_window_must_exceed_the_usual_number_of_calls_before_it_closes(
    concurrency: int, probes: int
) -> None:
    recovery, good, step = Recovery(Policy(), 0.0, 1, 5), 0, Step.NOTHING
    needed = recovery.needed(concurrency, 0.0)

    while step is Step.NOTHING:
        good += 1
        step = recovery.vote(Vote.GOOD, Ending(good, Outcome.SUCCESS, 0.1, 1.0), concurrency, 0.0)

    assert step is Step.RECOVERED
    assert good == needed == probes


def test_after_a_round_that_was_lost_with_good_probes_the_next_one_needs_less_evidence() -> None:
    """The callee fails a share of its calls; a dead one that is well again is not held up."""
    lost: list[int] = []
    for good_before in (0, 6):
        recovery = Recovery(Policy(), 0.0, 1, 5)
        round_of(recovery, good_before)
        recovery.begin_round(1)
        lost.append(round_of(recovery, 6))

    assert lost[1] < lost[0]


def round_of(recovery: Recovery, good: int) -> int:
    """Play good probes, and then failures until the round is lost; how many failures it took."""
    for token in range(1, good + 1):
        step = recovery.vote(Vote.GOOD, Ending(token, Outcome.SUCCESS, 0.1, 1.0), 50, 0.01)
        assert step is Step.NOTHING
    for failed in range(1, 100):
        ending = Ending(100 + failed, Outcome.FAILURE, 0.1, 1.0)
        if recovery.vote(Vote.FAILED, ending, 50, 0.01) is Step.LOST:
            return failed
    raise AssertionError("the round was not lost")


@pytest.mark.parametrize("vote", [Vote.CAME_BACK, Vote.OUTDATED, Vote.LOST])
def test_a_call_from_before_the_outage_is_no_evidence_about_it(vote: Vote) -> None:
    """It would make a callee that hangs look as if it answered."""
    for token, expected in ((9, 0.0), (10, 0.0 if vote is Vote.LOST else 3.0)):
        recovery = Recovery(Policy(), 0.0, 10, run=5)

        step = recovery.vote(vote, Ending(token, Outcome.SUCCESS, 3.0, 1.0), 1, 0.02)

        assert recovery.answers.slowest == expected
        if token < 10:
            assert step is Step.NOTHING


@pytest.mark.parametrize(("pause", "relapse"), [(0.5, True), (3_600.0, False)])
def test_an_outage_that_comes_again_soon_has_lasted_since_the_first(
    breaker: Breaker, clock: ManualClock, pause: float, relapse: bool
) -> None:
    """A callee that flaps between slow and fast is accepted as it is in the end."""
    learned(breaker, clock)
    while breaker.state is not State.OPEN:
        breaker.acquire().failure()
    began = clock.now
    clock.advance(breaker.retry_after)
    while not is_closed(breaker):
        breaker.acquire().success()
    clock.advance(pause)
    while breaker.state is not State.OPEN:
        breaker.acquire().failure()

    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert recovery.slow_since == (began if relapse else clock.now)


@pytest.mark.parametrize(
    ("was_slow", "pause", "goes_on"),
    [(False, 4.9, True), (False, 5.0, False), (True, 29.9, True), (True, 30.0, False)],
)
def test_an_outage_soon_after_another_one_has_begun_with_it(
    was_slow: bool, pause: float, goes_on: bool
) -> None:
    policy = Policy()
    before = Recovery(policy, 100.0, 1, 0)
    before.ended, before.was_slow = 200.0, was_slow

    again = Recovery(policy, 200.0 + pause, 1, 0, before)

    assert again.slow_since == (100.0 if goes_on else 200.0 + pause)


def test_a_probe_that_hangs_is_a_slow_one() -> None:
    recovery = Recovery(Policy(), 100.0, 1, 0)

    recovery.vote(Vote.HUNG, Ending(7, Outcome.CANCELLED, 1.0, 101.0), 1, 0.0)

    assert (recovery.share.slow, recovery.share.failed, recovery.bad) == (1, 0, 1)


def test_a_slow_probe_is_one_bad_probe_where_calls_were_slow() -> None:
    recovery = Recovery(Policy(), 100.0, 1, 5)
    recovery.was_slow = True

    recovery.vote(Vote.SLOW, Ending(7, Outcome.SUCCESS, 1.0, 101.0), 1, 0.0)

    assert (recovery.share.slow, recovery.share.failed, recovery.bad) == (1, 0, 1)
