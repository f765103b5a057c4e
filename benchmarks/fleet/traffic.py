"""Calls at random to workers, on virtual time: an open loop, in which a call takes what it takes."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, inf
from random import Random

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock, Ending
from recloser import Permit

LATENCY, SIGMA = 0.05, 0.5
"""Median seconds of a healthy answer, and the deviation of their logarithm."""

Fate = tuple[float, Ending, bool]
"""Seconds to the end, how it ends, and whether a fault made it bad."""
Service = Callable[[Random, float, int], Fate]
"""How a call ends, by chance, by its time, and by the number of its worker."""


def healthy(random: Random, failing: float = 0.0) -> Fate:
    """An answer of a healthy callee, of which a share fails now and then."""
    took = LATENCY * exp(SIGMA * random.gauss(0.0, 1.0))
    return took, Ending.FAILED if random.random() < failing else Ending.OK, False


def dying(start: float, end: float, took: float, failing: float = 0.0) -> Service:
    """A service that is dead from `start` to `end`: all calls fail, after `took` seconds."""

    def fate(random: Random, now: float, worker: int) -> Fate:
        usual = healthy(random, failing)
        return (took, Ending.FAILED, True) if start <= now < end else usual

    return fate


@dataclass(slots=True)
class Record:
    """What happened to each call, in the order in which they came.

    Attributes:
        starts: When it came, in seconds.
        workers: The place of its worker.
        tooks: How long it took, or would have taken.
        admitted: 1 if it was admitted.
        good: 1 if it would succeed.
        bad: 1 if a fault made it bad.
    """

    starts: array[float] = field(default_factory=lambda: array("d"))
    workers: array[int] = field(default_factory=lambda: array("l"))
    tooks: array[float] = field(default_factory=lambda: array("d"))
    admitted: bytearray = field(default_factory=bytearray)
    good: bytearray = field(default_factory=bytearray)
    bad: bytearray = field(default_factory=bytearray)

    def wasted(self, start: float = 0.0, end: float = inf) -> int:
        """How many calls were admitted that a fault made bad."""
        return sum(
            self.admitted[i] and self.bad[i]
            for i, at in enumerate(self.starts)
            if start <= at < end
        )

    def answered(
        self, start: float = 0.0, end: float = inf, of: Callable[[int], bool] | None = None
    ) -> float:
        """The % of the calls that were answered well, of some workers or of all."""
        calls = good = 0
        for i, at in enumerate(self.starts):
            if start <= at < end and (of is None or of(self.workers[i])):
                calls += 1
                good += self.admitted[i] and self.good[i]
        return 100.0 * good / max(calls, 1)

    def refused(
        self, start: float = 0.0, end: float = inf, of: Callable[[int], bool] | None = None
    ) -> float:
        """The % of the calls that were refused, of some workers or of all."""
        calls = refused = 0
        for i, at in enumerate(self.starts):
            if start <= at < end and (of is None or of(self.workers[i])):
                calls += 1
                refused += not self.admitted[i]
        return 100.0 * refused / max(calls, 1)

    def peak(self, start: float, end: float) -> int:
        """How many bad calls were in flight at once, of those that began between two times."""
        changes = list[tuple[float, int]]()
        for i, at in enumerate(self.starts):
            if start <= at < end and self.admitted[i] and self.bad[i]:
                changes += [(at, 1), (at + self.tooks[i], -1)]
        flying = most = 0
        for _, change in sorted(changes):
            flying += change
            most = max(most, flying)
        return most


class Traffic:
    """One run.

    Args:
        clock: The time.
        everyone: The workers; they may be replaced while it runs.
        rate: Calls per second of all workers together.
        end: When the last call comes, in seconds.
        service: How calls end.
        seed: Of arrivals and ends: the same for all who take part.
    """

    def __init__(
        self,
        clock: Clock,
        everyone: list[Recloser],
        rate: float,
        end: float,
        service: Service,
        seed: int,
    ) -> None:
        self.record = Record()
        self.everyone = everyone
        self._clock, self._rate, self._end, self._service = clock, rate, end, service
        # The places of workers have their own draws: one worker has no place to draw.
        self._arrivals, self._places, self._ends = Random(seed), Random(~seed), Random(seed + 17)
        self._events: list[tuple[float, int, Callable[[object], None], object]] = []
        self._number = 0

    def schedule(self, at: float, handler: Callable[[object], None], argument: object) -> None:
        """Run a function with an argument at a time in seconds."""
        self._number += 1
        heappush(self._events, (at, self._number, handler, argument))

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Do something at a time in seconds."""

        def do(_: object) -> None:
            action()

        self.schedule(time, do, None)

    def run(self) -> Record:
        """Play it to the end."""
        self._next(0.0)
        events, clock, end = self._events, self._clock, self._end
        while events:
            at, _, handler, argument = heappop(events)
            if at >= end:
                break
            clock.now = at
            handler(argument)
        return self.record

    def _next(self, now: float) -> None:
        self.schedule(now + self._arrivals.expovariate(self._rate), self._arrive, None)

    def _arrive(self, _: object) -> None:
        now, record, everyone = self._clock.now, self.record, self.everyone
        self._next(now)
        place = int(self._places.random() * len(everyone))
        took, ending, bad = self._service(self._ends, now, place)
        worker = everyone[place]
        permit = worker.acquire()
        record.starts.append(now)
        record.workers.append(place)
        record.tooks.append(took)
        record.admitted.append(permit is not None)
        record.good.append(ending is Ending.OK)
        record.bad.append(bad)
        if permit is not None:
            self.schedule(now + took, self._finish, (worker, permit, ending, took))

    def _finish(self, argument: object) -> None:
        call: tuple[Recloser, Permit, Ending, float] = argument  # type: ignore[assignment]
        worker, permit, ending, took = call
        worker.end(permit, ending, took, 0.0)
