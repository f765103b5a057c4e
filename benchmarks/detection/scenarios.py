"""Scenarios: the phases of a service, drawn at random for each repeat.

Lengths and starts of faults are random, so that no fixed timer matches them by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, cos, pi
from random import Random
from typing import Any

from benchmarks.detection import services as s
from benchmarks.detection.services import MEDIAN, Service
from benchmarks.detection.simulator import Ending, Fault, World


@dataclass(slots=True)
class Phase:
    """A time with one service and one rate of calls per second.

    `fault` names the fault, if there is one. "step" means a new normal, which is not a fault.
    """

    seconds: float
    rate: float | Callable[[float], float]
    service: Service
    fault: str = ""


Story = Callable[[Random], Iterator[Phase]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named scenario.

    Attributes:
        name: The name of its row in the table.
        group: "independent" (healthy), "runs" (healthy), "step" (healthy, but new) or "fault".
        story: Draws the phases of one repeat.
        repeats: The number of repeats in a full benchmark.
    """

    name: str
    group: str
    story: Story
    repeats: int = 3

    def world(self, seed: int) -> World:
        """Draw one repeat. The same seed gives the same world on every machine."""
        random = Random(f"{self.name}/{seed}")
        world, now, end = World(MEDIAN), 0.0, 0.0
        for phase in self.story(random):
            start, end = end, end + phase.seconds
            if phase.fault == "step":
                world.changed = start
            elif phase.fault:
                world.faults.append(Fault(start, end, phase.fault))
            now = start
            while True:
                rate = phase.rate(now) if callable(phase.rate) else phase.rate
                now += random.expovariate(rate)
                if now >= end:
                    break
                took, ending, bad = phase.service(random, now - start)
                if ending is Ending.THROTTLED:
                    world.waits[len(world)] = ceil(end - now)
                world.add(now, took, ending, bad)
        return world


def _around(random: Random, mean: float) -> float:
    return mean * random.uniform(0.5, 1.5)


def _always(service: Callable[[], Service], seconds: float, rate: float) -> Story:
    def story(random: Random) -> Iterator[Phase]:
        yield Phase(seconds, rate, service())

    return story


def _faults(
    sick: Service,
    *,
    rate: float = 50.0,
    length: float = 60.0,
    before: float = 300.0,
    between: float = 120.0,
    times: int = 3,
    well: Service | None = None,
) -> Story:
    well = well or s.healthy(s.lognormal())

    def story(random: Random) -> Iterator[Phase]:
        yield Phase(_around(random, before), rate, well)
        for _ in range(times):
            yield Phase(_around(random, length), rate, sick, "fault")
            yield Phase(_around(random, between), rate, well)

    return story


def _step(factor: float) -> Story:
    def story(random: Random) -> Iterator[Phase]:
        yield Phase(_around(random, 300.0), 50.0, s.healthy(s.lognormal()))
        yield Phase(1200.0, 50.0, s.healthy(s.scaled(s.lognormal(), factor)), "step")

    return story


def _cold_start(random: Random) -> Iterator[Phase]:
    yield Phase(_around(random, 60.0), 50.0, s.failing(0.02), "fault")
    yield Phase(_around(random, 240.0), 50.0, s.healthy(s.lognormal()))


def _ramp(random: Random) -> Iterator[Phase]:
    well = s.healthy(s.lognormal())
    yield Phase(_around(random, 300.0), 50.0, well)
    ramp = s.slower(s.lognormal(), lambda age: 10.0 ** min(age / 600.0, 1.0))
    yield Phase(600.0 + _around(random, 60.0), 50.0, ramp, "fault")
    yield Phase(_around(random, 120.0), 50.0, well)


def _oscillation(random: Random) -> Iterator[Phase]:
    well, sick = s.healthy(s.lognormal()), s.failing(0.02)
    yield Phase(_around(random, 300.0), 50.0, well)
    for _ in range(20):
        yield Phase(_around(random, 5.0), 50.0, sick, "fault")
        yield Phase(_around(random, 5.0), 50.0, well)
    yield Phase(_around(random, 120.0), 50.0, well)


def _limping(random: Random) -> Iterator[Phase]:
    well = s.healthy(s.lognormal())
    failed = 0.02, Ending.FAILED, True
    yield Phase(_around(random, 300.0), 50.0, well)
    for _ in range(3):
        yield Phase(_around(random, 60.0), 50.0, s.failing(0.02), "fault")
        limp = _around(random, 60.0)
        share = _falling(limp)
        yield Phase(limp, 50.0, s.sometimes(well, share, failed), "limping")
        yield Phase(_around(random, 120.0), 50.0, well)


def _falling(length: float) -> Callable[[float], float]:
    return lambda age: 0.5 * (1.0 - age / length)


def _day_and_night(random: Random) -> Iterator[Phase]:
    """Two days. At noon there are ten times as many calls as at night, each twice as long."""

    def noon(now: float) -> float:
        return 0.5 - 0.5 * cos(2 * pi * now / 86_400.0)

    latency = s.scaled(s.lognormal(), lambda now: 1.0 + noon(now))
    yield Phase(2 * 86_400.0, lambda now: 0.1 + 0.9 * noon(now), s.healthy(latency))


def _bursts(random: Random) -> Iterator[Phase]:
    """Ten mornings after idle nights. In the first second the caches are cold."""
    latency = s.lognormal()
    for _ in range(10):
        yield Phase(1.0, 50.0, s.healthy(s.scaled(latency, 2.0)))
        yield Phase(_around(random, 60.0), 50.0, s.healthy(latency))
        yield Phase(_around(random, 36_000.0), 1e-6, s.healthy(latency))


def _healthy() -> list[Scenario]:
    base = s.lognormal()

    def steady(
        name: str,
        service: Callable[[], Service],
        group: str = "independent",
        rate: float = 50.0,
        seconds: float = 1200.0,
    ) -> Scenario:
        return Scenario(name, group, _always(service, seconds, rate))

    caller = 0.01, Ending.CALLER_ERROR, False
    return [
        steady("lognormal", lambda: s.healthy(base)),
        steady("Pareto", lambda: s.healthy(s.pareto())),
        steady("exponential", lambda: s.healthy(s.exponential())),
        steady("5 % of calls 20x slower", lambda: s.healthy(s.bimodal(0.05))),
        steady("20 % of calls 20x slower", lambda: s.healthy(s.bimodal(0.2))),
        steady("30 % of calls 20x slower", lambda: s.healthy(s.bimodal(0.3))),
        steady("2 % errors", lambda: s.healthy(base, 0.02)),
        steady("10 % errors", lambda: s.healthy(base, 0.1)),
        steady("20 % errors", lambda: s.healthy(base, 0.2)),
        steady("lognormal, 0.1/s", lambda: s.healthy(base), rate=0.1, seconds=200_000.0),
        steady("10 % errors, 1/s", lambda: s.healthy(base, 0.1), rate=1.0, seconds=30_000.0),
        steady("2 % errors, 2,000/s", lambda: s.healthy(base, 0.02), rate=2000.0, seconds=60.0),
        steady("4xx storm", lambda: s.sometimes(s.healthy(base), 0.7, caller)),
        steady("clients disconnect", lambda: s.disconnecting(base, 0.3)),
        Scenario("day and night", "independent", _day_and_night, 2),
        Scenario("bursts after idle nights", "independent", _bursts),
        steady("errors: 2 % stay 0.5", lambda: s.failing_runs(base, 0.02, 0.5), "runs"),
        steady("errors: 5 % stay 0.7", lambda: s.failing_runs(base, 0.05, 0.7), "runs"),
        steady("errors: 1 % stay 0.8", lambda: s.failing_runs(base, 0.01, 0.8), "runs"),
        steady("slow: 2 % stay 0.5", lambda: s.healthy(s.slow_runs(0.02, 0.5)), "runs"),
        steady("slow: 5 % stay 0.7", lambda: s.healthy(s.slow_runs(0.05, 0.7)), "runs"),
        steady("slow: 1 % stay 0.8", lambda: s.healthy(s.slow_runs(0.01, 0.8)), "runs"),
    ]


def _steps() -> list[Scenario]:
    return [
        Scenario(f"{factor:g}x slower for good", "step", _step(factor))
        for factor in (1.3, 2.5, 3.0, 3.5, 6.0)
    ]


def _sick() -> list[Scenario]:
    base = s.lognormal()
    well = s.healthy(base)
    failed = 0.02, Ending.FAILED, True
    throttled = 0.02, Ending.THROTTLED, True
    down = s.failing(0.02)
    hung, given_up = s.hanging(30.0), s.hanging(10.0, cancelled=True)

    def sick(name: str, story: Story, repeats: int = 3) -> Scenario:
        return Scenario(name, "fault", story, repeats)

    quick: Any = {"rate": 2000.0, "length": 20.0, "before": 30.0, "between": 20.0}
    return [
        sick("fast failures", _faults(down)),
        sick("fast failures, 2 % errors before", _faults(down, well=s.healthy(base, 0.02))),
        sick("fast failures, 10 % errors before", _faults(down, well=s.healthy(base, 0.1))),
        sick("slow failures", _faults(s.failing(2.0))),
        sick("hang until a 30 s time-out", _faults(hung)),
        sick("hang, client cancels at 10 s", _faults(given_up)),
        sick("60 % fail", _faults(s.sometimes(well, 0.6, failed))),
        sick("30 % fail", _faults(s.sometimes(well, 0.3, failed))),
        sick("3x slower", _faults(s.slower(base, 3.0))),
        sick("5x slower", _faults(s.slower(base, 5.0))),
        sick("10x slower", _faults(s.slower(base, 10.0))),
        sick("slow ramp to 10x", _ramp),
        sick("oscillation", _oscillation),
        sick("one-second blips", _faults(down, length=1.0, between=40.0, times=20)),
        sick("cold start in an outage", _cold_start, 6),
        sick("recovery that limps", _limping),
        sick("429 with Retry-After", _faults(s.sometimes(well, 1.0, throttled), length=30.0)),
        sick("down for 30 min", _faults(down, length=1800.0, times=1), 4),
        sick(
            "down for 8 h, 1/s",
            _faults(down, rate=1.0, length=28_800.0, before=3600.0, between=3600.0, times=1),
            2,
        ),
        sick("down, 2,000/s", _faults(down, **quick, times=2)),
        sick("hang until a 30 s time-out, 2,000/s", _faults(hung, **quick, times=2), 2),
        sick("hang, client cancels, 2,000/s", _faults(given_up, **quick, times=2), 2),
        sick(
            "down, 1/s",
            _faults(down, rate=1.0, length=120.0, before=1800.0, between=900.0, times=6),
        ),
        sick(
            "hang until a 30 s time-out, 1/s",
            _faults(hung, rate=1.0, length=120.0, before=1800.0, between=900.0, times=6),
        ),
        sick(
            "down, 0.1/s",
            _faults(down, rate=0.1, length=1800.0, before=10_000.0, between=7200.0, times=4),
        ),
    ]


def scenarios() -> list[Scenario]:
    """Return all scenarios, healthy ones first."""
    return [*_healthy(), *_steps(), *_sick()]
