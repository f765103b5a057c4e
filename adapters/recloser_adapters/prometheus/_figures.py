"""Figures: what is told of one key, and how the figures of several processes become one.

A row is a list of numbers, one per column of `COLUMNS`, which also says how two rows of the same key
are merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from operator import add, attrgetter

from recloser import Metrics, Mode, State

Row = list[float]
Rows = dict[str, Row]
"""Rows by label, which is the key as Prometheus shows it."""

_LONGEST_LABEL = 200  # characters; the label is repeated in each of some thirty lines


class Merge(Enum):
    """How the numbers of several processes become one."""

    COUNT = "count"
    """A total that never falls: their sum. What a process counted stays when the process ends."""
    SUM = "sum"
    """Their sum."""
    MAX = "max"
    """The largest of them: the worst process is shown, since a mean would hide it."""
    MIN = "min"
    """The smallest of them."""


# States and modes are one column each, with a 1 where it holds.
_STATES = {state: [int(state is each) for each in State] for state in State}
_MODES = {mode: [int(mode is each) for each in Mode] for mode in Mode}
# Columns that are an attribute of `Metrics` of the same name.
_ATTRIBUTES = {
    "successes": Merge.COUNT,
    "failures": Merge.COUNT,
    "throttled": Merge.COUNT,
    "ignored": Merge.COUNT,
    "cancelled": Merge.COUNT,
    "slow": Merge.COUNT,
    "refused": Merge.COUNT,
    "spared": Merge.COUNT,
    "spared_good": Merge.COUNT,
    "count": Merge.COUNT,
    "p50": Merge.MAX,
    "p95": Merge.MAX,
    "p99": Merge.MAX,
    "slow_threshold": Merge.MIN,
    "in_flight": Merge.SUM,
    "limit": Merge.SUM,
    "normal_bad_rate": Merge.MAX,
    "retry_after": Merge.MAX,
    "since": Merge.MIN,
    "enforce_share": Merge.MIN,
}
COLUMNS: dict[str, Merge] = {
    **{state.value: Merge.SUM for state in State},
    **{mode.value: Merge.SUM for mode in Mode},
    "latency_sum": Merge.COUNT,
    "evidence_ratio": Merge.MAX,
    **_ATTRIBUTES,
}
PLACE = {name: place for place, name in enumerate(COLUMNS)}
"""The place of each column in a row."""

_MAXIMA = [PLACE[name] for name, merge in COLUMNS.items() if merge is Merge.MAX]
_MINIMA = [PLACE[name] for name, merge in COLUMNS.items() if merge is Merge.MIN]
COUNTED = [PLACE[name] for name, merge in COLUMNS.items() if merge is Merge.COUNT]
"""The places of the columns that never fall."""

# One call of C code for all of them: a scrape reads a thousand keys.
_read = attrgetter(*_ATTRIBUTES)


def row_of(metrics: Metrics) -> Row:
    """The row of a key."""
    threshold = metrics.evidence_threshold
    return [
        *_STATES[metrics.state],
        *_MODES[metrics.mode],
        metrics.mean * metrics.count,
        metrics.evidence / threshold if threshold else 0.0,
        *_read(metrics),
    ]


def label_of(key: str) -> str:
    """The key as Prometheus shows it: valid UTF-8, and no longer than 200 characters.

    A longer key keeps its beginning, and a hash of the whole tells it from others.
    """
    if len(key) > _LONGEST_LABEL:
        digest = hashlib.blake2s(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        key = f"{key[: _LONGEST_LABEL - 9]}…{digest}"
    # A key may be a path of WSGI, with bytes that are no text.
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode("utf-8")


def merged(rows: Iterable[Rows]) -> Rows:
    """Merge the rows of several registries or processes into one row for each label."""
    found: Rows = {}
    for each in rows:
        for label, row in each.items():
            known = found.get(label)
            found[label] = row if known is None else merge(known, row)
    return found


def merge(one: Row, other: Row) -> Row:
    """Merge two rows of the same label."""
    # All sums in one call of C code: most columns are sums, and a scrape merges thousands of rows.
    row = list(map(add, one, other))
    for place in _MAXIMA:
        row[place] = max(one[place], other[place])
    for place in _MINIMA:
        row[place] = min(one[place], other[place])
    return row
