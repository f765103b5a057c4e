"""Services, healthy and with faults: how each of their calls ends.

A service is a function `(random, now) -> (seconds to the end, ending, made bad by a fault)`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from random import Random

from benchmarks.detection.simulator import Ending

Fate = tuple[float, Ending, bool]
Service = Callable[[Random, float], Fate]
Latency = Callable[[Random, float], float]

MEDIAN = 0.1  # seconds, of every service here
# An answer is late from this multiple of the median on: 2.5 standard deviations of the lognormal
# service. A person who tunes a breaker would configure the same.
SLOW = 3.5
_LONGEST = 30.0  # seconds; the server's own time-out, which limits the longest answers


def lognormal(sigma: float = 0.5, median: float = MEDIAN) -> Latency:
    return lambda random, now: median * exp(random.gauss(0.0, sigma))


def exponential(median: float = MEDIAN) -> Latency:
    return lambda random, now: random.expovariate(0.693147 / median)


def pareto(alpha: float = 1.5, median: float = MEDIAN) -> Latency:
    least = median / 2 ** (1 / alpha)
    return lambda random, now: min(least * random.paretovariate(alpha), _LONGEST)


def bimodal(share: float, ratio: float = 20.0) -> Latency:
    """A share of the calls (cold cache, large tenant) takes `ratio` times as long."""
    fast = lognormal(0.3)
    return lambda random, now: fast(random, now) * (ratio if random.random() < share else 1.0)


def slow_runs(enter: float, stay: float, ratio: float = 10.0) -> Latency:
    """Slow calls come in runs: a Markov chain of two states."""
    fast, slow = lognormal(0.4), [False]

    def latency(random: Random, now: float) -> float:
        slow[0] = random.random() < (stay if slow[0] else enter)
        return fast(random, now) * (ratio if slow[0] else 1.0)

    return latency


def scaled(latency: Latency, factor: float | Callable[[float], float]) -> Latency:
    """The same latency times a factor, which may depend on the time."""
    if callable(factor):
        return lambda random, now: latency(random, now) * factor(now)
    return lambda random, now: latency(random, now) * factor


def healthy(latency: Latency, failing: float = 0.001) -> Service:
    """Answers, except for a share of everyday failures that are independent of each other."""

    def fate(random: Random, now: float) -> Fate:
        ending = Ending.FAILED if random.random() < failing else Ending.OK
        return latency(random, now), ending, False

    return fate


def failing_runs(latency: Latency, enter: float, stay: float) -> Service:
    """Everyday failures come in runs: a Markov chain of two states."""
    failed = [False]

    def fate(random: Random, now: float) -> Fate:
        failed[0] = random.random() < (stay if failed[0] else enter)
        return latency(random, now), Ending.FAILED if failed[0] else Ending.OK, False

    return fate


def sometimes(service: Service, share: float | Callable[[float], float], other: Fate) -> Service:
    """A share of the calls ends in another, fixed way."""

    def fate(random: Random, now: float) -> Fate:
        odds = share(now) if callable(share) else share
        return other if random.random() < odds else service(random, now)

    return fate


def disconnecting(latency: Latency, share: float) -> Service:
    """Healthy, but a share of the clients disconnects before the answer."""

    def fate(random: Random, now: float) -> Fate:
        took = latency(random, now)
        if random.random() < share:
            return took * random.random(), Ending.CANCELLED, False
        return took, Ending.OK, False

    return fate


def slower(latency: Latency, factor: float | Callable[[float], float]) -> Service:
    """A fault: all calls are answered, but later. A call is bad if its own answer is too late."""
    late = scaled(latency, factor)

    def fate(random: Random, now: float) -> Fate:
        took = late(random, now)
        return took, Ending.OK, took > SLOW * MEDIAN

    return fate


def failing(took: float) -> Service:
    """A fault: every call fails after about `took` seconds."""
    return lambda random, now: (took * random.uniform(0.5, 1.5), Ending.FAILED, True)


def hanging(timeout: float, *, cancelled: bool = False) -> Service:
    """A fault: no answer. The server's time-out fails the call, or the client's cancels it."""
    fate = timeout, Ending.CANCELLED if cancelled else Ending.FAILED, True
    return lambda random, now: fate
