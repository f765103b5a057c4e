"""What both apps have in common: their registry, with or without a store, and a note of each change."""

from __future__ import annotations

import os
import time

from recloser import Registry, Transition

UPSTREAM = os.environ.get("FLEET_UPSTREAM", "http://127.0.0.1:8000")
TIMEOUT = 3.0  # seconds


class Notes:
    """Writes each change of state into a file that all workers share, for the table at the end."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_transition(self, transition: Transition) -> None:
        """Write a line: when, which worker, and the states before and after."""
        states = f"{transition.before.value} {transition.after.value}"
        os.write(self._file, f"{time.time():.6f} {os.getpid()} {states}\n".encode())


def worker() -> dict[str, str]:
    """A header that names this worker; asked each time, because a worker may have been forked."""
    return {"X-Worker": str(os.getpid())}


def make_registry() -> Registry:
    """The registry of a worker. The store is all that makes it a member of a fleet."""
    registry = Registry(store=os.environ.get("FLEET_STORE") or None)
    if path := os.environ.get("FLEET_NOTES"):
        registry.subscribe(Notes(path))
    return registry
