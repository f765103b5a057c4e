"""The JSON of the fleet that a registry is in: as a whole, in a view, and of one key."""

from __future__ import annotations

from math import isfinite
from typing import Any

from recloser import Registry
from recloser.fleet import FleetStatus
from recloser_adapters._fleet_json import NO_FLEET, alone_of, fleet_json
from recloser_adapters.dashboard._exchange import Problem


def summary(registry: Registry) -> dict[str, Any] | None:
    """The fleet in a few figures; None without one."""
    fleet = registry.fleet
    if fleet is None:
        return None
    since = fleet.member.failing_since
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
        if known is None:
            if not alone:
                return None
            return {
                "state": "closed",
                "watched": False,
                "leader": "",
                "probers": [],
                "alone": alone,
            }
        return {
            "state": known.state.value,
            "watched": True,
            "leader": known.leader,
            "probers": None if known.probers is None else list(known.probers),
            "alone": alone,
        }
