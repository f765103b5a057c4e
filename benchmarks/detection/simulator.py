"""An event-level simulator of one key on virtual time.

A `World` is a list of calls that are fixed in advance: when each call starts, how long it would
take, how it would end, and whether a fault made it bad. Every breaker gets the same world, so
differences between breakers are not due to chance. A breaker sees only what it would see in
production: a call that needs admission, and the end of an admitted call.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush
from typing import Protocol


class Ending(IntEnum):
    """How a call ends, as a client sees it."""

    OK = 0
    FAILED = 1
    THROTTLED = 2  # a 429 with a Retry-After
    CALLER_ERROR = 3  # the caller's own mistake, a 4xx
    CANCELLED = 4  # the client disconnected


class Clock:
    """Virtual time in seconds, set by the simulator."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Contender(Protocol):
    """A breaker under test. Each method is called at the time `clock.now`."""

    openings: list[float]
    """Times at which it changed from admitting all calls to refusing or limiting them, in seconds."""
    alarms: list[float]
    """The same, plus the times at which a probe was bad, in seconds."""

    def acquire(self) -> object | None:
        """Admit a call (return an object, which `end` gets back) or refuse it (return None)."""

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        """Record how an admitted call ended, its duration, and its Retry-After, in seconds."""


@dataclass(slots=True)
class Fault:
    """A time in a world in which the service is unhealthy, in seconds."""

    start: float
    end: float
    kind: str = "fault"


@dataclass(slots=True)
class World:
    """The calls of one run, in order of time, and the faults among them.

    Attributes:
        median: Median latency of the healthy service, in seconds. Tuned peers know it.
        starts: When each call starts, in seconds.
        tooks: How long each call takes to its end, for any ending, in seconds.
        endings: The `Ending` of each call.
        bad: 1 for each call that a fault makes fail or be slow.
        faults: When the service was unhealthy, ascending.
        waits: Index of a throttled call -> its Retry-After, in seconds.
        changed: When a new, slower normal began, in seconds; None if none began.
    """

    median: float
    starts: array[float] = field(default_factory=lambda: array("d"))
    tooks: array[float] = field(default_factory=lambda: array("d"))
    endings: bytearray = field(default_factory=bytearray)
    bad: bytearray = field(default_factory=bytearray)
    faults: list[Fault] = field(default_factory=list)
    waits: dict[int, float] = field(default_factory=dict)
    changed: float | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: float, took: float, ending: Ending, bad: bool) -> None:
        """Append a call. Calls must be added in order of time."""
        self.starts.append(start)
        self.tooks.append(took)
        self.endings.append(ending)
        self.bad.append(bad)


@dataclass(slots=True)
class Run:
    """What one contender did with one world.

    Attributes:
        admitted: 1 for each call that was admitted.
        openings: When it opened, or began to limit the calls in flight, in seconds.
        alarms: The same, plus the times at which a probe was bad, in seconds.
    """

    admitted: bytearray
    openings: list[float]
    alarms: list[float]


def simulate(
    world: World,
    contender: Contender,
    clock: Clock,
    watch: Callable[[int], None] | None = None,
) -> Run:
    """Run a contender through a world.

    Args:
        world: The calls.
        contender: The breaker. It must read the time from `clock`.
        clock: Set to the time of each event.
        watch: Called with the index of each call just before its admission.
    """
    admitted = bytearray(len(world))
    in_flight: list[tuple[float, int, object]] = []
    acquire, end = contender.acquire, contender.end
    tooks, waits = world.tooks, world.waits
    endings = [Ending(ending) for ending in range(len(Ending))]

    def finish(until: float) -> None:
        while in_flight and in_flight[0][0] <= until:
            clock.now, index, permit = heappop(in_flight)
            end(permit, endings[world.endings[index]], tooks[index], waits.get(index, 0.0))

    for index, start in enumerate(world.starts):
        if in_flight and in_flight[0][0] <= start:
            finish(start)
        clock.now = start
        if watch is not None:
            watch(index)
        permit = acquire()
        if permit is not None:
            admitted[index] = 1
            heappush(in_flight, (start + tooks[index], index, permit))
    finish(float("inf"))
    return Run(admitted, list(contender.openings), list(contender.alarms))
