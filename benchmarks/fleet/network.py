"""The store of a simulated fleet, and the network to it: delay, loss, failures and cuts."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from random import Random

from recloser._fleet.memory import MemoryData, MemoryStore
from recloser._fleet.store import StoreError

Schedule = Callable[[float, Callable[[object], None], object], None]
"""Runs a function with an argument at a time in seconds."""

# With more workers than that, who is alive is counted once a second, not for each beat.
_MANY = 500


class Data(MemoryData):
    """What is in the store, and what was ever told in it.

    Attributes:
        told: Of each fact about a key: when it was written, its state, and how many probes at a time
            it allows; infinite for any number.
        epochs: The highest epoch of each fact, over all lives of the data.
        shrunk: How often a fact was written with an epoch that was not higher than all before; of
            facts that are news, since nobody remembers the epochs of the others.
        swept_at: When workers that are gone were forgotten last, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.told: list[tuple[float, str, float]] = []
        self.epochs: dict[str, int] = {}
        self.shrunk = 0
        self.swept_at = -inf

    @property
    def total(self) -> int:
        """How many operations there were."""
        return sum(self.operations.values())

    def note(self, name: str, epoch: int, text: str, *, loud: bool) -> None:
        """Note that a fact was written."""
        if loud and epoch <= self.epochs.get(name, 0):
            self.shrunk += 1
        self.epochs[name] = max(epoch, self.epochs.get(name, 0))
        if name.startswith("key "):
            fact = json.loads(text)
            tickets = fact["tickets"]
            places = inf if tickets is None else len(tickets) * fact["places"]
            self.told.append((self.clock(), fact["state"], places))


class Network:
    """What lies between the workers and their store.

    Args:
        clock: Returns seconds.
        seed: Of what happens by chance.
        delay: Seconds that an operation takes, and that the bell takes on average.
        lost: Share of the rings of the bell that one worker does not hear, 0.0-1.0.
        failing: Share of the operations that fail, 0.0-1.0.

    Attributes:
        data: What is in the store.
        delay: As given.
        lost: As given.
        failing: As given.
        cut: The numbers of the workers that do not reach the store now.
        schedule: Of the world in which the workers live.
        random: What happens by chance.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        seed: int,
        *,
        delay: float = 0.002,
        lost: float = 0.0,
        failing: float = 0.0,
    ) -> None:
        self.data = Data(clock)
        self.delay, self.lost, self.failing = delay, lost, failing
        self.cut: set[int] = set()
        self.schedule: Schedule = _nowhere
        self.random = Random(seed + 7_000_003)

    def reaches(self, number: int) -> bool:
        """Whether an operation of a worker reaches the store this time."""
        if number in self.cut:
            return False
        return not self.failing or self.random.random() >= self.failing


class Link(MemoryStore):
    """The store as one worker reaches it.

    Args:
        network: The network.
        number: The number of the worker.
        bell: Called when another one rings.

    Attributes:
        operations: How many operations there were, also those that failed.
    """

    def __init__(self, network: Network, number: int, bell: Callable[[], None]) -> None:
        super().__init__(network.data, bell)
        self._network, self._number, self._swaps = network, number, False
        self.operations = 0

    def _count(self, operation: str) -> MemoryData:
        self.operations += 1
        data = super()._count(operation)
        if not self._network.reaches(self._number):
            raise StoreError("no answer")
        return data

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        self._swaps = True
        try:
            done = super().swap(name, before, epoch, text, ttl, loud=loud)
        finally:
            self._swaps = False
        if done:
            self._network.data.note(name, epoch, text, loud=loud)
        return done

    def ring(self) -> None:
        if not self._swaps:  # a swap rings within its own operation
            self._count("ring")
        super().ring()

    def beat(self, worker: str, text: str, ttl: float) -> int:
        data = self._network.data
        if len(data.beats) < _MANY:
            return super().beat(worker, text, ttl)
        self._count("beat")
        now = data.clock()
        data.beats[worker] = text, now + ttl
        if now - data.swept_at >= 1.0:
            data.swept_at = now
            self._alive(data)
        return len(data.beats)


def _nowhere(at: float, handler: Callable[[object], None], argument: object) -> None:
    raise RuntimeError("the workers are in no world yet")
