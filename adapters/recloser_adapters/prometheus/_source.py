"""Source: reads what this process has to tell, at the time of a scrape."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

from recloser import Breaker, Registry, Transition
from recloser_adapters._forks import in_forked_process
from recloser_adapters.prometheus import _fleets
from recloser_adapters.prometheus._families import Changes
from recloser_adapters.prometheus._figures import COUNTED, Row, label_of, merge, row_of
from recloser_adapters.prometheus._snapshot import Snapshot

Told = dict[weakref.ref[Breaker], tuple[str, Row]]
"""The label and the figures of each breaker. The one of a breaker that is gone is no other's."""


class Source:
    """The registries of this process, and the changes of state since it was made.

    The changes are its only work outside a scrape: one addition for each.

    Args:
        registries: The registries, at least one. A key that several of them have is one key.
    """

    def __init__(self, registries: Sequence[Registry]) -> None:
        self._registries: tuple[Registry, ...] = ()
        self._lock = threading.Lock()
        self._changes: Changes = {}
        # What breakers counted before this process was forked: its parent tells that.
        self._before: weakref.WeakKeyDictionary[Breaker, list[float]] = weakref.WeakKeyDictionary()
        self._totals_before: dict[str, float] = {}
        self.add(registries)
        in_forked_process(self, Source.unlock)

    def unlock(self) -> None:
        """Have a new lock: a thread that is not in this process may have had the old one."""
        self._lock = threading.Lock()

    def add(self, registries: Sequence[Registry]) -> None:
        """Read these registries as well, unless they are read already."""
        for registry in registries:
            if registry not in self._registries:
                self._registries += (registry,)
                registry.subscribe(self)

    def on_transition(self, transition: Transition) -> None:
        """Count a change of state."""
        change = (label_of(transition.key), transition.before.value, transition.after.value)
        with self._lock:
            self._changes[change] = self._changes.get(change, 0) + 1

    def forked(self) -> None:
        """Forget what the parent process had counted: it tells that itself."""
        self.unlock()
        self._changes = {}
        self._before = weakref.WeakKeyDictionary()
        self._totals_before = {}
        totals = self._totals()
        for breaker in self._breakers():
            row = row_of(breaker.metrics())
            if any(row[place] for place in COUNTED):
                self._before[breaker] = row
        self._totals_before = totals

    def read(self, told: Told | None = None) -> Snapshot:
        """Read all figures now.

        Args:
            told: Gets those of each breaker.
        """
        snapshot = Snapshot()
        for breaker in self._breakers():
            label, row = label_of(breaker.key), row_of(breaker.metrics())
            if self._before:
                _subtract(row, self._before.get(breaker))
            known = snapshot.rows.get(label)
            snapshot.rows[label] = row if known is None else merge(known, row)
            if told is not None:
                told[weakref.ref(breaker)] = label, row
        with self._lock:
            # The changes of a key go with the key.
            self._changes = {key: n for key, n in self._changes.items() if key[0] in snapshot.rows}
            snapshot.changes = dict(self._changes)
        snapshot.totals = self._totals()
        snapshot.fleets = _fleets.read(self._registries)
        return snapshot

    def fault(self, error: Exception) -> None:
        """Count and log a fault of the exporter, at most once a minute."""
        self._registries[0].fault("prometheus", error)

    def _breakers(self) -> list[Breaker]:
        return [breaker for registry in self._registries for breaker in registry.breakers()]

    def _totals(self) -> dict[str, float]:
        registries, before = self._registries, self._totals_before.get
        return {
            "recloser_evicted": sum(each.evicted for each in registries)
            - before("recloser_evicted", 0),
            "recloser_overflowed": sum(each.overflowed for each in registries)
            - before("recloser_overflowed", 0),
            "recloser_faults": sum(each.faults for each in registries)
            - before("recloser_faults", 0),
        }


def _subtract(row: list[float], before: list[float] | None) -> None:
    if before is not None:
        for place in COUNTED:
            row[place] -= before[place]
