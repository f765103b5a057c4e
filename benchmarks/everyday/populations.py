"""A. Populations: healthy load that is not simple.

Every call is counted, from the first; of a flushed cache, the two minutes after the flush.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from random import Random

from benchmarks.everyday import latencies
from benchmarks.everyday.key import USES_LABELS, Draw, Fate, Key, Rate
from benchmarks.everyday.scenario import REFUSED, REFUSED_2, Goal, Play, Result, Scenario, result

GROUP = "A. Populations"
_HOUR = 3600.0


def _usual() -> Draw:
    return latencies.lognormal(0.05, 0.5)


def cron(times: float) -> Rate:
    """10 calls/s, and for three seconds of each minute a multiple of it."""
    return lambda since: 10.0 * (times if since % 60.0 >= 57.0 else 1.0)


def _cron(times: float, seed: int) -> Result:
    """Ten servers of 50 ms on average, so that they are busy at 20x and too few at 30x."""
    key, work = Key(seed), latencies.lognormal(0.05 * exp(-0.125), 0.5)
    key.play(work, cron(times), _HOUR, send=latencies.Queue(10).send)
    return result(key)


def cold_connections(random: Random, since: float) -> float:
    return random.uniform(2.0, 5.0) if since < 1.0 else 1.0


def _idle_bursts(_: float, seed: int) -> Result:
    key = Key(seed)
    for _hour in range(24):
        key.play(latencies.scaled(_usual(), cold_connections), 20.0, 30.0)
        key.rest(_HOUR)
    return result(key)


def uploads(share: float) -> latencies.Factor:
    """A share of the calls takes 10-40x as long, in clusters of one client."""
    clusters = latencies.Clusters(share)
    return lambda random, since: random.uniform(10.0, 40.0) if clusters.inside(random) else 1.0


def deploy(random: Random, since: float) -> float:
    """Every 20 minutes all is 5x slower, which decays over 30 s."""
    age = since % 1200.0
    return 1.0 + 4.0 * (1.0 - age / 30.0) if since >= 1200.0 and age < 30.0 else 1.0


def cold_instance(random: Random, since: float) -> float:
    """Every 20 minutes one of four instances is 8x slower for a minute."""
    new = since >= 1200.0 and since % 1200.0 < 60.0
    return 8.0 if new and random.random() < 0.25 else 1.0


def batch(share: float) -> latencies.Factor:
    """One minute in ten, a share of the calls is batch calls that take 10x as long."""

    def factor(random: Random, since: float) -> float:
        return 10.0 if since % 600.0 >= 540.0 and random.random() < share else 1.0

    return factor


def _scaled(factor: Callable[[float], latencies.Factor]) -> Play:
    def play(variant: float, seed: int) -> Result:
        key = Key(seed)
        key.play(latencies.scaled(_usual(), factor(variant)), 20.0, 2 * _HOUR)
        return result(key, f"{variant:.0%}")

    return play


def cache_flush(*, cacheable: float, zipf: bool) -> Play:
    """A cache that hit is flushed; the two minutes that follow are counted."""

    def play(_: float, seed: int) -> Result:
        key, cache = Key(seed), latencies.Cache(2000, cacheable, zipf=zipf)
        cache.fill()
        key.play(cache.draw, 50.0, 600.0, send=cache.send)
        cache.flush()
        key.measure()
        key.play(cache.draw, 50.0, 120.0, send=cache.send)
        return result(key)

    return play


def _prompts(*, labelled: bool = False, sized: bool = False) -> Play:
    def play(_: float, seed: int) -> Result:
        key = Key(seed, labelled=labelled, sized=sized)
        key.play(latencies.prompts(), 2.0, 6 * _HOUR)
        return result(key)

    return play


def _errors(share: float, seed: int) -> Result:
    key = Key(seed)
    key.play(latencies.failing(_usual(), share), 20.0, _HOUR)
    return result(key)


def mixture(random: Random, since: float) -> Fate:
    """90 % of the calls take 0.1 s, 10 % take 1-3 s."""
    return Fate(random.uniform(1.0, 3.0) if random.random() < 0.1 else 0.1)


def _mixture(_: float, seed: int) -> Result:
    key = Key(seed)
    key.play(mixture, 20.0, 2 * _HOUR)
    return result(key)


def slow_is_active(since: float) -> bool:
    """Whether the slow tenant is: one hour in six."""
    return since % (6 * _HOUR) >= 5 * _HOUR


def tenants() -> tuple[Draw, Rate]:
    """Two tenants of 5 calls/s each; the second takes 10x as long."""
    usual = latencies.lognormal(0.1, 0.3)

    def factor(random: Random, since: float) -> float:
        return 10.0 if slow_is_active(since) and random.random() < 0.5 else 1.0

    return latencies.scaled(usual, factor), lambda since: 10.0 if slow_is_active(since) else 5.0


def _tenants(_: float, seed: int) -> Result:
    key = Key(seed)
    draw, rate = tenants()
    key.play(draw, rate, 12 * _HOUR)
    return result(key)


def scenarios() -> list[Scenario]:
    """Return the scenarios of this part."""

    def row(name: str, play: Play, *variants: float, bound: Goal = REFUSED_2) -> Scenario:
        return Scenario(name, GROUP, play, (bound,), variants or (0.0,))

    # The row is left out while there is no breaker that can use labels.
    labelled = [row("the same, size as label", _prompts(labelled=True))] if USES_LABELS else []
    return [
        row("cron burst at 10x for 3 s a minute", _cron, 10.0),
        row("cron burst at 20x", _cron, 20.0),
        row("cron burst at 30x", _cron, 30.0),
        row("bursts after idle hours", _idle_bursts),
        row("clustered uploads of 10-40x", _scaled(uploads), 0.05, 0.1, 0.15),
        row("cold deploy, 5x decaying", _scaled(lambda _: deploy)),
        row("one of 4 instances cold, 8x", _scaled(lambda _: cold_instance)),
        row("batch of 30 % at 10x", _scaled(batch), 0.3),
        row("batch of 60 % at 10x", _scaled(batch), 0.6),
        row("cache flush, 2,000 keys by Zipf", cache_flush(cacheable=0.8, zipf=True)),
        row("cache flush, 2,000 keys alike", cache_flush(cacheable=0.8, zipf=False)),
        row("prompts in blocks of a size", _prompts(), bound=Goal(REFUSED, 4.0)),
        *labelled,
        row("the same, size told at the end", _prompts(sized=True)),
        *(
            row(f"{share:.0%} errors from the first call", _errors, share)
            for share in (0.3, 0.45, 0.55, 0.6)
        ),
        row("90 % 0.1 s, 10 % 1-3 s", _mixture),
        row("a slow tenant one hour in six", _tenants),
    ]
