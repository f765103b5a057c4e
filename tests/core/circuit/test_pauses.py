"""Pauses: until when a callee asked to wait, and whether it asks all callers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf, log
from random import Random

import pytest
from tests.support.training import teach

from recloser import Breaker, Outcome, Policy, State
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.pauses import _SERVED_NEVERTHELESS, Pauses, _log_ratio
from recloser._circuit.votes import Ending
from recloser.testing import ManualClock, no_jitter

CLOSED = State.CLOSED
POLICY = Policy(max_open_for=10.0)
ENOUGH = 13.8  # nats; that of the default policy


def counted(pauses: Pauses, rate: float = 0.0, alive: int = 0, *, obeyed: bool = False) -> bool:
    """Count a call that was asked to wait; return whether all callers are."""
    return pauses.count_asked(ENOUGH, rate, alive, obeyed=obeyed)


class Callee:
    """Calls to a callee, one after the other; each token is used once."""

    def __init__(self) -> None:
        self.pauses = Pauses()
        self.token = 0

    def throttles(self, now: float, wait: float = 0.0) -> float:
        """The pause that is left after one more call was asked to wait."""
        self.token += 1
        self.pauses.ask(self.token, self.token, now, wait, POLICY)
        return self.pauses.until - now

    def serves(self) -> None:
        self.token += 1
        self.pauses.end(self.token)


def test_the_pause_that_was_asked_for_is_known() -> None:
    callee = Callee()

    assert callee.pauses.until == 0.0
    assert callee.throttles(100.0, 7.0) == 7.0


def test_a_longer_pause_is_not_shortened() -> None:
    callee = Callee()
    callee.throttles(100.0, 60.0)

    assert callee.throttles(110.0, 5.0) == 50.0
    assert callee.throttles(111.0) == 49.0
    assert callee.throttles(112.0, 70.0) == 70.0


def test_without_a_time_each_pause_is_twice_as_long_as_the_one_before() -> None:
    callee = Callee()
    waits, now = [], 100.0
    for _ in range(6):
        waits.append(callee.throttles(now))
        now += waits[-1]

    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_within_a_pause_it_does_not_grow() -> None:
    callee = Callee()
    callee.throttles(100.0)

    assert callee.throttles(100.5) == 0.5
    assert callee.throttles(101.0) == 2.0


def test_a_call_that_began_before_the_last_pause_adds_none() -> None:
    pauses = Pauses()
    pauses.ask(5, 9, 100.0, 0.0, POLICY)

    pauses.ask(9, 12, 102.0, 0.0, POLICY)
    assert pauses.until == 101.0
    pauses.ask(10, 12, 102.0, 0.0, POLICY)

    assert pauses.until == 104.0


def test_a_call_that_was_served_ends_it_if_it_began_later() -> None:
    pauses = Pauses()
    pauses.ask(5, 9, 100.0, 60.0, POLICY)

    pauses.end(9)
    assert pauses.until == 160.0
    pauses.end(10)

    assert pauses.until == 0.0


def test_after_a_call_that_was_served_pauses_begin_with_the_shortest() -> None:
    callee = Callee()
    callee.throttles(100.0)
    callee.throttles(101.0)
    callee.serves()

    assert callee.throttles(110.0) == 1.0


def test_four_in_a_row_are_for_all_callers() -> None:
    pauses = Pauses()

    assert [counted(pauses) for _ in range(4)] == [False, False, False, True]
    # Then it begins anew.
    assert [counted(pauses) for _ in range(3)] == [False, False, False]


def test_a_call_that_is_served_speaks_against_it() -> None:
    pauses = Pauses()
    for _ in range(3):
        counted(pauses)

    pauses.served(1, 10.0)

    assert not counted(pauses)


@pytest.mark.parametrize("served", [2, 5, 20])
def test_a_limit_of_some_callers_is_never_for_all(served: int) -> None:
    pauses = Pauses()

    for _ in range(2000):
        assert not counted(pauses)
        pauses.served(served, 10.0)


def test_where_many_are_usually_asked_it_takes_more_of_them() -> None:
    pauses = Pauses()
    for _ in range(2000):
        counted(pauses)
        pauses.served(2, 10.0)

    in_a_row = 1
    while not counted(pauses):
        in_a_row += 1

    assert in_a_row > 4
    pauses.served(2000, 10.0)
    assert [counted(pauses) for _ in range(4)] == [False, False, False, True]


# All callers, or a share of them


def answers(share: float, calls: int, seed: int, pauses: Pauses | None = None) -> int:
    """How often all callers seem to be asked, if a share is asked, and the others are served."""
    pauses, random, found = pauses or Pauses(0.0), Random(seed), 0
    for token in range(1, calls + 1):
        now = 0.01 * token
        if random.random() < share:
            pauses.ask(token, token, now, 1.0, POLICY)
            found += counted(pauses, rate=100.0)
        else:
            pauses.served(1, now)
            pauses.end(token, now)
    return found


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_share_of_the_callers_are_not_all_of_them_however_large_it_is(share: float) -> None:
    found = [answers(share, 10_000, seed) for seed in range(10)]

    # At the beginning, nothing tells nine of ten from all.
    assert sum(found) <= (6 if share > 0.8 else 1)


def test_after_a_large_share_all_are_found_out_as_well() -> None:
    pauses = Pauses(0.0)
    answers(0.8, 5_000, 1, pauses)

    calls = 1
    while not counted(pauses, rate=100.0):
        calls += 1

    assert calls < 800


@pytest.mark.parametrize(
    ("rate", "wait", "calls"),
    [
        (0.0, 60.0, 4),
        (1.0, 1.0, 4),
        (1.0, 60.0, 22),
        (10.0, 5.0, 18),
        (50.0, 1.0, 18),
        (50.0, 5.0, 40),
        (50.0, 60.0, 40),
        (50.0, 300.0, 40),
    ],
)
def test_the_more_a_pause_refuses_the_surer_it_must_be_for_all_however_long_it_is(
    rate: float, wait: float, calls: int
) -> None:
    pauses, asked = Pauses(), 0
    while True:
        asked += 1
        pauses.ask(asked, asked, 10.0, wait, POLICY)
        if counted(pauses, rate):
            break

    assert asked == pytest.approx(calls, abs=2)


def test_a_pause_refuses_nobody_as_far_as_is_known_if_the_rate_is_not() -> None:
    pauses = Pauses()
    pauses.ask(1, 1, 10.0, 300.0, POLICY)

    assert [counted(pauses) for _ in range(4)] == [False] * 3 + [True]


def test_calls_that_are_in_flight_for_longer_than_it_takes_to_be_asked_are_not_asked() -> None:
    pauses = Pauses()

    assert not any(counted(pauses, alive=3) for _ in range(50))


@pytest.mark.parametrize("took", [0.1, 10.0])
@pytest.mark.parametrize(("times", "for_all"), [(1.9, True), (2.1, False)])
def test_a_call_is_not_asked_if_it_is_in_flight_for_twice_as_long_as_it_takes_to_be_asked(
    took: float, times: float, for_all: bool
) -> None:
    calls = InFlight()
    for token in (101, 102, 103):
        calls.voting[token] = call = Timing()
        call.started, call.answered = 1000.0 - times * took, inf
    pauses, asked = Pauses(), False
    for token in range(201, 251):
        ending = Ending(token, Outcome.THROTTLED, took, 1000.0, wait=1e-6)
        asked = asked or pauses.judge(ending, 100, calls, POLICY, 0.0)

    assert asked is for_all


def test_a_pause_that_was_obeyed_and_asked_for_again_is_no_sign_that_it_is_for_all() -> None:
    pauses = Pauses()
    pauses.ask(1, 1, 10.0, 5.0, POLICY)

    assert not pauses.is_over(14.9)
    assert pauses.is_over(15.0)
    assert not any(counted(pauses, obeyed=True) for _ in range(100))


def asked_until_for_all(pauses: Pauses, rule: str) -> int:
    """How many calls in a row, ten a second, are asked to wait a minute until that is for all."""
    for asked in range(1, 100):
        ending = Ending(asked, Outcome.THROTTLED, 0.01, 0.1 * asked, wait=60.0, rule=rule)
        if pauses.judge(ending, asked, InFlight(), POLICY, 0.0):
            return asked
    raise AssertionError


def test_the_rate_is_that_of_the_calls_if_no_other_is_known() -> None:
    assert asked_until_for_all(Pauses(), "retry_after") == pytest.approx(40, abs=2)


def test_a_quota_that_is_used_up_is_so_for_all_unless_others_were_served() -> None:
    """They have another quota, if they are served."""
    assert asked_until_for_all(Pauses(), "quota") == 4
    assert asked_until_for_all(Pauses(served_at=-5.0), "quota") == pytest.approx(40, abs=2)


def test_after_a_pause_for_all_more_must_be_asked_for_the_next_one() -> None:
    """At its end, all would be served: so far it may be a share as well."""
    pauses, asked = Pauses(), 0
    while True:
        asked += 1
        pauses.ask(asked, asked, 0.0, 12.0, POLICY)
        if counted(pauses, rate=1.0):
            break
    assert asked == 4

    more = 0
    for _ in range(3):
        while not pauses.count_asked_again(12.0, 1.0):
            more += 1
            if counted(pauses, rate=1.0):
                break

    # One for each three calls that are refused: four pauses of twelve.
    assert asked + more == pytest.approx(16, abs=2)
    assert pauses.count_asked_again(0.0, 1.0)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("wait", [5.0, 10.0, 20.0, 60.0, 300.0])
@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
def test_a_share_that_is_asked_for_a_long_time_refuses_few_that_would_be_served(
    share: float, wait: float, rate: float
) -> None:
    refused = good = 0
    for seed in range(10):
        clock, random = ManualClock(), Random(seed)
        breaker = Breaker("k", clock=clock, random=no_jitter)
        for _ in range(150):
            clock.advance(1.0 / rate)
            permit, serves = breaker.try_acquire(), random.random() >= share
            good += serves
            if permit is None:
                refused += serves
            elif serves:
                permit.success()
            else:
                permit.throttled(wait)

    # Where nearly all are asked, a few in a row tell little; it matters for as few.
    assert refused <= (0.15 if share < 0.9 else 0.7) * good


@pytest.mark.parametrize("wait", [5.0, 20.0, 60.0, 300.0])
@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
def test_a_pause_for_all_is_obeyed_however_often_it_is_asked_for(wait: float, rate: float) -> None:
    clock = ManualClock()
    breaker = Breaker("k", clock=clock, random=no_jitter)
    admitted = 0
    for _ in range(round(20 * wait * rate)):
        clock.advance(1.0 / rate)
        if (permit := breaker.try_acquire()) is not None:
            admitted += 1
            permit.throttled(wait)

    # Within the first pause, it looks again after twice as long each time.
    assert admitted <= 40 + 12 + 1.5 * 20


def served_of(breaker: Breaker, clock: ManualClock, ask: Callable[[], float], rate: float) -> float:
    """The share of good calls that is admitted, of 20,000; `ask` tells the wait of a call, or 0.0."""
    good = served = 0
    for _ in range(20_000):
        clock.advance(1.0 / rate)
        wait, permit = ask(), breaker.try_acquire()
        good += not wait
        served += permit is not None and not wait
        if permit is not None and wait:
            permit.throttled(wait)
        elif permit is not None:
            permit.success()
    return served / good


@pytest.mark.parametrize(
    ("rate", "wait"), [(5.0, 300.0), (20.0, 60.0), (20.0, 300.0), (500.0, 5.0)]
)
@pytest.mark.parametrize("longest", [10, 40, 80])
def test_the_429s_of_one_tenant_in_a_row_refuse_few_calls_of_the_others(
    rate: float, wait: float, longest: int
) -> None:
    clock, random = ManualClock(), Random(longest)
    breaker, left = Breaker("k", clock=clock, random=no_jitter), [0]

    def ask() -> float:
        if not left[0] and random.random() < 0.2 / longest:  # a tenth of the calls, in blocks
            left[0] = random.randint(1, longest)
        left[0] -= left[0] > 0
        return wait if left[0] else 0.0

    assert served_of(breaker, clock, ask, rate) >= 0.93


def test_a_named_pause_is_looked_at_after_as_long_as_all_have_asked_for_one(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 100)
    began = clock.now
    while breaker.state is CLOSED:
        breaker.acquire().throttled(100.0)
        clock.advance(0.25)
    run, looks = clock.now - 0.25 - began, list[float]()
    opened = clock.now - 0.25
    while clock.now < opened + 99.9:
        clock.advance(breaker.retry_after)
        looks.append(clock.now - began)
        breaker.acquire().throttled(100.0)

    assert looks[0] == pytest.approx(2.0 * run)
    assert all(later == pytest.approx(2.0 * look) for look, later in pairwise(looks[:-1]))
    assert len(looks) <= 10
    assert looks[-1] == pytest.approx(run + 100.0, abs=0.1)  # and not later than the time named


def test_a_named_pause_is_over_once_a_call_is_served_in_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 100)
    while breaker.state is CLOSED:
        breaker.acquire().throttled(300.0)
    began = clock.now

    while breaker.state is not CLOSED:
        clock.advance(max(breaker.retry_after, 0.01))
        if (permit := breaker.try_acquire()) is not None:
            clock.advance(0.1)
            permit.success()

    assert clock.now - began < 3.0


def test_a_pause_without_a_time_is_never_over() -> None:
    pauses = Pauses()
    pauses.ask(1, 1, 10.0, 0.0, POLICY)

    assert not pauses.is_over(100.0)


@pytest.mark.parametrize(
    ("served_at", "now", "longest"), [(100.0, 100.5, 1.0), (100.0, 120.0, 5.0), (-inf, 0.0, inf)]
)
def test_pauses_without_a_time_grow_with_the_time_for_which_nobody_was_served(
    served_at: float, now: float, longest: float
) -> None:
    assert Pauses(served_at).longest(now) == longest


def test_a_call_that_is_served_begins_that_time_anew() -> None:
    pauses = Pauses(0.0)
    pauses.served(3, 90.0)

    assert pauses.longest(100.0) == 2.5


@pytest.mark.parametrize(("asked", "served"), [(1, 0), (4, 0), (4, 1), (12, 1), (12, 3), (1, 5)])
def test_the_evidence_is_the_ratio_of_the_likelihoods(asked: int, served: int) -> None:
    """That all callers are asked, and one in twenty served nevertheless; or a share, which may be any."""
    steps = 20_000
    shares = [(step + 0.5) / steps for step in range(steps)]
    a_share = sum(share**asked * (1.0 - share) ** served for share in shares) / steps
    all_asked = (1.0 - _SERVED_NEVERTHELESS) ** asked * _SERVED_NEVERTHELESS**served

    assert _log_ratio(asked, served) == pytest.approx(log(all_asked / a_share), abs=1e-4)


def calls_until_all_are_asked(pauses: Pauses) -> int:
    calls = 1
    while not counted(pauses):
        calls += 1
    return calls


def test_a_call_that_was_served_before_the_first_pause_is_no_sign_against_it() -> None:
    callee, fresh = Callee(), Pauses()
    for _ in range(50):
        callee.serves()

    assert calls_until_all_are_asked(callee.pauses) == calls_until_all_are_asked(fresh)


def test_calls_that_are_served_meanwhile_are_signs_against_it() -> None:
    callee = Callee()
    callee.throttles(100.0, 60.0)
    for _ in range(20):
        callee.token += 1
        callee.pauses.end(callee.token, 110.0)
        callee.throttles(110.0, 50.0)

    assert not any(counted(callee.pauses) for _ in range(20))


@pytest.mark.parametrize(("token", "is_sign"), [(100, False), (101, True)])
def test_only_calls_that_began_after_the_first_pause_are_signs_against_it(
    token: int, is_sign: bool
) -> None:
    pauses = Pauses()
    for _ in range(20):
        pauses.ask(50, 100, 100.0, 60.0, POLICY)
        pauses.end(token, 110.0)
        pauses.ask(50, 100, 110.0, 50.0, POLICY)
        pauses.since = 100

    assert any(counted(pauses) for _ in range(20)) is not is_sign
