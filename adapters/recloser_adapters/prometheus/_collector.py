"""The collector: what prometheus-client asks for the figures of breakers, at the time of a scrape."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from recloser import Registry
from recloser.hints import instead
from recloser_adapters.prometheus import _fleets
from recloser_adapters.prometheus._families import families_of, metrics_of, text_of
from recloser_adapters.prometheus._snapshot import Snapshot
from recloser_adapters.prometheus._source import Source

Compat = Literal["resilience4j"]

# The registries that the app which is answering now writes itself.
_written: ContextVar[frozenset[Registry]] = ContextVar("recloser_prometheus", default=frozenset())


class BreakerCollector(Collector):
    """Gives prometheus-client the figures of all breakers of some registries.

    They are read when Prometheus asks, so requests pay nothing. The series of a key are there as long
    as the registry has the key, so `Registry.max_keys` bounds their number.

    If `PROMETHEUS_MULTIPROC_DIR` is set, the figures are those of all processes that share that folder:
    counts are added up, `recloser_state` is the number of processes in each state, and of latencies the
    worst is shown. Those of other processes are at most two seconds old. If that folder cannot be
    read or written, a scrape fails (`OSError`): figures of some processes would look like a restart.

    Args:
        registries: The registries, at least one.
        compat: `resilience4j` for the names that boards for resilience4j chart, besides ours.

    Raises:
        TypeError: An argument is no registry, or there is none.
        ValueError: `compat` is unknown.
    """

    def __init__(self, *registries: Registry, compat: Compat | None = None) -> None:
        self.registries: tuple[Registry, ...] = checked(registries)
        if compat not in (None, "resilience4j"):
            raise ValueError(f"compat must be 'resilience4j' or None, not {compat!r}")
        self._families = families_of(compat)
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._processes = None
        if folder:
            # Imported here: it needs `fcntl`, which Windows has not.
            from recloser_adapters.prometheus._processes import processes_of

            self._processes = processes_of(Path(folder), self.registries)
        self._source = Source(self.registries) if self._processes is None else None

    def describe(self) -> Iterable[Metric]:
        """The names, for prometheus-client to find two collectors with the same ones."""
        return (*metrics_of({}, {}, {}, self._families), *_fleets.metrics_of({}))

    def collect(self) -> Iterable[Metric]:
        """The figures now, for exporters of prometheus-client."""
        written = _written.get()
        if written and (self._processes is not None or written.issuperset(self.registries)):
            return ()
        found = self._read()
        ours = metrics_of(found.rows, found.changes, found.totals, self._families)
        return (*ours, *_fleets.metrics_of(found.fleets)) if found.fleets else ours

    def text(self) -> str:
        """The figures now, in the text format of Prometheus: twenty times as fast as `collect()`."""
        found = self._read()
        ours = text_of(found.rows, found.changes, found.totals, self._families)
        return ours + _fleets.text_of(found.fleets)

    def _read(self) -> Snapshot:
        if self._source is not None:
            found = self._source.read()
        else:
            assert self._processes is not None
            found = self._processes.read()
        found.totals["recloser_keys"] = len(found.rows)
        for label in found.rows:
            # From the beginning: `increase()` misses the first opening of a series that begins with it.
            found.changes.setdefault((label, "closed", "open"), 0)
        return found


def export(
    *registries: Registry,
    to: CollectorRegistry = REGISTRY,
    compat: Compat | None = None,
) -> BreakerCollector:
    """Add the figures of breakers to what prometheus-client exports already.

    It is for apps that have a `/metrics` of their own; otherwise use `make_asgi_app` or
    `make_wsgi_app`, which are faster where there are many keys.

    Args:
        *registries: The registries, at least one.
        to: The registry of prometheus-client.
        compat: As for `BreakerCollector`.

    Returns:
        The collector: `to.unregister(collector)` ends the export.

    Raises:
        TypeError: An argument is no registry, or there is none.
        ValueError: `compat` is unknown, or breakers are exported to `to` already.
    """
    collector = BreakerCollector(*registries, compat=compat)
    to.register(collector)
    return collector


def checked(registries: Sequence[Registry]) -> tuple[Registry, ...]:
    """Check that the registries are some.

    Raises:
        TypeError: One is not a registry, or there is none.
    """
    if not registries:
        raise TypeError("registries must be at least one Registry: write export(registry)")
    for each in registries:
        if not isinstance(each, Registry):
            hint = instead("Registry", each)
            raise TypeError(f"registries must be Registry objects, not {each!r}{hint}")
    return tuple(dict.fromkeys(registries))


@contextmanager
def writing(registries: Iterable[Registry]) -> Generator[None, None, None]:
    """Let collectors of these registries tell nothing: the caller writes it itself."""
    token = _written.set(frozenset(registries))
    try:
        yield
    finally:
        _written.reset(token)
