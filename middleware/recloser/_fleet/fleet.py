"""A fleet as one registry sees it: the workers that share a store, and this one's part in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from random import random as default_random
from typing import TYPE_CHECKING, Any

from recloser._circuit.following import FollowingCircuit
from recloser._fleet.member import Member
from recloser._fleet.places import store_at
from recloser._fleet.runner import Runner
from recloser._fleet.status import FleetStatus
from recloser._fleet.store import Store

if TYPE_CHECKING:
    from recloser._events import Transition
    from recloser._overrides import Override


def new_name() -> str:
    """A name for this worker that no other one has: host, process id, and a random part."""
    return f"{socket.gethostname()[:40]}/{os.getpid()}/{os.urandom(4).hex()}"


class Fleet:
    """The fleet that a registry is in: `Registry.fleet`.

    Decisions stay local: a call asks nobody. A thread reads what other workers have seen, and tells
    them what this one has.

    Args:
        registry: Its breakers.
        store: What it shares with the other workers.
        random: Returns uniform numbers in 0.0-1.0.

    Attributes:
        circuit_class: The class of the circuits.
    """

    # Without their types: they are private, and users' type checkers need not know all of the core.
    circuit_class: Any = FollowingCircuit

    def __init__(
        self,
        registry: Any,
        store: Store,
        random: Callable[[], float] = default_random,
    ) -> None:
        self._member = Member(registry, store, new_name, random)
        self._runner = Runner(self._member, registry.clock, registry.fault)

    @property
    def member(self) -> Any:
        """This worker's part, in turns; see `recloser._fleet.member`."""
        return self._member

    # What breakers tell, see `FleetHook`

    def decided(self, circuit: Any) -> None:
        """Note that there was a decision."""
        if not self._runner.is_running:
            self._runner.start()
        member = self._member
        if circuit.is_suspicious(member.workers) and member.suspect(circuit.key):
            self._runner.wake()

    def changed(self, transition: Transition) -> None:
        """Note a change of state."""
        if self._member.note_change(transition):
            self._runner.start()
            self._runner.wake()

    def overridden(self, key: str, override: Override, ended: bool) -> None:
        """Note an override by hand that has begun or ended."""
        self._member.note_override(key, override, ended)
        self._runner.start()
        self._runner.wake()

    def made(self, key: str) -> None:
        """Note a new breaker."""
        self._member.note_made(key)
        self._runner.wake()

    # What users ask

    @property
    def name(self) -> str:
        """The name of this worker."""
        return self._member.name

    @property
    def store(self) -> Store:
        """What it shares with the other workers. Only its own thread uses it."""
        return self._member.store

    @property
    def workers(self) -> int:
        """How many workers are alive, as far as this one knows."""
        return self._member.workers

    @property
    def is_connected(self) -> bool:
        """Whether the store works. If not, this worker decides alone."""
        return self._member.is_connected

    @property
    def failing_since(self) -> float:
        """Since when the store fails, in seconds of the registry's clock; infinite while it works."""
        return self._member.failing_since

    @property
    def failures(self) -> int:
        """How often the store has failed."""
        return self._member.failures

    @property
    def last_failure(self) -> str:
        """What the store said when it failed last; "" for nothing."""
        return self._member.last_failure

    @property
    def garbage(self) -> int:
        """How many texts in the store were none of ours, and were ignored."""
        return self._member.garbage

    def status(self) -> FleetStatus:
        """What this worker knows of the fleet. It asks nobody, so it is up to some seconds old."""
        return self._member.status()

    def leave(self, timeout: float = 1.0) -> None:
        """Keep what was learned, and leave the fleet; the next call joins it again.

        The ASGI middleware does this when its server shuts down, since some servers end their process
        without the functions of `atexit`.

        Args:
            timeout: Seconds to wait for that, >= 0.
        """
        self._runner.leave(timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Leave the fleet: keep what was learned, and decide alone from now on.

        Args:
            timeout: Seconds to wait for that, >= 0.
        """
        self._runner.stop(timeout)

    def __repr__(self) -> str:
        how = f"{self.workers} workers" if self.is_connected else "not connected"
        return f"<Fleet at {self.store.place}, {how}>"


def join(registry: Any, place: object, random: Callable[[], float]) -> Fleet:
    """The fleet at a place, for a registry; the arguments are those of `store_at` and `Fleet`."""
    return Fleet(registry, store_at(place), random)
