"""The JSON of the fleet that a registry is in: as a whole, in a view, and of one key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any

from recloser import Registry, State
from recloser.fleet import FleetStatus, KeyStatus
from recloser_adapters._fleet_json import NO_FLEET, alone_of, fleet_json, short_name
from recloser_adapters.dashboard._exchange import Problem

_NAMED = 3  # workers in a sentence; there may be hundreds


def summary(registry: Registry) -> dict[str, Any] | None:
    """The fleet in a few figures; None without one."""
    fleet = registry.fleet
    if fleet is None:
        return None
    since = fleet.failing_since
    return {
        "place": fleet.store.place,
        "me": fleet.name,
        "alive": fleet.workers,
        "connected": fleet.is_connected,
        "failing_for": (round(max(0.0, registry.clock() - since), 3) if isfinite(since) else None),
        "failures": fleet.failures,
        "last_failure": fleet.last_failure,
        "garbage": fleet.garbage,
    }


def whole(registry: Registry) -> dict[str, Any]:
    """The fleet, its workers, and the keys that are watched or not closed.

    Raises:
        Problem: 404, there is no fleet.
    """
    fleet, known = registry.fleet, summary(registry)
    if fleet is None or known is None:
        raise Problem(404, "No fleet", NO_FLEET)
    return {**fleet_json(fleet.status()), **known}


class Keys:
    """What a registry's fleet knows of its keys at one moment.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self._status: FleetStatus | None = None
        if registry.fleet is not None:
            self._status = registry.fleet.status()
            self._alone = alone_of(self._status)

    def of(self, key: str) -> dict[str, Any] | None:
        """What is decided about a key, without what changes as time goes by; None for nothing."""
        status = self._status
        if status is None:
            return None
        known, alone = status.keys.get(key), dict(self._alone.get(key, {}))
        if known is None and not alone:
            return None
        probers = () if known is None else known.probers
        return {
            "state": "closed" if known is None else known.state.value,
            "watched": known is not None,
            "leader": "" if known is None else known.leader,
            "probers": None if probers is None else list(probers),
            "alone": alone,
            "explain": _explain(known, alone, status.me),
        }


def _explain(known: KeyStatus | None, alone: Mapping[str, str], me: str) -> str:
    """Who leads a key, who may probe, and who disagrees, in some sentences."""
    said: list[str] = []
    if known is not None and known.leader:
        said.append(f"Led by {_named([known.leader], me)}.")
    if known is not None and known.state in (State.OPEN, State.HALF_OPEN):
        if known.probers is None:
            said.append("Each worker may probe.")
        elif known.probers:
            said.append(f"A probe may come from {_named(known.probers, me)}.")
    if alone:
        states = ", ".join(sorted({state.replace("_", "-") for state in alone.values()}))
        said.append(f"Decided alone: {_named(alone, me)} ({states}).")
    return " ".join(said)


def _named(names: Collection[str], me: str) -> str:
    shown = ["this worker" if name == me else short_name(name) for name in sorted(names)[:_NAMED]]
    more = len(names) - _NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
