"""The status of a fleet: its workers, and what it has decided about keys that are not closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from recloser._fleet.facts import KeyFact, check_epoch, key_of
from recloser._fleet.store import Store
from recloser._state import State


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker of a fleet.

    Attributes:
        name: Its name.
        host: Its host; "" if unknown.
        pid: Its process id; 0 if unknown.
        leads: The keys that it leads.
        alone: The keys about which it has decided alone, with the state that it is in: it disagrees
            with the fleet, or the fleet knows nothing of them.
    """

    name: str
    host: str = ""
    pid: int = 0
    leads: tuple[str, ...] = ()
    alone: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What a fleet has decided about one key.

    Attributes:
        key: The key.
        state: The state of its circuit; `closed` while its calls are watched.
        reason: Why, in one sentence.
        leader: The worker that leads it.
        since: For how many seconds it has been in that state.
        retry_after: Seconds until the next probe, while open.
        limit: How many calls may be in flight in the whole fleet, while limited; 0.0 otherwise.
        probers: The workers that may send a probe now; None for all.
        by: Who changed it by hand; "" if nobody did.
    """

    key: str
    state: State
    reason: str
    leader: str
    since: float
    retry_after: float
    limit: float
    probers: tuple[str, ...] | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """A fleet, as one worker or the store knows it.

    Attributes:
        place: Where the store is.
        me: The name of the worker that tells; "" if it is the store itself.
        is_connected: Whether the store works.
        workers: The workers that are alive, by name.
        keys: The keys that are watched or not closed, by key.
        failures: How often the store has failed for that worker.
        last_failure: What it said last.
        garbage: How many texts in the store that worker has ignored.
    """

    place: str
    me: str
    is_connected: bool
    workers: Mapping[str, WorkerStatus]
    keys: Mapping[str, KeyStatus]
    failures: int = 0
    last_failure: str = ""
    garbage: int = 0


def worker_status(name: str, text: str) -> WorkerStatus:
    """The status of a worker from the text of its beat."""
    about: Mapping[str, Any] = {}
    with suppress(ValueError, RecursionError):
        given: object = json.loads(text)
        if isinstance(given, dict):
            about = cast("Mapping[str, Any]", given)
    leads, alone, pid = about.get("leads"), about.get("alone"), about.get("pid")
    return WorkerStatus(
        name,
        str(about.get("host", "")),
        pid if isinstance(pid, int) else 0,
        tuple([str(each) for each in cast("list[object]", leads)])
        if isinstance(leads, list)
        else (),
        {str(key): str(each) for key, each in cast("dict[object, object]", alone).items()}
        if isinstance(alone, dict)
        else {},
    )


def key_status(key: str, fact: KeyFact, age: float) -> KeyStatus:
    """The status of a key from a fact that is `age` seconds old."""
    return KeyStatus(
        key,
        fact.state,
        fact.reason.sentence,
        fact.leader,
        fact.since + age,
        max(fact.wait - age, 0.0) if fact.state is State.OPEN else 0.0,
        fact.size if fact.state is State.LIMITED else 0.0,
        fact.tickets if fact.state in (State.OPEN, State.HALF_OPEN) else (),
        fact.reason.by,
    )


def read_status(store: Store) -> FleetStatus:
    """What a store knows of its fleet. It takes two round trips.

    Raises:
        StoreError: The store does not work.
    """
    garbage, keys = 0, dict[str, KeyStatus]()
    for fact in store.news(0).facts:
        key = key_of(fact.name)
        if key is None:
            continue
        try:
            check_epoch(fact)
            known = KeyFact.from_text(fact.text)
        except ValueError:
            garbage += 1
            continue
        if not known.is_over:
            keys[key] = key_status(key, known, fact.age)
    workers = {name: worker_status(name, text) for name, text in store.workers().items()}
    return FleetStatus(store.place, "", True, workers, keys, garbage=garbage)
