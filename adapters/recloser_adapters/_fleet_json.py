"""The status of a fleet as JSON: what `recloser fleet status` and the dashboard tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from recloser.fleet import FleetStatus, KeyStatus

NO_FLEET = "The registry has no store: Registry(store=...) joins it with other workers."
"""What a dashboard says whose registry is in no fleet."""


def fleet_json(status: FleetStatus) -> dict[str, Any]:
    """A fleet: its workers, and the keys that are watched or not closed."""
    alone, leads = alone_of(status), _leads(status)
    # A key of which the fleet knows nothing, but about which a worker has decided alone.
    names = sorted({*status.keys, *alone})
    return {
        "place": status.place,
        "me": status.me,
        "alive": len(status.workers),
        "connected": status.is_connected,
        "failing_for": None,
        "failures": status.failures,
        "last_failure": status.last_failure,
        "garbage": status.garbage,
        "workers": [
            {
                "name": worker.name,
                "host": worker.host,
                "pid": max(0, worker.pid),  # whoever writes to the store says what it is
                # What it said of itself may be some seconds old; who leads is known from the keys.
                "leads": leads.get(name, []),
                "alone": dict(worker.alone),
            }
            for name, worker in sorted(status.workers.items())
        ],
        "keys": [
            {"key": key, **_key(status.keys.get(key)), "alone": alone.get(key, {})} for key in names
        ],
    }


def alone_of(status: FleetStatus) -> Mapping[str, Mapping[str, str]]:
    """By key, the workers that have decided alone, each with the state that it is in."""
    found: dict[str, dict[str, str]] = {}
    for name, worker in status.workers.items():
        for key, state in worker.alone.items():
            found.setdefault(key, {})[name] = state
    return found


def short_name(name: object) -> str:
    """A worker's name without its random part, such as `web-1/4242`."""
    return "/".join(str(name).split("/")[:2])


def _leads(status: FleetStatus) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, known in sorted(status.keys.items()):
        found.setdefault(known.leader, []).append(key)
    return found


def _key(known: KeyStatus | None) -> dict[str, Any]:
    if known is None:
        return {
            "state": "closed",
            "watched": False,
            "since": None,
            "reason": "",
            "leader": "",
            "retry_after": None,
            "limit": None,
            "probers": [],
            "by": "",
        }
    return {
        "state": known.state.value,
        "watched": True,
        "since": _finite(known.since),
        "reason": known.reason,
        "leader": known.leader,
        "retry_after": _finite(known.retry_after),
        "limit": known.limit or None,
        "probers": None if known.probers is None else list(known.probers),
        "by": known.by,
    }


def _finite(seconds: float) -> float | None:
    return round(max(seconds, 0.0), 3) if isfinite(seconds) else None
