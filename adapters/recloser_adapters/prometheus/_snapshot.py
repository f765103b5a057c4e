"""Snapshot: all that one process has to tell at a moment, and what several of them tell together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from recloser_adapters.prometheus import _fleets
from recloser_adapters.prometheus._families import Changes
from recloser_adapters.prometheus._figures import COLUMNS, COUNTED, Rows, merged
from recloser_adapters.prometheus._fleets import Fleets


@dataclass(slots=True)
class Snapshot:
    """The figures of one process, or of several together.

    Attributes:
        rows: One for each key.
        changes: How often each key changed its state.
        totals: Numbers of the process as a whole, which never fall.
        fleets: One row for each store that is shared with other workers.
    """

    rows: Rows = field(default_factory=dict[str, list[float]])
    changes: Changes = field(default_factory=dict[tuple[str, str, str], int])
    totals: dict[str, float] = field(default_factory=dict[str, float])
    fleets: Fleets = field(default_factory=dict[str, list[float]])

    @property
    def is_idle(self) -> bool:
        """Whether nothing was ever called here, as in the parent of forked workers."""
        return not self.changes and not any(
            row[place] for row in self.rows.values() for place in COUNTED
        )

    @classmethod
    def together(cls, snapshots: Iterable[Self]) -> Self:
        """What several processes tell together."""
        each = list(snapshots)
        whole = cls(merged(one.rows for one in each))
        for one in each:
            whole.add_counts(one)
            _fleets.merge(whole.fleets, one.fleets)
        return whole

    def add_counts(self, other: Snapshot) -> None:
        """Add the changes and totals of another one."""
        for change, count in other.changes.items():
            self.changes[change] = self.changes.get(change, 0) + count
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0) + total

    def add_ended(self, ended: Snapshot) -> None:
        """Add the counts of processes and breakers that are gone, for the keys that are left."""
        for label, row in ended.rows.items():
            known = self.rows.get(label)
            if known is not None:
                for place in COUNTED:
                    known[place] += row[place]
        self.add_counts(
            Snapshot(
                changes={key: n for key, n in ended.changes.items() if key[0] in self.rows},
                totals=ended.totals,
            )
        )
        _fleets.add_ended(self.fleets, ended.fleets)

    def end(self, other: Snapshot) -> None:
        """Keep the counts of a process or breaker that is gone."""
        for label, row in other.rows.items():
            known = self.rows.get(label)
            if known is None:
                known = self.rows[label] = [0] * len(COLUMNS)
            for place in COUNTED:
                known[place] += row[place]
        self.add_counts(other)
        _fleets.end(self.fleets, other.fleets)

    def keep(self, labels: Iterable[str]) -> bool:
        """Forget the keys that are not among these; whether there was one."""
        kept = set(labels)
        count = len(self.rows) + len(self.changes)
        self.rows = {label: row for label, row in self.rows.items() if label in kept}
        self.changes = {key: n for key, n in self.changes.items() if key[0] in kept}
        return count != len(self.rows) + len(self.changes)

    def to_json(self) -> str:
        """As text for a file."""
        changes = [[*change, count] for change, count in self.changes.items()]
        columns = list(COLUMNS)
        return json.dumps(
            {
                "columns": columns,
                "rows": self.rows,
                "changes": changes,
                "totals": self.totals,
                "fleets": self.fleets,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From the text of a file.

        Raises:
            ValueError: It is no snapshot, or one of another version.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found["columns"] != list(COLUMNS):
                raise ValueError("a snapshot of another version")
            changes = {(key, before, after): n for key, before, after, n in found["changes"]}
            return cls(found["rows"], changes, found["totals"], found["fleets"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no snapshot: {error}") from error
