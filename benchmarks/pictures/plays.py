"""What the pictures show: a real breaker on virtual time, and each call that it was asked about."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from recloser import BreakerOpenError, Permit, Registry, State, Transition
from recloser.testing import ManualClock, RecordingListener

SIGMA = 0.25
MEDIAN = 0.08


@dataclass(frozen=True)
class Fate:
    """What a callee does with a call: it answers after a latency (s), well or not."""

    latency: float
    good: bool = True


@dataclass(frozen=True)
class Call:
    """A call as it was seen from outside.

    Attributes:
        begun: When it came, in seconds.
        fate: What became of it; None if it was refused.
        threshold: The slow threshold at its end, in seconds; infinite while none is known.
        evidence: The evidence after its end, as a share of what opens, 0.0-1.0.
    """

    begun: float
    fate: Fate | None
    threshold: float = math.inf
    evidence: float = 0.0


@dataclass(frozen=True)
class Play:
    """All calls in the order of their ends, and all changes of state; times begin at 0."""

    calls: list[Call]
    changes: list[Transition]
    length: float

    def state_at(self, moment: float) -> State:
        """Return the state at a moment."""
        before = [change.after for change in self.changes if change.at <= moment]
        return before[-1] if before else State.CLOSED


def well(draw: random.Random) -> Fate:
    """A healthy callee: a log-normal latency, and one failure in a hundred."""
    return Fate(MEDIAN * math.exp(draw.gauss(0.0, SIGMA)), draw.random() >= 0.01)


def play(
    fate_at: Callable[[float, random.Random], Fate], *, rate: float, length: float, seed: int
) -> Play:
    """Play calls that come at random, at a rate (1/s), to one breaker for some time (s)."""
    draw = random.Random(seed)
    clock = ManualClock()
    registry = Registry(clock=clock, random=draw.random)
    heard = RecordingListener()
    registry.subscribe(heard)
    breaker = registry["callee"]
    calls: list[Call] = []
    number = count()
    in_flight: list[tuple[float, int, float, Fate, Permit]] = []

    def end_until(moment: float) -> None:
        while in_flight and in_flight[0][0] <= moment:
            clock.now, _, begun, fate, permit = heapq.heappop(in_flight)
            if fate.good:
                permit.success()
            else:
                permit.failure("HTTP 503")
            figures = breaker.metrics()
            share = min(1.0, figures.evidence / figures.evidence_threshold)
            calls.append(Call(begun, fate, figures.slow_threshold, share))

    moment = 0.0
    while (moment := moment + draw.expovariate(rate)) < length:
        end_until(moment)
        clock.now = moment
        try:
            permit = breaker.acquire()
        except BreakerOpenError:
            calls.append(Call(moment, None))
            continue
        fate = fate_at(moment, draw)
        heapq.heappush(in_flight, (moment + fate.latency, next(number), moment, fate, permit))
    end_until(math.inf)
    return Play(calls, heard.transitions, length)


def outage() -> Play:
    """Well for 30 s, then calls hang until their client gives up after 3 s, and from 50 s on well."""

    def fate_at(moment: float, draw: random.Random) -> Fate:
        return Fate(3.0, good=False) if 30.0 <= moment < 50.0 else well(draw)

    return play(fate_at, rate=20.0, length=70.0, seed=4)


def failures() -> Play:
    """A callee that always fails a little, 4 %, and from 60 s on each time."""

    def fate_at(moment: float, draw: random.Random) -> Fate:
        fate = well(draw)
        return Fate(fate.latency, good=moment < 60.0 and draw.random() >= 0.04)

    return play(fate_at, rate=10.0, length=66.0, seed=1)


def recovery() -> Play:
    """Well for 20 s, then all calls fail for 10 s, and then it is well again."""

    def fate_at(moment: float, draw: random.Random) -> Fate:
        fate = well(draw)
        return Fate(0.02, good=False) if 20.0 <= moment < 30.0 else fate

    return play(fate_at, rate=40.0, length=36.0, seed=6)
