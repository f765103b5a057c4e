"""Fleets: what is told of the store that a registry shares with other workers, by its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from operator import add
from typing import Literal

from prometheus_client.core import Metric

from recloser import Registry
from recloser_adapters.prometheus._figures import Merge, label_of

Fleets = dict[str, list[float]]
"""By the place of a store: a number for each of `FAMILIES`."""

LABEL = "store"
FAMILIES: tuple[tuple[str, Literal["counter", "gauge"], Merge, str], ...] = (
    (
        "recloser_fleet_workers",
        "gauge",
        Merge.MAX,
        "Workers that share the store and are alive, as far as this exporter knows.",
    ),
    (
        "recloser_fleet_store_up",
        "gauge",
        Merge.MIN,
        "1 if the store works, 0 while it fails for any of these processes.",
    ),
    (
        "recloser_fleet_store_failures",
        "counter",
        Merge.COUNT,
        "Operations that the store failed to do.",
    ),
    (
        "recloser_fleet_garbage",
        "counter",
        Merge.COUNT,
        "Texts in the store that were none of ours, and were ignored.",
    ),
    (
        "recloser_fleet_keys_led",
        "gauge",
        Merge.SUM,
        "Keys that are watched or not closed, and led by these processes.",
    ),
    (
        "recloser_fleet_keys_alone",
        "gauge",
        Merge.SUM,
        "Keys about which these processes have decided alone: they disagree with the fleet.",
    ),
)
_COUNTED = [at for at, (_, _, merge, _) in enumerate(FAMILIES) if merge is Merge.COUNT]
_WORKERS, _UP = 0, 1


def read(registries: Iterable[Registry]) -> Fleets:
    """The fleets of registries."""
    found: Fleets = {}
    for registry in registries:
        fleet = registry.fleet
        if fleet is None:
            continue
        status = fleet.status()
        me = status.workers.get(fleet.name)
        row: list[float] = [
            fleet.workers,
            int(fleet.failing_since == inf),
            fleet.failures,
            fleet.garbage,
            sum(key.leader == fleet.name for key in status.keys.values()),
            len(me.alone) if me is not None else 0,
        ]
        merge(found, {label_of(fleet.store.place): row})
    return found


def merge(whole: Fleets, other: Fleets) -> None:
    """Add what another process or registry tells."""
    for place, row in other.items():
        known = whole.get(place)
        if known is None:
            whole[place] = list(row)
            continue
        both = list(map(add, known, row))
        both[_WORKERS] = max(known[_WORKERS], row[_WORKERS])
        both[_UP] = min(known[_UP], row[_UP])
        whole[place] = both


def end(ended: Fleets, other: Fleets) -> None:
    """Keep the counts of a process that is gone."""
    for place, row in other.items():
        known = ended.setdefault(place, [0.0] * len(FAMILIES))
        for at in _COUNTED:
            known[at] += row[at]


def add_ended(whole: Fleets, ended: Fleets) -> None:
    """Add the counts of processes that are gone, for the stores that are still shared."""
    end(whole, {place: row for place, row in ended.items() if place in whole})


def metrics_of(fleets: Fleets) -> Iterator[Metric]:
    """The objects of prometheus-client."""
    for at, (name, kind, _, text) in enumerate(FAMILIES):
        metric = Metric(name, text, kind)
        for place, row in fleets.items():
            metric.add_sample(_title(name, kind), {LABEL: place}, row[at])
        yield metric


def text_of(fleets: Fleets) -> str:
    """The text format of Prometheus; empty without a fleet."""
    if not fleets:
        return ""
    parts: list[str] = []
    for at, (name, kind, _, text) in enumerate(FAMILIES):
        title = _title(name, kind)
        parts.append(f"# HELP {title} {text}\n# TYPE {title} {kind}\n")
        parts.extend(
            f'{title}{{{LABEL}="{_quoted(place)}"}} {row[at]!r}\n' for place, row in fleets.items()
        )
    return "".join(parts)


def _title(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def _quoted(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
