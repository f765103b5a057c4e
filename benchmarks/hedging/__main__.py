"""Calls a service with a long tail, with and without hedging, in virtual time.

    python -m benchmarks.hedging             # half a minute

Twenty users call one after the other, 20,000 times in all. A call takes 0.1 s at the median
(lognormal, sigma 0.25); the given share takes ten times as long, by chance (`tail`). In the last row
it is no chance: each call in flight makes all of them slower (`load`), so a second attempt is no help.
`twice` is the share of calls that were sent twice, `threshold` the slow threshold at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
from dataclasses import dataclass
from typing import Any

from recloser import Attempt, Failover, Provider, Registry
from recloser.testing import ManualClock

_USERS, _CALLS = 20, 1000
_MEDIAN_LOG, _SIGMA, _SLOWER = -2.3, 0.25, 10.0


class _Leaping(selectors.DefaultSelector):
    """A selector that moves a clock instead of waiting."""

    clock: ManualClock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.clock.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock) -> None:
        selector = _Leaping()
        selector.clock = clock
        super().__init__(selector)
        self._clock_of_play = clock

    def time(self) -> float:
        return self._clock_of_play()


@dataclass(frozen=True, slots=True)
class Row:
    """What one play showed."""

    name: str
    hedge: float
    latencies: list[float]
    twice: float
    threshold: float
    state: str

    def __str__(self) -> str:
        ordered = sorted(self.latencies)
        p50, p95, p99, p999 = (ordered[int(q * len(ordered))] for q in (0.5, 0.95, 0.99, 0.999))
        return (
            f"{self.name:>10} {self.hedge:>6.0%} {p50:>7.3f} {p95:>7.3f} {p99:>7.3f} {p999:>7.3f} "
            f"{sum(ordered) / len(ordered):>7.3f} {self.twice:>7.2%} {self.threshold:>9.3f} {self.state}"
        )


def play(tail: float, hedge: float, *, load: float = 0.0, seed: int = 1) -> Row:
    """Play all calls.

    Args:
        tail: The share of calls that take ten times as long.
        hedge: The share of calls that may be sent twice.
        load: By how much each call in flight makes a call slower, as a share of its time.
        seed: Of all random numbers.
    """
    clock = ManualClock(1000.0)
    registry = Registry(clock=clock, random=random.Random(seed).random)
    failover = Failover(registry, [Provider("service", "")], hedge=hedge)
    draw, latencies, in_flight = random.Random(seed), list[float](), [0]

    async def send(attempt: Attempt[str]) -> None:
        takes = draw.lognormvariate(_MEDIAN_LOG, _SIGMA)
        if draw.random() < tail:
            takes *= _SLOWER
        in_flight[0] += 1
        try:
            await asyncio.sleep(takes * (1.0 + load * in_flight[0]))
        finally:
            in_flight[0] -= 1

    async def user() -> None:
        for _ in range(_CALLS):
            began = clock()
            await failover.acall(send, repeatable=True)
            latencies.append(clock() - began)

    async def users() -> None:
        await asyncio.gather(*(user() for _ in range(_USERS)))

    loop = _Loop(clock)
    try:
        loop.run_until_complete(users())
    finally:
        loop.close()
    breaker, hedging = registry["service"], failover.hedging
    twice = hedging.sent / len(latencies)
    name = "load" if load else f"{tail:.0%} tail"
    return Row(name, hedge, latencies, twice, breaker.slow_threshold, breaker.state.value)


def main() -> None:
    """Print all rows."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{'':>10} hedge     p50     p95     p99   p99.9    mean   twice threshold state")
    for tail, load in ((0.01, 0.0), (0.03, 0.0), (0.05, 0.0), (0.10, 0.0), (0.0, 0.1)):
        for hedge in (0.0, 0.02, 0.05):
            print(play(tail, hedge, load=load), flush=True)


if __name__ == "__main__":
    main()
