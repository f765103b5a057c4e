"""The theoretical bound: the delay of detection, and the interval between false openings.

Take a rule that opens by chance once in N healthy calls. In the worst case it needs at least
ln(N) / KL calls on average to detect an outage (Lorden 1971). KL is the evidence of one call of the
outage against normal, in nats. Normal means independent failures at rate p0, or a Markov chain of
the same rate whose failures come in runs. In an outage each call fails with probability p1.

The bound is for a rule that knows normal and p1. recloser knows neither: it has learned normal from
the calls of the key, and estimates p1 during the outage, which costs some ln(n) / 2 nats after n
calls (Krichevsky and Trofimov 1981). It also needs `min_failures` bad calls, whatever the bound is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt
from multiprocessing import Pool
from random import Random
from statistics import fmean, stdev

from benchmarks.detection.progress import progress
from benchmarks.detection.runner import quiet
from benchmarks.detection.simulator import Clock
from recloser import Breaker, Policy, State

RATES = (0.001, 0.02, 0.1, 0.2)
STAY = 0.5  # in runs: probability that the call after a failure fails, too
_GAP = 0.02  # seconds between calls
_LEARNING = 20_000  # calls of a key before its outage
_NEVER = 10_000  # an outage not detected after so many calls counts as detected then


@dataclass(frozen=True, slots=True)
class Delay:
    """Mean number of calls to detection with its standard error, and the bound."""

    p0: float
    runs: bool
    p1: float
    calls: float
    error: float
    bound: float

    @property
    def ratio(self) -> float:
        return self.calls / self.bound


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean number of healthy calls between false openings, and the configured interval."""

    p0: float
    runs: bool
    asked: float
    calls: int
    openings: int

    @property
    def ratio(self) -> float:
        """Measured over configured interval. If nothing opened, all calls are one interval."""
        return self.calls / max(self.openings, 1) / self.asked


def _kl(p: float, q: float) -> float:
    terms = ((p, q), (1.0 - p, 1.0 - q))
    return sum(a * log(a / b) if b else inf for a, b in terms if a)


class _Key:
    """One key that goes through normal times, and then one outage."""

    def __init__(self, p0: float, *, runs: bool, interval: float, seed: str) -> None:
        self.p11 = STAY if runs else p0
        self.p01 = p0 * (1.0 - self.p11) / (1.0 - p0)
        self._random = Random(seed).random
        self._clock = Clock()
        policy = Policy(false_trip_interval=interval)
        self.breaker = Breaker("key", policy, clock=self._clock, random=Random(seed).random)
        self._failed = False
        self.openings = 0

    def live(self, calls: int) -> None:
        for _ in range(calls):
            self._clock.now += _GAP
            self._failed = self._random() < (self.p11 if self._failed else self.p01)
            self.breaker.record(0.1, not self._failed)
            if self.breaker.state is not State.CLOSED:
                self.openings += 1
                self._recover()

    def suffer(self, p1: float) -> int:
        """Run an outage; return how many calls passed until it was detected."""
        calls = 0
        while self.breaker.state is State.CLOSED and calls < _NEVER:
            calls += 1
            self._clock.now += _GAP
            self.breaker.record(0.1, self._random() >= p1)
        return calls

    def _recover(self) -> None:
        # A false opening ends with the first round of probes.
        self._clock.now += Policy().open_for
        self.breaker.half_open()
        while self.breaker.state is not State.CLOSED:
            self.breaker.record(0.1, True)
        self._failed = False


_Row = tuple[float, bool, float]
"""p0, whether in runs, p1."""
ROWS: list[_Row] = [(p0, runs, p1) for p0 in RATES for runs in (False, True) for p1 in (1.0, 0.6)]


def _delay(job: tuple[_Row, int]) -> Delay:
    (p0, runs, p1), repeats = job
    calls: list[int] = []
    for repeat in range(repeats):
        seed = f"{p0}/{runs}/{p1}/{repeat}"
        key = _Key(p0, runs=runs, interval=Policy().false_trip_interval, seed=seed)
        key.live(_LEARNING)
        calls.append(key.suffer(p1))
    told = (1.0 - p1) * _kl(p1, key.p01) + p1 * _kl(p1, key.p11)
    bound = log(Policy().false_trip_interval) / told
    return Delay(p0, runs, p1, fmean(calls), stdev(calls) / sqrt(repeats), bound)


def delays(repeats: int, *, processes: int = 1) -> list[Delay]:
    """Measure the delay of detection under the default policy, on a fresh key for each repeat.

    A key that has seen outages would not do: it may have learned from them.

    Args:
        repeats: How many keys per row, >= 2.
        processes: How many rows to measure at a time.
    """
    with Pool(processes, quiet) as pool:
        found = pool.imap(_delay, [(row, repeats) for row in ROWS])
        return [*progress(found, len(ROWS), "bound")]


def intervals(calls: int) -> list[Interval]:
    """Measure false openings of keys whose baseline has been learned."""
    found: list[Interval] = []
    cases = [(asked, p0, runs) for asked in (1e3, 1e4) for p0 in RATES for runs in (False, True)]
    for asked, p0, runs in progress(cases, len(cases), "interval"):
        key = _Key(p0, runs=runs, interval=asked, seed="interval")
        key.live(_LEARNING)
        key.openings = 0
        key.live(calls)
        found.append(Interval(p0, runs, asked, calls, key.openings))
    return found
