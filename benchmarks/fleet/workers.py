"""Workers on virtual time: one that has all the traffic, many alone, and many that are a fleet."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any, cast

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock
from benchmarks.fleet.network import Link, Network
from recloser import Policy, Registry, Transition
from recloser._fleet.fleet import Fleet
from recloser._fleet.member import Member

ONE, ALONE, FLEET = "one", "alone", "fleet"
ENTRANTS = (ONE, ALONE, FLEET)
# Seconds from a call that leaves something to do until the thread does it, and between two turns.
_WAKES, _SHORTEST = 0.0005, 0.001


class Worker(Recloser):
    """One worker of a fleet: a real registry with a store, whose thread is a list of events.

    Args:
        clock: The time.
        network: What lies between it and the store.
        number: Its number, which no other worker has.
        seed: Of its jitter.
        key: The key of the breaker that takes all calls.

    Attributes:
        registry: Its registry.
        fleet: Its part in the fleet.
        store: The store as it reaches it.
        is_running: Whether its thread has begun: it does with the first call.
    """

    def __init__(
        self, clock: Clock, network: Network, number: int, seed: int, key: str = "service"
    ) -> None:
        self._clock, self._network, self._rng = clock, network, Random(seed)
        self.number = number
        self._at, self._plan, self._busy_until = inf, 0, -inf
        self._counted = 0  # operations before this turn
        self.is_running = self._stopped = False
        self.openings: list[float] = []
        self.alarms: list[float] = []
        self.transitions: list[Transition] = []
        self.store = Link(network, number, self._rung)
        self.registry = Registry(Policy(), clock=clock, random=self._rng.random, store=self.store)
        fleet = self.registry.fleet
        assert isinstance(fleet, Fleet)
        self.fleet = fleet
        # What a thread would do is an event, and names are the same in each run.
        fleet._runner = self  # type: ignore[assignment]
        name = f"host{number // 8}/{number}/{seed}"
        fleet._member = Member(
            cast("Any", self.registry), self.store, lambda: name, self._rng.random, self._now
        )
        self.registry.subscribe(self)
        self.breaker = self.registry[key]
        self.acquire = self.breaker.try_acquire

    # The thread, see `Runner`

    def start(self) -> None:
        if not (self.is_running or self._stopped):
            self.is_running = True
            self._turn_at(self._clock.now + _WAKES)

    def wake(self) -> None:
        if self.is_running:
            self._turn_at(self._clock.now + _WAKES)

    def stop(self, timeout: float = 0.0) -> None:
        """End as a worker does that is stopped in good order."""
        if self.is_running:
            self.fleet.member.leave(self._clock.now)
        self.die()

    def die(self) -> None:
        """End without a word."""
        self.is_running, self._stopped, self._at = False, True, inf
        self._plan += 1
        self.store.close()

    def _rung(self) -> None:
        network = self._network
        if self.number in network.cut or not self.is_running:
            return
        if network.lost and network.random.random() < network.lost:
            return
        delay = network.delay * (0.5 + network.random.random())
        network.schedule(self._clock.now + delay, self._hear, None)

    def _hear(self, _: object) -> None:
        if self.is_running:
            self.fleet.member.rung = True
            self._turn_at(self._clock.now)

    def _turn_at(self, at: float) -> None:
        at = max(at, self._busy_until)
        if at < self._at - 1e-9:
            self._at = at
            self._plan += 1
            self._network.schedule(at, self._turn, self._plan)

    def _now(self) -> float:
        """The time, also within a turn: the operations of it take time."""
        passed = self.store.operations - self._counted
        return self._clock.now + passed * self._network.delay

    def _turn(self, plan: object) -> None:
        if plan != self._plan:
            return
        self._at, now = inf, self._clock.now
        self._counted = self.store.operations
        try:
            wait = self.fleet.member.turn(now)
        except Exception as error:  # as in `Runner.turn`: counted, and tried again
            self.registry.fault("fleet", error)
            wait = 1.0
        self._busy_until = self._now()
        self._counted = self.store.operations
        self._turn_at(now + min(max(wait, _SHORTEST), 1.0))


def contenders(
    entrant: str, workers: int, clock: Clock, network: Network, seed: int
) -> list[Recloser]:
    """The workers that take part: one, many alone, or a fleet."""
    if entrant == FLEET:
        return [
            Worker(clock, network, number, 1_000_000 * seed + number) for number in range(workers)
        ]
    number = 1 if entrant == ONE else workers
    return [Recloser(clock, Policy(), 1_000_000 * seed + each) for each in range(number)]


def faults(everyone: list[Recloser]) -> int:
    """How many faults of our own were counted in all registries of a fleet."""
    return sum(each.registry.faults for each in everyone if isinstance(each, Worker))
