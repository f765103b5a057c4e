"""What the parts of a member share: its breakers, its store, and what it knows of each key."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from recloser._circuit.following import FollowingCircuit
from recloser._fleet.key import Key
from recloser._fleet.store import Store
from recloser._stall import StallWatch
from recloser._state import State

if TYPE_CHECKING:
    from recloser._fleet.breakers import AnyBreaker, Breakers

_CLOSED = State.CLOSED
# Seconds between two reports, of up to so many workers; of more, it is longer in proportion.
_PACE, _PACED = 0.05, 64
# The same while a key hurries.
_HURRIED, _HURRIED_PACED = 0.01, 16
# A worker tells the names of at most so many keys.
_TOLD = 20


class Workplace:
    """What the parts of one member share.

    Args:
        registry: Its breakers.
        store: What it shares with the other workers.
        name: The name of this worker.
        random: Returns uniform numbers in 0.0-1.0.

    Attributes:
        registry, store, name, random: As given.
        workers: How many workers are alive, as far as is known.
        version: The highest version of the news that was read, over all lives of the store.
        keys: What is known of each key.
        stalls: Reports that this process stood still: never. Each worker excuses its own calls.
        garbage: How many texts in the store were none of ours.
    """

    def __init__(
        self, registry: Breakers, store: Store, name: str, random: Callable[[], float]
    ) -> None:
        self.registry = registry
        self.store = store
        self.name = name
        self.random = random
        self.workers = 1
        self.version = 0
        self.keys: dict[str, Key] = {}
        self.stalls = StallWatch(lambda: 0.0)
        self.garbage = 0

    @property
    def pace(self) -> float:
        """Seconds between two reports of a key that is watched."""
        return _PACE * max(self.workers / _PACED, 1.0)

    def pace_of(self, key: Key, now: float) -> float:
        """Seconds until the next report of a key at `now` seconds.

        The worker that leads the key looks at the reports as often. On a key with few calls there is
        not more to look at, in a hurry too.
        """
        pace = self.pace
        if now <= key.hurries_until:
            pace = min(_HURRIED * max(self.workers / _HURRIED_PACED, 1.0), pace)
        return pace if key.incident is None else max(pace, key.incident.looks_every)

    def hurry(self, key: Key, now: float) -> None:
        """Report a key more often for a while, beginning with the next report."""
        key.hurry(now)
        key.report_at = min(key.report_at, now + self.pace_of(key, now))

    @property
    def misses_others(self) -> bool:
        """Whether it has to ask the others about a key, and no other worker is back in the store yet."""
        return self.workers < 2 and any(key.unheard_since < inf for key in self.keys.values())

    def key(self, name: str) -> Key:
        """What is known of a key."""
        return self.keys.setdefault(name, Key())

    def circuit_of(self, name: str) -> tuple[AnyBreaker | None, FollowingCircuit | None]:
        """The breaker of a key and its circuit; None for none."""
        breaker = self.registry.get(name)
        return breaker, None if breaker is None else breaker.following

    def is_alone(self, name: str) -> bool:
        """Whether this worker has decided alone that a key is not closed."""
        circuit = self.circuit_of(name)[1]
        return circuit is not None and circuit.state is not _CLOSED and circuit.orders is None

    def about(self) -> str:
        """What others are told about this worker, as JSON; `status.py` reads it."""
        leads = [name for name, key in self.keys.items() if key.incident is not None]
        alone: dict[str, str] = {}
        for name in [name for name in self.keys if self.is_alone(name)][:_TOLD]:
            circuit = self.circuit_of(name)[1]
            if circuit is not None:
                alone[name] = circuit.state.value
        host, pid, _ = (*self.name.split("/"), "", "")[:3]
        process = {"host": host, "pid": int(pid) if pid.isdigit() else 0}
        return json.dumps({**process, "leads": leads[:_TOLD], "alone": alone})

    def note_garbage(self, error: ValueError) -> None:
        """Count a text in the store that is none of ours; it is logged once a minute."""
        self.garbage += 1
        self.registry.fault("garbage in the store", error)
