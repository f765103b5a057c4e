"""Crowding: failures of a callee that has so many places, and fails what comes beyond them."""

from __future__ import annotations

import heapq
from random import Random

import pytest
from tests.support.breaker_state import is_closed, is_limited
from tests.support.training import learned

from recloser import Breaker, Permit, State
from recloser._circuit.crowding import Crowding
from recloser.testing import ManualClock

# What the probes show


def add(crowding: Crowding, good: int, bad: int, *, alone: bool) -> None:
    for _ in range(good):
        crowding.add(alone=alone, good=True)
    for _ in range(bad):
        crowding.add(alone=alone, good=False)


def test_single_probes_that_are_good_where_several_fail_show_it() -> None:
    crowding = Crowding()
    add(crowding, 5, 0, alone=True)
    assert not crowding.is_sure  # nothing is known of several
    add(crowding, 4, 16, alone=False)

    assert crowding.is_sure


@pytest.mark.parametrize(
    ("alone", "together"),
    [
        ((1, 0), (2, 6)),  # chance
        ((0, 9), (2, 18)),  # dead
        ((4, 9), (2, 60)),  # most single calls fail, so it is not worth asking anyway
        ((9, 20), (0, 300)),  # the same for certain
        ((5, 5), (0, 300)),  # half of them fail
        ((5, 3), (300, 1)),  # several at a time are better
        ((9, 1), (9, 1)),  # it is well
        ((8, 7), (40, 20)),  # several at a time are no worse
    ],
)
def test_anything_else_does_not(alone: tuple[int, int], together: tuple[int, int]) -> None:
    crowding = Crowding()
    add(crowding, *alone, alone=True)
    add(crowding, *together, alone=False)

    assert not crowding.is_sure


def test_once_a_limit_was_no_help_it_takes_more() -> None:
    crowding = Crowding()
    add(crowding, 5, 0, alone=True)
    add(crowding, 4, 16, alone=False)

    crowding.refute()
    assert not crowding.is_sure
    add(crowding, 5, 0, alone=True)
    add(crowding, 4, 16, alone=False)
    assert not crowding.is_sure
    add(crowding, 5, 0, alone=True)
    add(crowding, 4, 16, alone=False)
    assert crowding.is_sure


@pytest.mark.parametrize(("refuted", "calls"), [(False, 40), (True, 800)])
@pytest.mark.parametrize(
    ("alone", "together", "sure"), [(1, 1, True), (0, 1, False), (1, 0, False)]
)
def test_both_kinds_of_probes_must_be_known_and_then_one_single_probe_is_enough(
    alone: int, together: int, sure: bool, refuted: bool, calls: int
) -> None:
    """After a limit that was no help, twenty times as many; the probes before it do not count."""
    crowding = Crowding()
    if refuted:
        add(crowding, 5, 3, alone=True)
        add(crowding, 4, 16, alone=False)
        crowding.refute()

    add(crowding, alone * (1 if together else calls), 0, alone=True)
    add(crowding, 0, together * calls, alone=False)

    assert crowding.is_sure is sure


def test_a_limit_that_opens_refutes_it(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    callee = Places(breaker, clock, 5, 0.1)
    callee.play(300.0, 60.0)
    assert breaker.state is State.LIMITED
    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert recovery.crowding.is_sure

    callee.places = 0
    callee.play(300.0, 10.0)

    assert not recovery.crowding.is_sure


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.9])
def test_a_callee_that_fails_in_itself_hardly_ever_looks_like_it(share: float) -> None:
    wrong = 0
    for seed in range(200):
        chance, crowding = Random(seed), Crowding()
        for _ in range(100):  # rounds, each until it is lost
            good, bad = 0, 0
            while bad < max(1, 2 * good) and good < 20:
                is_good = chance.random() >= share
                crowding.add(alone=not good, good=is_good)
                good, bad = good + is_good, bad + (not is_good)
            if crowding.is_sure:
                wrong += 1
                break

    assert wrong <= 10


# A breaker before such a callee


class Places:
    """A callee that serves so many calls at a time, and fails the others at once.

    Attributes:
        places: As above; 0 if it is dead.
        served: Calls that it served.
        failed: Calls that it failed.
    """

    def __init__(self, breaker: Breaker, clock: ManualClock, places: int, takes: float) -> None:
        self.places = places
        self.served = self.failed = 0
        self._breaker, self._clock = breaker, clock
        self._takes, self._chance = takes, Random(1)
        self._running: list[tuple[float, int, Permit]] = []

    def play(self, rate: float, seconds: float) -> None:
        """Let calls come at random."""
        end = self._clock.now + seconds
        while self._clock.now < end:
            self._wait(self._chance.expovariate(rate))
            permit = self._breaker.try_acquire()
            if permit is None:
                continue
            if len(self._running) >= self.places:
                self._clock.advance(0.001)
                permit.failure("HTTP 503")
                self.failed += 1
            else:
                over = self._clock.now + self._takes * self._chance.lognormvariate(0.0, 0.3)
                heapq.heappush(self._running, (over, permit.token, permit))

    def _wait(self, seconds: float) -> None:
        until = self._clock.now + seconds
        while self._running and self._running[0][0] <= until:
            over, _, permit = heapq.heappop(self._running)
            self._clock.now = max(self._clock.now, over)
            permit.success()
            self.served += 1
        self._clock.now = max(self._clock.now, until)


@pytest.mark.parametrize("takes", [0.1, 1.0])
@pytest.mark.parametrize("places", [1, 2, 5, 10])
@pytest.mark.parametrize("times", [4.0, 8.0])
def test_a_callee_gets_as_many_calls_as_it_has_places_if_it_fails_the_others(
    breaker: Breaker, clock: ManualClock, places: int, takes: float, times: float
) -> None:
    learned(breaker, clock)
    callee, rate = Places(breaker, clock, places, takes), places / takes
    callee.play(0.2 * rate, 60 * takes)
    callee.play(times * rate, 400 * takes)  # it is found out
    callee.served = callee.failed = 0

    callee.play(times * rate, 400 * takes)

    assert breaker.state is State.LIMITED
    # Without a breaker it serves 0.8 to 0.9 of what it can, by Erlang's loss formula, and fails three
    # to eight calls for each of them.
    assert callee.served > 0.65 * rate * 400 * takes
    assert callee.failed < callee.served


def test_the_load_returns_when_there_are_no_more_calls_than_places(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    callee = Places(breaker, clock, 5, 0.1)
    callee.play(300.0, 60.0)
    assert breaker.state is State.LIMITED

    callee.play(10.0, 60.0)

    assert is_closed(breaker)


def test_one_that_dies_meanwhile_opens_it_after_some_tens_of_calls(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    callee = Places(breaker, clock, 10, 0.1)
    callee.play(600.0, 60.0)
    assert breaker.state is State.LIMITED
    callee.failed = callee.places = 0

    callee.play(600.0, 60.0)

    assert not is_closed(breaker)
    assert callee.failed < 300


def test_an_answer_does_not_end_the_limit_while_hardly_any_answers_are_known(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A limit for calls that do not come back would end at the first answer."""
    callee = Places(breaker, clock, 2, 1.0)
    while breaker.state is not State.LIMITED:
        callee.play(20.0, 0.05)
    served = callee.served
    assert not breaker._circuit.detector.baseline.known

    while callee.served < served + 5:
        callee.play(20.0, 0.05)

    assert is_limited(breaker)
