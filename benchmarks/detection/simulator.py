"""An event-level simulator of one key on virtual time.

A `World` is a list of calls whose fate is settled beforehand: when each is asked for, how long it
would take, how it would end, and whether a fault made it bad. Every breaker is shown the same
world, so differences between them are differences in judgement and not in luck. A breaker sees
only what it would see in production: somebody asks to call, an admitted call ends.
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
    THROTTLED = 2  # "later", with a Retry-After
    CALLER_ERROR = 3  # the caller's own fault, a 4xx
    CANCELLED = 4  # the caller went away


class Clock:
    """Virtual time, in seconds, that the simulator turns."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Contender(Protocol):
    """A breaker under test. All of it happens at `clock.now`."""

    openings: list[float]
    """When it went from letting calls through to refusing them; seconds."""
    alarms: list[float]
    """The same, and when a probe was found bad; seconds."""

    def acquire(self) -> object | None:
        """Admit a call (anything but None, handed back to `end`) or refuse it (None)."""

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        """Take in how an admitted call ended, how long it took, and what Retry-After it bore."""


@dataclass(slots=True)
class Fault:
    """A stretch of a world in which the service is sick; seconds."""

    start: float
    end: float
    kind: str = "fault"


@dataclass(slots=True)
class World:
    """The calls of one run, in order of time, and the faults among them.

    Attributes:
        median: Typical latency of the healthy service, which a tuner would know; seconds.
        starts: When each call is asked for; seconds.
        tooks: How long each would take to its end, whatever that is; seconds.
        endings: `Ending` of each.
        bad: 1 for a call that a fault makes fail or be slow.
        faults: When the service was sick, ascending.
        waits: Index of a throttled call -> the Retry-After it is told; seconds.
        changed: When a new, slower normal began, if one does; seconds.
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
        """Append a call; calls come in order of time."""
        self.starts.append(start)
        self.tooks.append(took)
        self.endings.append(ending)
        self.bad.append(bad)


@dataclass(slots=True)
class Run:
    """What one contender did with one world.

    Attributes:
        admitted: 1 for each call that was let through.
        openings: When it opened; seconds.
        alarms: The same, and when a probe was found bad; seconds.
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
    """Play a world to a contender.

    Args:
        world: The calls.
        contender: It reads the time from `clock`.
        clock: Turned to each event in turn.
        watch: Called with each call's index just before the call is asked for.
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
