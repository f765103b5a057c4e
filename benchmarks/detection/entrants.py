"""The breakers that take part: recloser with its defaults, each peer with its defaults and tuned.

A "tuned" peer knows what is unknown in production: the median latency of the service that it
guards, and that five seconds are a good time to stay open here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.detection import packages, peers
from benchmarks.detection.services import SLOW
from benchmarks.detection.simulator import Clock, Contender, Ending
from recloser import Permit, Policy, Registry, State, Transition


class Recloser:
    """The real breaker, used through its public API."""

    def __init__(self, clock: Clock, policy: Policy, seed: int) -> None:
        registry = Registry(policy, clock=clock, random=Random(seed).random)
        registry.subscribe(self)
        self._clock = clock
        self.openings: list[float] = []
        self.alarms: list[float] = []
        self.transitions: list[Transition] = []
        self.breaker = registry["service"]
        self.acquire: Callable[[], Permit | None] = self.breaker.try_acquire

    def on_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)
        if transition.after in (State.OPEN, State.LIMITED):
            self.alarms.append(transition.at)
            if transition.before is State.CLOSED:
                self.openings.append(transition.at)

    def end(self, permit: Any, ending: Ending, took: float, wait: float) -> None:
        if ending is Ending.OK:
            permit.success()
        elif ending is Ending.FAILED:
            permit.failure()
        elif ending is Ending.THROTTLED:
            permit.throttled(wait)
        elif ending is Ending.CALLER_ERROR:
            permit.ignore()
        else:
            permit.cancel()
        # While it limits, each bad call is a bad probe.
        if self.breaker.state is State.LIMITED:
            slow = ending is Ending.OK and took > self.breaker.slow_threshold
            if slow or ending is Ending.FAILED:
                self.alarms.append(self._clock.now)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A breaker that takes part, by name.

    Attributes:
        name: The name of its row or column in the tables.
        settings: "ours", "default", "tuned" or "none".
        make: Makes it from a clock, the median latency of the service, and a seed.
        package: The Python package that it uses, if any.
    """

    name: str
    settings: str
    make: Callable[[Clock, float, int], Contender]
    package: str = ""


def recloser(policy: Policy | None = None, name: str = "recloser") -> Entrant:
    """Return recloser under a policy, by default the default policy."""
    used = policy or Policy()
    return Entrant(name, "ours", lambda clock, median, seed: Recloser(clock, used, seed))


def _tuned(clock: Clock, median: float, **settings: Any) -> peers.Rates:
    return peers.Rates(
        clock, slow=SLOW * median, slow_rate=0.5, permits=3, open_for=5.0, **settings
    )


def _interlock_tuned(clock: Clock, median: float) -> packages.Stepped:
    return packages.interlock(
        clock,
        slow_call_duration_threshold=SLOW * median,
        slow_call_rate_threshold=0.5,
        window_size=20,
        permitted_calls_in_half_open=3,
        wait_duration_in_open=5.0,
    )


def _all() -> list[Entrant]:
    return [
        recloser(),
        Entrant("no breaker", "none", lambda c, m, s: peers.Never()),
        Entrant("pybreaker", "default", lambda c, m, s: packages.pybreaker(c), "pybreaker"),
        Entrant(
            "circuitbreaker",
            "default",
            lambda c, m, s: packages.circuitbreaker(c),
            "circuitbreaker",
        ),
        Entrant("purgatory", "default", lambda c, m, s: packages.purgatory(c), "purgatory"),
        Entrant("interlock", "default", lambda c, m, s: packages.interlock(c), "interlock"),
        Entrant("interlock, tuned", "tuned", lambda c, m, s: _interlock_tuned(c, m), "interlock"),
        Entrant("consecutive 5, 5 s", "tuned", lambda c, m, s: peers.Consecutive(c, 5, 5.0)),
        Entrant("consecutive 10, 1 s", "tuned", lambda c, m, s: peers.Consecutive(c, 10, 1.0)),
        Entrant("Envoy ejection", "default", lambda c, m, s: peers.Ejection(c)),
        Entrant("resilience4j", "default", lambda c, m, s: peers.Rates(c)),
        Entrant(
            "resilience4j, last 20",
            "tuned",
            lambda c, m, s: _tuned(c, m, calls=20, minimum=20),
        ),
        Entrant(
            "resilience4j, last 10 s",
            "tuned",
            lambda c, m, s: _tuned(c, m, seconds=10.0, minimum=10),
        ),
        Entrant("Polly", "default", lambda c, m, s: peers.FirstResult(c)),
        Entrant(
            "Polly, 50 % of 10 s",
            "tuned",
            lambda c, m, s: peers.FirstResult(c, ratio=0.5, minimum=10, seconds=10.0, open_for=2.0),
        ),
        Entrant("go-zero", "default", lambda c, m, s: peers.Throttle(c, Random(s))),
        Entrant("Traefik", "default", lambda c, m, s: peers.Expression(c)),
        Entrant(
            "Traefik, with latency",
            "tuned",
            lambda c, m, s: peers.Expression(c, errors=0.5, slow=SLOW * m, minimum=10),
        ),
        Entrant("llmkit as written", "default", lambda c, m, s: peers.RawZScore(c)),
    ]


def entrants() -> tuple[list[Entrant], list[str]]:
    """Return the breakers that can take part here, and the packages that are not installed."""
    every = _all()
    missing = {e.package for e in every if e.package and not packages.installed(e.package)}
    return [e for e in every if e.package not in missing], sorted(missing)
