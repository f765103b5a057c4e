"""Threads that meet at any bytecode: nothing is lost, counted twice, or admitted beyond the window.

A free-threaded interpreter has the same interleavings, and more; `docs/architecture.md` lists what
each step leans on.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from random import Random

import pytest
from tests.support.bytecodes import on_one_python
from tests.support.interleaving import Turns
from tests.support.interrupts import CLOCK
from tests.support.training import record

from recloser import Breaker, Permit, Registry, State
from recloser.testing import RecordingListener, no_jitter

pytestmark = on_one_python

LONG = bool(os.environ.get("RECLOSER_LONG"))
# In the short run, every so many places are tried; a prime number, so that loops do not hide any.
STEP = 1 if LONG else 29


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Scene:
    """A registry, what two or three threads do in it, and what must be true afterwards."""

    max_keys = 1000

    def __init__(self) -> None:
        self.registry = Registry(clock=CLOCK, random=no_jitter, max_keys=self.max_keys)
        self.heard = RecordingListener()
        self.registry.subscribe(self.heard)
        self.breaker = self.registry["app"]
        record(self.breaker, 100, success=True)
        self.breaker.acquire().success()
        self.admitted: list[Permit] = []
        self.asked = 1
        self.prepare()

    def prepare(self) -> None:
        pass

    def first(self) -> None:
        raise NotImplementedError

    def second(self) -> None:
        raise NotImplementedError

    def third(self) -> None:
        self.second()

    def call(self) -> Permit | None:
        self.asked += 1
        return self.breaker.try_acquire()

    def check(self) -> None:
        for permit in self.admitted:
            permit.cancel()
        metrics = self.breaker.metrics()
        assert metrics.in_flight == 0
        ended = metrics.successes + metrics.failures + metrics.throttled
        assert ended + metrics.ignored + metrics.cancelled + metrics.refused == self.asked + 100
        events = self.heard.transitions
        assert all(a.after is b.before for a, b in itertools.pairwise(events))
        assert self.registry.faults == 0


def permit_of(breaker: Breaker) -> Permit:
    permit = breaker.acquire()
    assert isinstance(permit, Permit)
    return permit


class TripAndEnd(Scene):
    """The failure that opens, while other calls end."""

    def prepare(self) -> None:
        record(self.breaker, 4, success=False)
        self.permits = [permit_of(self.breaker) for _ in range(3)]
        self.asked += 7

    def first(self) -> None:
        self.permits[0].failure("HTTP 502")

    def second(self) -> None:
        self.permits[1].success()

    def third(self) -> None:
        self.permits[2].failure("HTTP 503")

    def check(self) -> None:
        self.admitted += self.permits
        super().check()
        assert len([each for each in self.heard.transitions if each.after is State.OPEN]) <= 1


class TripAndBegin(TripAndEnd):
    """The failure that opens, while others are admitted."""

    def second(self) -> None:
        if (permit := self.call()) is not None:
            permit.cancel()  # a success would be evidence that all is well

    def third(self) -> None:
        self.second()

    def check(self) -> None:
        super().check()
        assert self.breaker.state is State.OPEN


class ProbeAndProbe(Scene):
    """Callers that ask at the moment when a probe is due."""

    def prepare(self) -> None:
        self.breaker.open(for_=0.0)

    def first(self) -> None:
        if (permit := self.call()) is not None:
            self.admitted.append(permit)

    second = first

    def check(self) -> None:
        assert len(self.admitted) == 1
        super().check()


class TwoEndsOfOneCall(Scene):
    """Two threads end the same call."""

    def prepare(self) -> None:
        self.permit = permit_of(self.breaker)
        self.asked += 1

    def first(self) -> None:
        self.permit.success()

    def second(self) -> None:
        self.permit.failure()

    def third(self) -> None:
        self.permit.cancel()


class EndAndReset(Scene):
    """A call that ends while an operator closes the breaker."""

    def prepare(self) -> None:
        self.permits = [permit_of(self.breaker) for _ in range(2)]
        self.breaker.open()
        self.asked += 2

    def first(self) -> None:
        self.permits[0].failure()

    def second(self) -> None:
        self.breaker.reset()

    def third(self) -> None:
        self.permits[1].success()

    def check(self) -> None:
        self.admitted += self.permits
        super().check()
        assert self.breaker.state is State.CLOSED


class BeginAndRecord(Scene):
    """Calls that begin and end beside decisions."""

    def first(self) -> None:
        permit = self.call()
        assert permit is not None
        permit.success()

    def second(self) -> None:
        self.asked += 1
        self.breaker.record(0.1, success=False)


class EvictAndAcquire(Scene):
    """A key loses its place while its breaker is asked for a permit."""

    max_keys = 2

    def prepare(self) -> None:
        self.found: list[Breaker] = []

    def first(self) -> None:
        breaker = self.registry["app"]
        self.found.append(breaker)
        self.asked += 1
        self.admitted.append(permit_of(breaker))

    def second(self) -> None:
        for name in ("a", "b", "c"):
            permit_of(self.registry[name]).success()

    def third(self) -> None:
        self.found.append(self.registry["app"])

    def check(self) -> None:
        # A key never has two breakers, whoever looks it up and when.
        assert {id(each) for each in [*self.found, self.registry["app"]]} == {id(self.breaker)}
        super().check()


class ForkAndEnd(Scene):
    """What the child of a fork does first, at any moment of a call that ends in the parent."""

    def prepare(self) -> None:
        self.permit = permit_of(self.breaker)

    def first(self) -> None:
        self.permit.failure()

    def second(self) -> None:
        # In a child, only the thread that forked goes on. Here the other one does as well, which is
        # harder: what it does then must break nothing.
        self.breaker.after_fork()
        if (permit := self.breaker.try_acquire()) is not None:
            permit.success()

    def check(self) -> None:
        assert self.breaker.metrics().in_flight == 0
        self.breaker.reset()
        permit_of(self.breaker).success()
        assert self.registry.faults == 0


class SubscribeAndSubscribe(Scene):
    """Two listeners come at once, and one goes."""

    def prepare(self) -> None:
        self.late = [RecordingListener() for _ in range(3)]
        self.leave = self.registry.subscribe(self.late[2])

    def first(self) -> None:
        self.registry.subscribe(self.late[0])

    def second(self) -> None:
        self.registry.subscribe(self.late[1])

    def third(self) -> None:
        self.leave()

    def check(self) -> None:
        self.leave()
        self.breaker.open()
        assert self.late[0].transitions
        assert self.late[1].transitions
        assert not self.late[2].transitions
        self.breaker.reset()
        super().check()


class Limited(Scene):
    """Two threads ask for the last place under a limit."""

    def prepare(self) -> None:
        record(self.breaker, 5, success=True, latency=1.0)
        assert self.breaker.state is State.LIMITED
        self.asked += 5
        size = 0
        while (permit := self.call()) is not None:
            self.admitted.append(permit)
            size += 1
        self.size = size
        self.admitted.pop().cancel()

    def first(self) -> None:
        if (permit := self.call()) is not None:
            self.admitted.append(permit)

    second = first

    def check(self) -> None:
        assert len(self.admitted) == self.size
        super().check()


SCENES = [
    TripAndEnd,
    TripAndBegin,
    ProbeAndProbe,
    TwoEndsOfOneCall,
    EndAndReset,
    BeginAndRecord,
    EvictAndAcquire,
    ForkAndEnd,
    SubscribeAndSubscribe,
    Limited,
]


@pytest.mark.parametrize("scene", SCENES)
def test_two_threads_may_meet_at_any_bytecode(scene: type[Scene]) -> None:
    for place in itertools.count(0, STEP):
        play = scene()
        begun = Turns(play.first, [(place, play.second)]).run()
        try:
            play.check()
        except AssertionError as error:
            raise AssertionError(f"met at bytecode {place}") from error
        if not begun:
            return


@pytest.mark.parametrize("scene", SCENES)
def test_three_threads_may_meet_at_any_two_bytecodes(scene: type[Scene]) -> None:
    chance = Random(scene.__name__)
    bytecodes = _bytecodes_of(scene)
    for _ in range(300 if LONG else 20):
        places = sorted(chance.randrange(bytecodes) for _ in range(2))
        play = scene()
        Turns(play.first, [(places[0], play.second), (places[1], play.third)]).run()
        try:
            play.check()
        except AssertionError as error:
            raise AssertionError(f"met at bytecodes {places}") from error


def _bytecodes_of(scene: type[Scene]) -> int:
    play = scene()
    turns = Turns(play.first, [])
    turns.run()
    return max(turns.done, 1)
