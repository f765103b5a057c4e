"""What happens to the callee, as data: load, servers, speed, faults, and how clients behave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, inf

Steps = tuple[tuple[float, float], ...]
"""(time in seconds, value from then on), ascending; the first time is 0."""

WARM_UP, TRIGGER, COOL_DOWN = 120.0, 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to some of the attempts during the trigger, at random.

    Attributes:
        kind: `fail`, `hang` (no answer ever), `throttle` (a 429), `slow`, or `lock` (the call needs
            a lock that only one holds at a time). None of these attempts takes a server.
        share: Share of the attempts, 0.0-1.0; for `lock`, of the calls.
        took: Seconds until the answer of `fail` and `throttle`; seconds for which `lock` holds the
            lock, on average; for `slow`, the multiple of the usual time.
        wait: Retry-After of `throttle`, in seconds.
    """

    kind: str
    share: float
    took: float = 0.005
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. Times are seconds, rates are calls per second.

    Attributes:
        name: Its name in the tables.
        group: `overload`, `fault`, `threads`, `throttle`, `unseen` (nobody tuned for it) or
            `healthy`.
        rates: New user calls, not counting retries.
        servers: How many servers the callee has.
        mean: Average service time; it is lognormal with a sigma of 0.5.
        slowdown: Multiple of the service time at a time; None for 1.
        pause: (every, length) of the times in which the callee stands still in the trigger.
        fault: What happens to some attempts.
        discipline: `fifo` or `sharing`.
        sheds: The callee fails a call at once if so many are waiting; None if it never does.
        retries: How often a client tries again after a failure.
        timeout: When a client gives up an attempt.
        threads: Threads of each worker, each of which makes one call at a time; 0 for no limit.
        patience: When a user is gone. An answer after that helps nobody.
        workers: Processes with a breaker of their own.
        trigger: How long the trigger lasts.
        warm_up: How long it is healthy before.
        cool_down: How long it is healthy afterwards.
        lasting: Whether more calls come than can be served for the whole trigger.
    """

    name: str
    group: str
    rates: Steps = ((0.0, 120.0),)
    servers: Steps = ((0.0, 10),)
    mean: float = 0.05
    slowdown: Callable[[float], float] | None = None
    pause: tuple[float, float] | None = None
    fault: Fault | None = None
    discipline: str = "fifo"
    sheds: int | None = None
    retries: int = 1
    timeout: float = 2.0
    threads: int = 0
    patience: float = inf
    workers: int = 1
    trigger: float = TRIGGER
    warm_up: float = WARM_UP
    cool_down: float = COOL_DOWN
    lasting: bool = False

    @property
    def over(self) -> float:
        """When the trigger ends."""
        return self.warm_up + self.trigger

    @property
    def end(self) -> float:
        """When the last call comes."""
        return self.over + self.cool_down


def during(usual: float, then: float, length: float = TRIGGER) -> Steps:
    """A value that differs during the trigger."""
    return ((0.0, usual), (WARM_UP, then), (WARM_UP + length, usual))


def _cold(at: float) -> float:
    return 1.0 + 3.0 * exp((WARM_UP - at) / 26.0) if at >= WARM_UP else 1.0


def _scaled() -> Steps:
    """Two more servers every 11 s, until there are twice as many."""
    more = tuple((WARM_UP + 11.0 * step, 10.0 + 2 * step) for step in range(1, 6))
    return ((0.0, 10.0), *more)


def _overload() -> list[Scenario]:
    half = Scenario(
        "capacity halved", "overload", during(140, 140), servers=during(10, 5), lasting=True
    )
    crowds = [
        Scenario(f"flash crowd {x:g}x", "overload", during(120, 200 * x), lasting=True)
        for x in (1.2, 2.0)
    ]
    return [
        *crowds,
        *(replace(crowd, name=f"{crowd.name}, sheds", sheds=60) for crowd in crowds),
        half,
        replace(half, name="capacity halved, sheds", sheds=60),
        Scenario(
            "retry storm",
            "overload",
            during(150, 150),
            servers=during(10, 3, 20.0),
            retries=3,
            timeout=1.0,
            trigger=20.0,
            lasting=True,
        ),
        Scenario("cold cache", "overload", slowdown=_cold),
        Scenario("pool of 2 of 10", "overload", servers=during(10, 2), timeout=1.0, lasting=True),
        Scenario("autoscaling lag", "overload", during(120, 320), servers=_scaled()),
        Scenario("lock", "overload", fault=Fault("lock", 0.2, took=0.06)),
    ]


def _faults() -> list[Scenario]:
    def hang(share: float) -> Fault:
        return Fault("hang", share)

    failing = (0.125, 0.25, 0.4, 0.45, 0.5, 0.6)
    return [
        Scenario("pause of 1 s", "fault", pause=(60.0, 1.0)),
        *(Scenario(f"{s:.3g} fail", "fault", fault=Fault("fail", s)) for s in failing),
        *(Scenario(f"{s:.3g} hang", "fault", fault=hang(s)) for s in (0.125, 0.25)),
        *(
            Scenario(
                f"{s:.3g} hang, 8 x 8 threads",
                "threads",
                fault=hang(s),
                timeout=10.0,
                threads=8,
                patience=10.0,
                workers=8,
            )
            for s in (0.125, 0.25)
        ),
        Scenario("1 % 429, 20 s", "throttle", fault=Fault("throttle", 0.01, wait=20.0)),
        Scenario("10 % 429, 1 s", "throttle", fault=Fault("throttle", 0.1, wait=1.0)),
    ]


def _unseen() -> list[Scenario]:
    crowd = Scenario("flash crowd 1.5x", "unseen", during(120, 300), lasting=True)
    named = {story.name: story for story in _overload()}
    shared = ("flash crowd 1.2x", "flash crowd 2x", "capacity halved", "pool of 2 of 10")
    return [
        *(
            replace(named[name], name=f"{name}, sharing", group="unseen", discipline="sharing")
            for name in shared
        ),
        crowd,
        Scenario(
            "halved, 20 of 200 ms",
            "unseen",
            during(70, 70),
            servers=during(20, 10),
            mean=0.2,
            lasting=True,
        ),
        Scenario("lock of 0.1", "unseen", fault=Fault("lock", 0.1, took=0.12)),
        Scenario("0.33 hang", "unseen", fault=Fault("hang", 0.33)),
        Scenario("1 of 8 is 10x slower", "unseen", fault=Fault("slow", 0.125, took=10.0)),
        Scenario("0.3 fail after 0.5 s", "unseen", fault=Fault("fail", 0.3, took=0.5)),
    ]


def _healthy() -> list[Scenario]:
    """Queues without a trigger. What is measured lasts 600 s after the warm-up."""
    return [
        Scenario(
            f"M/G/{servers} at {load:g}",
            "healthy",
            ((0.0, load * servers / 0.05),),
            servers=((0.0, servers),),
            trigger=600.0,
            cool_down=0.0,
        )
        for servers, load in ((1, 0.5), (1, 0.7), (1, 0.9), (10, 0.8), (10, 0.9))
    ]


def scenarios(workers: tuple[int, ...] = (1,)) -> list[Scenario]:
    """Every scenario; those of overload also with more workers, which share the calls."""
    overload = _overload()
    more = [
        replace(story, name=f"{story.name}, {number} workers", workers=number)
        for number in workers
        if number > 1
        for story in overload
        if story.name != "lock"
    ]
    return [*overload, *_faults(), *_unseen(), *_healthy(), *more]
