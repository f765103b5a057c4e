"""A fleet as one registry sees it: the workers that share a store, and this one's part in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from random import random as default_random
from typing import TYPE_CHECKING, Any

from recloser._circuit.following import FollowingCircuit
from recloser._fleet.member import Member
from recloser._fleet.store import Store

if TYPE_CHECKING:
    from recloser._events import Transition
    from recloser._fleet.breakers import Breakers
    from recloser._overrides import Override


def new_name() -> str:
    """A name for this worker that no other one has."""
    return f"{socket.gethostname()[:40]}/{os.getpid()}/{os.urandom(4).hex()}"


class Fleet:
    """This worker's part in a fleet; a `FleetHook`.

    Args:
        registry: Its breakers.
        store: What it shares with the other workers.
        random: Returns uniform numbers in 0.0-1.0.
        wake: Called when the next turn should be soon.

    Attributes:
        circuit_class: The class of the circuits.
        member: The part, in turns.
    """

    circuit_class = FollowingCircuit

    def __init__(
        self,
        registry: Breakers,
        store: Store,
        wake: Callable[[], None],
        random: Callable[[], float] = default_random,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._wake = wake
        self.member = Member(registry, store, new_name(), random, dict(about or {}))

    def suspects(self, key: str) -> None:
        """See `FleetHook`."""
        if self.member.suspect(key):
            self._wake()

    def changed(self, transition: Transition) -> None:
        """See `FleetHook`."""
        if self.member.note_change(transition):
            self._wake()

    def overridden(self, key: str, override: Override, ended: bool) -> None:
        """See `FleetHook`."""
        self.member.note_override(key, override, ended)
        self._wake()

    def made(self, key: str) -> None:
        """See `FleetHook`."""
        self.member.note_made(key)
        self._wake()
