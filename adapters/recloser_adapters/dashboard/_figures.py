"""The JSON of the API: a key, a list of keys, and whose view it is."""

from __future__ import annotations

import os
import socket
import time
from hashlib import blake2b
from typing import Any

from recloser import Mode, Override, Registry, State
from recloser_adapters.dashboard._access import Viewer
from recloser_adapters.dashboard._actions import NUMBERS
from recloser_adapters.dashboard._exchange import Problem
from recloser_adapters.dashboard._fleet import Keys, summary, whole
from recloser_adapters.dashboard._history import STEP
from recloser_adapters.dashboard._record import Record, moment, number, reason_json
from recloser_adapters.dashboard._sampler import COUNTS, FIGURES, Row, Sampler

GROUPS: tuple[str, ...] = ("open", "half_open", "limited", "would", "closed")
"""Which keys belong together, the worst first. `would`: it refuses nobody, and otherwise would."""
_SHOWN: tuple[str, ...] = (*GROUPS, "by_hand", "all")
_LONGEST_QUERY = 1000


def group(row: Row) -> str:
    """Where a key belongs: its state, or `would`."""
    state = row.metrics.state
    refuses = row.metrics.mode is Mode.ENFORCE and row.metrics.enforce_share > 0.0
    return state.value if refuses or state is State.CLOSED else "would"


class Figures:
    """Makes the JSON of a registry.

    Args:
        registry: The registry.
        sampler: Knows the figures of its keys.
        record: Knows what has happened to them.
    """

    def __init__(self, registry: Registry, sampler: Sampler, record: Record) -> None:
        self._registry = registry
        self._sampler = sampler
        self._record = record
        self._began = time.monotonic()
        self._host = socket.gethostname()

    def view(self, viewer: Viewer) -> dict[str, Any]:
        """Whose view it is: one process, as each has breakers of its own."""
        return {
            "host": self._host,
            "pid": os.getpid(),
            "now": moment(time.time()),
            "uptime": number(time.monotonic() - self._began),
            "mode": self._registry.mode.value,
            "read_only": not viewer.may_act,
            "user": viewer.name or None,
            "fleet": summary(self._registry),
        }

    def fleet(self, viewer: Viewer) -> tuple[dict[str, Any], str]:
        """The fleet that the registry is in, and what the ETag is made of.

        Raises:
            Problem: 404, there is none.
        """
        answer: dict[str, Any] = {"view": self.view(viewer), **whole(self._registry)}
        steady = [{**key, "since": None, "retry_after": None} for key in answer["keys"]]
        return answer, _tag(_whose(answer["view"]), answer["workers"], steady)

    def keys(self, query: dict[str, str], viewer: Viewer) -> tuple[dict[str, Any], str]:
        """The keys that a query asks for, the worst first, and what the ETag is made of.

        Raises:
            Problem: 400, the query is wrong.
        """
        show, text = query.get("show", "all"), query.get("q", "").casefold()
        if show not in _SHOWN:
            raise Problem(400, "Bad query", f"show must be one of {', '.join(_SHOWN)}")
        if len(text) > _LONGEST_QUERY:
            raise Problem(400, "Bad query", f"q must have at most {_LONGEST_QUERY} characters")
        offset = _whole(query, "offset", 0, 0, 1_000_000_000)
        limit = _whole(query, "limit", 1_000_000, 1, 1_000_000)
        totals, found = self._find(text, show)
        shown = [row for *_, row in found[offset : offset + limit]]
        view = self.view(viewer)
        fleet = Keys(self._registry)
        # Before the figures are read: what changes in between changes the next tag.
        steady = [(row.id, row.signature(), fleet.of(row.breaker.key)) for row in shown]
        answer = {
            "view": view,
            "totals": totals,
            "matched": len(found),
            "offset": offset,
            "step": STEP,
            "keys": [self.key(row, fleet) for row in shown],
        }
        return answer, _tag(_whose(view), totals, len(found), offset, steady)

    def _find(self, text: str, show: str) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        totals = dict.fromkeys(_SHOWN, 0)
        found: list[tuple[Any, ...]] = []
        for row in self._sampler.rows():
            where, by_hand = group(row), bool(row.breaker.overrides)
            totals[where] += 1
            totals["by_hand"] += by_hand
            totals["all"] += 1
            if text in row.breaker.key.casefold() and (
                show in ("all", where) or (show == "by_hand" and by_hand)
            ):
                # What is by hand is known; what has the most evidence is next to open.
                rank = (GROUPS.index(where), by_hand, -row.metrics.evidence)
                found.append((*rank, row.breaker.key, row.id, row))
        found.sort(key=lambda each: each[:-1])
        return totals, found

    def key(self, row: Row, fleet: Keys | None = None) -> dict[str, Any]:
        """One key, as in the list.

        Args:
            row: Its row.
            fleet: What the fleet knows; None to ask it.
        """
        fleet = fleet or Keys(self._registry)
        breaker, metrics = row.breaker, row.metrics
        row.history.move_to(self._sampler.step())
        shut = metrics.state is not State.CLOSED
        now = breaker.clock()
        figures = {name: number(getattr(metrics, name)) for name in FIGURES}
        return {
            "id": row.id,
            "key": breaker.key,
            "state": metrics.state.value,
            "mode": metrics.mode.value,
            "enforce_share": metrics.enforce_share,
            "generation": metrics.generation,
            "since": number(max(0.0, now - row.changed_at)),
            "explain": breaker.explain(),
            "reason": reason_json(breaker.refusal().reason) if shut else None,
            "outage": self._record.outage(breaker.key) if shut else None,
            "retry_after": number(breaker.retry_after),
            **{name: getattr(metrics, name) for name in COUNTS},
            **figures,
            "latency": row.history.latency(),
            "overrides": [_override(each, now) for each in breaker.overrides],
            "strip": row.history.strip(),
            "fleet": fleet.of(breaker.key),
        }

    def page(self, row: Row, viewer: Viewer) -> tuple[dict[str, Any], str]:
        """One key with all that is known of it, and what the ETag is made of."""
        signature = row.signature()  # before the figures are read, as above
        key, breaker = self.key(row), row.breaker
        more: dict[str, Any] = {
            "view": self.view(viewer),
            "step": STEP,
            "transitions": self._record.transitions(breaker.key),
            "actions": self._record.actions(breaker.key),
            "history": row.history.steps(),
            "policy": {name: getattr(breaker.policy, name) for name in NUMBERS},
        }
        steady = {**more, "view": _whose(more["view"]), "fleet": key["fleet"]}
        return {**key, **more}, _tag(signature, steady)


def _override(override: Override, now: float) -> dict[str, Any]:
    return {
        "what": "mode" if override.state is None else "open",
        "state": override.state.value if override.state is not None else None,
        "mode": override.mode.value if override.mode is not None else None,
        "enforce_share": override.enforce_share,
        "age": number(max(0.0, now - override.since)),
        "left": number(max(0.0, override.until - now)),
        "reason": override.reason,
        "by": override.by,
    }


def _whose(view: dict[str, Any]) -> dict[str, Any]:
    """A view without what changes as time goes by."""
    fleet = view["fleet"] and {**view["fleet"], "failing_for": None}
    return {**view, "now": None, "uptime": None, "fleet": fleet}


def _tag(*values: object) -> str:
    return blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _whole(query: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    # Not int(): it takes "1_0", " 1" and digits of all scripts.
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise Problem(400, "Bad query", f"{name} must be a whole number from {low} to {high}")
    return int(text)
