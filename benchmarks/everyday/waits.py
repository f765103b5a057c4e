"""D. Waits: what a callee that asks for a pause gets."""

from __future__ import annotations

from random import Random

from benchmarks.detection.simulator import Ending
from benchmarks.everyday.key import Draw, Fate, Key
from benchmarks.everyday.latencies import dead, lognormal
from benchmarks.everyday.scenario import REFUSED_2, Goal, Result, Scenario, result

GROUP = "D. Waits"
_WELL = lognormal(0.01, 0.3)
_WAIT = 30.0  # seconds, of each 429
_LONGEST = "wait after the blip, s"
_ADMITTED = "calls admitted, %"
_SENT = "calls sent per wait"
_SHARES = (0.005, 0.01, 0.05, 0.1, 0.3, 0.6)


def throttled(share: float) -> Draw:
    """A share of the calls is answered 429 with a Retry-After, the others well."""

    def fate(random: Random, since: float) -> Fate:
        return Fate(0.005, Ending.THROTTLED, _WAIT) if random.random() < share else _WELL(random, 0)

    return fate


def _one_503(_: float, seed: int) -> Result:
    """One 503 that asks for 300 s, a minute of good answers, a blip; then five good minutes."""
    key = Key(seed)
    key.play(_WELL, 10.0, calls=300)
    key.play(lambda random, since: Fate(0.01, Ending.FAILED, 300.0), 10.0, calls=1)
    key.play(_WELL, 10.0, 60.0)
    key.play(dead(), 10.0, calls=10)
    key.measure()
    wait = key.contender.breaker.retry_after
    key.play(_WELL, 10.0, 300.0)
    return result(key, figures={_LONGEST: wait})


def _some_429(share: float, seed: int) -> Result:
    key = Key(seed)
    key.play(_WELL, 10.0, calls=300)
    key.measure()
    key.play(throttled(share), 10.0, 1800.0)
    return result(key, figures={_ADMITTED: 100 * key.tally.admitted / key.tally.calls})


def _all_429(_: float, seed: int) -> Result:
    key = Key(seed)
    key.play(_WELL, 10.0, calls=300)
    key.measure()
    key.play(throttled(1.0), 10.0, 1800.0)
    return result(key, figures={_SENT: key.tally.admitted * _WAIT / 1800.0})


def scenarios() -> list[Scenario]:
    """Return the scenarios of this part."""
    kept = (Goal(_LONGEST, 60.0, always=True), REFUSED_2)
    rows = [Scenario("one 503 asks for 300 s; a blip a minute later", GROUP, _one_503, kept)]
    for share in _SHARES:
        # Twice the share of the 429s may be refused, and 2 % more. Most of the calls being 429,
        # either is right: to try, and to wait.
        goal = Goal(_ADMITTED, 98.0 - 200 * share if share < 0.5 else None, least=True)
        name = f"{100 * share:g} % are 429 with Retry-After {_WAIT:g}"
        rows.append(Scenario(name, GROUP, _some_429, (goal,), (share,)))
    few = Goal(_SENT, 3.0, always=True)
    name = f"100 % are 429 with Retry-After {_WAIT:g}"
    rows.append(Scenario(name, GROUP, _all_429, (few,)))
    return rows
