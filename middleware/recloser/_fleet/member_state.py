"""What the parts of a member share: its breakers, its store, and what it knows of each key."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from recloser._circuit.following import FollowingCircuit
from recloser._fleet.known_key import KnownKey
from recloser._fleet.reports import PACE
from recloser._fleet.store import Store
from recloser._stall import StallWatch

if TYPE_CHECKING:
    from recloser._fleet.breakers import AnyBreaker, Breakers

TRIES_BY_HAND = 3
"""An operator has the last word: if others write at the same time, it is tried again this many times."""
LIVES_BY_HAND = 30 * 86_400.0
"""Seconds that a fact by hand without an end lives in the store."""
ROUNDING = 1e-6
"""Seconds by which a time that was computed may be too early."""
# Of up to this many workers, each reports every `PACE` seconds; of more, less often in proportion.
_PACED = 64
# The seconds and the number of workers while a key hurries.
_HURRIED, _HURRIED_PACED = 0.01, 16
# A worker tells the names of at most this many keys.
_TOLD = 20


class MemberState:
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
        self.keys: dict[str, KnownKey] = {}
        self.stalls = StallWatch(lambda: 0.0)
        self.garbage = 0

    @property
    def pace(self) -> float:
        """Seconds between two reports of a key that is watched."""
        return PACE * max(self.workers / _PACED, 1.0)

    def pace_of(self, known: KnownKey, now: float) -> float:
        """Seconds until the next report of a key at `now` seconds.

        The worker that leads the key looks at the reports as often. On a key with few calls there is
        not more to look at, in a hurry too.
        """
        pace = self.pace
        if now <= known.hurries_until:
            pace = min(_HURRIED * max(self.workers / _HURRIED_PACED, 1.0), pace)
        return pace if known.incident is None else max(pace, known.incident.looks_every)

    def hurry(self, known: KnownKey, now: float) -> None:
        """Report a key more often for a while, beginning with the next report."""
        known.hurry(now)
        known.report_at = min(known.report_at, now + self.pace_of(known, now))

    @property
    def misses_others(self) -> bool:
        """Whether it has to ask the others about a key, and no other worker is back in the store yet."""
        return self.workers < 2 and any(known.unheard_since < inf for known in self.keys.values())

    def known(self, key: str) -> KnownKey:
        """What is known of a key."""
        return self.keys.setdefault(key, KnownKey())

    def circuit_of(self, key: str) -> tuple[AnyBreaker, FollowingCircuit] | None:
        """The breaker of a key and its circuit; None for none."""
        breaker = self.registry.get(key)
        circuit = None if breaker is None else breaker.following
        return None if breaker is None or circuit is None else (breaker, circuit)

    def alone(self, key: str) -> str:
        """The state that this worker has decided alone for a key, such as `open`; "" for none."""
        found = self.circuit_of(key)
        return "" if found is None else found[1].alone

    def about(self) -> str:
        """What others are told about this worker, as JSON; `status.py` reads it."""
        leads = [key for key, known in self.keys.items() if known.incident is not None]
        alone = {key: state for key in self.keys if (state := self.alone(key))}
        host, pid, _ = (*self.name.split("/"), "", "")[:3]
        process = {"host": host, "pid": int(pid) if pid.isdigit() else 0}
        return json.dumps(
            {**process, "leads": leads[:_TOLD], "alone": dict([*alone.items()][:_TOLD])}
        )

    def note_garbage(self, error: ValueError) -> None:
        """Count a text in the store that is none of ours; it is logged once a minute."""
        self.garbage += 1
        self.registry.fault("garbage in the store", error)
