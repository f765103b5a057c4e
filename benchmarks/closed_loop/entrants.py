"""Who takes part: recloser with its defaults, other breakers, and what adapts a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.closed_loop.limiters import Aimd, ClientThrottle, Gradient
from benchmarks.detection import peers
from benchmarks.detection.entrants import Recloser
from benchmarks.detection.services import SLOW
from benchmarks.detection.simulator import Clock, Contender
from recloser import Policy

NONE, OURS, CUT = "none", "recloser", "recloser, cut off"


@dataclass(frozen=True, slots=True)
class Entrant:
    """Somebody who takes part.

    Attributes:
        name: Its name in the tables.
        make: Makes it from a clock, the median service time in seconds, and a seed.
        cut: Whether the client gives up an attempt at the permit's `timeout`, if it has one.
    """

    name: str
    make: Callable[[Clock, float, int], Contender]
    cut: bool = False


def _recloser(clock: Clock, median: float, seed: int) -> Recloser:
    return Recloser(clock, Policy(), seed)


def _rates(clock: Clock, median: float, **settings: Any) -> peers.Rates:
    return peers.Rates(
        clock, slow=SLOW * median, slow_rate=0.5, permits=3, open_for=5.0, **settings
    )


def entrants() -> list[Entrant]:
    """Everybody. Those with settings in their name know the service; the others do not."""
    return [
        Entrant(NONE, lambda c, m, s: peers.Never()),
        Entrant(OURS, _recloser),
        Entrant(CUT, _recloser, cut=True),
        Entrant("resilience4j", lambda c, m, s: peers.Rates(c)),
        Entrant("resilience4j, last 20", lambda c, m, s: _rates(c, m, calls=20, minimum=20)),
        Entrant("resilience4j, last 10 s", lambda c, m, s: _rates(c, m, seconds=10.0, minimum=10)),
        Entrant("Polly", lambda c, m, s: peers.FirstResult(c)),
        Entrant("consecutive 10, 1 s", lambda c, m, s: peers.Consecutive(c, 10, 1.0)),
        Entrant("consecutive 5, 5 s", lambda c, m, s: peers.Consecutive(c, 5, 5.0)),
        Entrant("Envoy ejection", lambda c, m, s: peers.Ejection(c)),
        Entrant("go-zero", lambda c, m, s: peers.Throttle(c, Random(s))),
        Entrant("SRE book", lambda c, m, s: ClientThrottle(c, Random(s))),
        Entrant("Netflix Gradient2", lambda c, m, s: Gradient(c)),
        Entrant("Netflix AIMD", lambda c, m, s: Aimd(c)),
    ]
