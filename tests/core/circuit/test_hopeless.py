"""Hopeless: when an answer is hopeless, and that the limit does not lose calls that would answer."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser import Breaker, Policy
from recloser._circuit.hopeless import hopeless_after, hopeless_if_few, tail_share, time_limit_of
from recloser.testing import ManualClock

CEILING = 60.0
HANGS = 1e6  # seconds
Latency = Callable[[Random, float], float]


def usual(chance: Random) -> float:
    return 0.1 * chance.lognormvariate(0.0, 0.4)


# The limit of a key


def test_it_is_two_slow_thresholds_where_the_tail_is_short() -> None:
    assert hopeless_after(0.3, 0.31, 1000, CEILING) == pytest.approx(0.6)


def test_it_is_above_what_hardly_any_call_exceeds() -> None:
    assert hopeless_after(0.3, 4.0, 1000, CEILING) == pytest.approx(6.0)


def test_the_fewer_calls_are_known_the_further_it_is_above_the_longest() -> None:
    after = [hopeless_after(0.3, 0.31, calls, CEILING) for calls in (30, 100, 500, 1000, 5000)]

    assert after == pytest.approx([15.5, 4.65, 0.93, 0.6, 0.6])
    assert [tail_share(calls) for calls in (30, 1000)] == pytest.approx([1.0, 0.999])


@given(st.floats(0.001, CEILING), st.floats(0.0, 1e5), st.floats(1.0, 1e6))
def test_it_is_never_above_the_ceiling_nor_below_the_slow_threshold(
    slow: float, tail: float, calls: float
) -> None:
    assert slow <= hopeless_after(slow, tail, calls, CEILING) <= CEILING


@pytest.mark.parametrize(
    ("longest", "answers", "after"),
    [(0.0, 0, CEILING), (0.05, 1, CEILING), (0.05, 5, 15.0), (0.05, 29, 10.0), (1.0, 29, 51.7)],
)
def test_a_handful_of_answers_says_little(longest: float, answers: int, after: float) -> None:
    assert hopeless_if_few(longest, answers, CEILING) == pytest.approx(after, rel=0.01)


# The limit of a call


def test_some_calls_may_take_longer_and_the_longer_the_fewer() -> None:
    limits = Counter(time_limit_of(1.0, token, CEILING) for token in range(1, 4097))

    assert limits[1.0] / 4096 == pytest.approx(7 / 8, rel=0.02)
    assert limits[2.0] / 4096 == pytest.approx(7 / 64, rel=0.05)
    assert limits[4.0] / 4096 == pytest.approx(7 / 512, rel=0.2)
    mean = sum(limit * calls for limit, calls in limits.items()) / 4096
    assert mean == pytest.approx(7 / 6, rel=0.05)


@pytest.mark.parametrize("kinds", [2, 3, 4, 5, 7, 8, 16])
def test_kinds_of_calls_that_take_turns_get_more_time_alike(kinds: int) -> None:
    longer = Counter(
        token % kinds for token in range(1, 8001) if time_limit_of(1.0, token, CEILING) > 1.0
    )

    assert max(longer.values()) < 1.2 * min(longer.values())


def test_no_call_may_take_longer_than_the_ceiling() -> None:
    assert max(time_limit_of(1.0, token, 2.5) for token in range(1, 4097)) == 2.5


def test_a_probe_may_take_as_long_as_the_outage_has_lasted() -> None:
    limits = [time_limit_of(1.0, 1, CEILING, outage) for outage in (0.0, 0.5, 7.0, 3600.0)]

    assert limits == [1.0, 1.0, 7.0, CEILING]


# What is lost by it


def cut_off(latency: Latency, seconds: float, rate: float = 20.0) -> tuple[Breaker, Counter[str]]:
    """Make calls of these latencies, each cut off at its limit; what became of those that answer."""
    chance, clock, numbers = Random(3), ManualClock(1000.0), count()
    breaker = Breaker("k", Policy(), clock=clock, random=chance.random)
    fates: Counter[str] = Counter()
    in_flight: list[tuple[float, int, Callable[[], object]]] = []
    for call in range(int(seconds * rate)):
        now = 1000.0 + call / rate
        while in_flight and in_flight[0][0] <= now:
            ends, _, end = heapq.heappop(in_flight)
            clock.advance(ends - clock())
            end()
        clock.advance(now - clock())
        permit = breaker.try_acquire()
        takes = latency(chance, call / rate)
        if permit is None:
            fates["refused"] += 1
            continue
        is_cut = takes > permit.timeout
        if takes < HANGS:
            fates["cut" if is_cut else "served"] += 1
        ends = now + min(takes, permit.timeout)
        heapq.heappush(
            in_flight, (ends, next(numbers), permit.failure if is_cut else permit.success)
        )
    return breaker, fates


def test_healthy_calls_are_never_cut_off() -> None:
    _, fates = cut_off(lambda chance, now: usual(chance), 600)

    assert fates["cut"] == 0


@pytest.mark.parametrize(("share", "times"), [(0.1, 10), (0.02, 10), (0.1, 50)])
def test_calls_of_a_slower_kind_are_not_cut_off(share: float, times: float) -> None:
    def mixed(chance: Random, now: float) -> float:
        return usual(chance) * (times if chance.random() < share else 1.0)

    _, fates = cut_off(mixed, 600)

    assert fates["cut"] <= 0.0005 * fates["served"]


def test_a_tail_without_end_does_not_pull_the_limit_down() -> None:
    """Calls that are cut off are never seen, and so the limit is learned from the shorter ones."""
    _, fates = cut_off(lambda chance, now: 0.1 * chance.paretovariate(1.0), 3000)

    assert fates["cut"] <= 0.005 * fates["served"]


def test_what_hangs_does_not_raise_the_limit() -> None:
    def one_of_eight_hangs(chance: Random, now: float) -> float:
        return HANGS if now > 100.0 and chance.random() < 0.125 else usual(chance)

    breaker, fates = cut_off(one_of_eight_hangs, 600)

    assert fates["cut"] == 0
    assert breaker.timeout == pytest.approx(2.0 * breaker.slow_threshold, rel=0.05)


def test_a_kind_of_calls_that_becomes_slower_is_soon_let_through() -> None:
    def slower(chance: Random, now: float) -> float:
        return usual(chance) * (10.0 if now > 300.0 and chance.random() < 0.1 else 1.0)

    breaker, fates = cut_off(slower, 900)

    assert breaker.timeout > 1.5
    assert fates["cut"] < 0.25 * 0.1 * 600 * 20


@pytest.mark.parametrize("times", [3.0, 4.2, 10.0, 50.0])
def test_a_callee_that_becomes_slower_for_good_is_the_new_normal_all_the_same(times: float) -> None:
    def slower(chance: Random, now: float) -> float:
        return usual(chance) * (times if now > 100.0 else 1.0)

    breaker, fates = cut_off(slower, 900)

    assert breaker.timeout > 0.2 * times
    assert breaker.metrics().p50 == pytest.approx(0.1 * times, rel=0.3)
    assert fates["cut"] < 0.02 * fates["served"]


@pytest.mark.parametrize(("share", "served"), [(0.125, 0.86), (0.25, 0.74)])
def test_backends_that_hang_do_not_take_all_threads(share: float, served: float) -> None:
    """Eight threads, and 25 calls a second that wait for one of them for two seconds at most."""
    chance, clock = Random(1), ManualClock(1000.0)
    breaker = Breaker("k", Policy(), clock=clock, random=chance.random)
    fates: Counter[str] = Counter()
    free = [1000.0] * 8  # when each thread is free again
    ends: list[tuple[float, int, Callable[[], object]]] = []
    for call in range(25 * 600):
        arrives = 1000.0 + call / 25
        begins = max(heapq.heappop(free), arrives)
        permit = None
        if begins - arrives <= 2.0:
            while ends and ends[0][0] <= begins:
                at, _, end = heapq.heappop(ends)
                clock.advance(at - clock())
                end()
            clock.advance(begins - clock())
            permit = breaker.try_acquire()
        if permit is None:
            heapq.heappush(free, begins if begins > arrives else arrives)
            continue
        hangs = arrives > 1060.0 and chance.random() < share
        takes = HANGS if hangs else usual(chance)
        is_cut = takes > permit.timeout
        fates["served"] += not is_cut
        done = begins + min(takes, permit.timeout)
        heapq.heappush(free, done)
        heapq.heappush(ends, (done, call, permit.failure if is_cut else permit.success))

    assert fates["served"] / (25 * 600) > served


def test_before_anything_is_known_the_ceiling_is_the_limit() -> None:
    breaker = Breaker("k", Policy(slow_ceiling=7.0), clock=ManualClock(1000.0))

    assert breaker.timeout == 7.0
    assert breaker.acquire().timeout == 7.0
    assert breaker.acquire().timeout < inf
