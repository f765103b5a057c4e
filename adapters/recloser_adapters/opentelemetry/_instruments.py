"""Observable instruments: the figures of all breakers, read when the SDK collects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from math import inf, isfinite
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from recloser import Metrics, Registry, State
from recloser.fleet import Fleet

KEY = "recloser.breaker.key"
STORE = "recloser.fleet.store"
STATE = "recloser.breaker.state"
OUTCOME = "recloser.call.outcome"
ENFORCED = "recloser.refusal.enforced"
QUANTILE = "recloser.quantile"

# The outcomes of calls, as attributes of `Metrics`.
_OUTCOMES = {
    "success": "successes",
    "failure": "failures",
    "throttled": "throttled",
    "ignored": "ignored",
    "cancelled": "cancelled",
}
Points = Iterable[tuple[float, dict[str, Any]]]


def _states(metrics: Metrics) -> Points:
    return [(int(metrics.state is state), {STATE: state.value}) for state in State]


def _calls(metrics: Metrics) -> Points:
    return [(getattr(metrics, field), {OUTCOME: name}) for name, field in _OUTCOMES.items()]


def _refusals(metrics: Metrics) -> Points:
    return (
        (metrics.refused - metrics.spared, {ENFORCED: True}),
        (metrics.spared, {ENFORCED: False}),
    )


def _latency(metrics: Metrics) -> Points:
    quantiles = ((0.5, metrics.p50), (0.95, metrics.p95), (0.99, metrics.p99))
    return [(latency, {QUANTILE: quantile}) for quantile, latency in quantiles]


def _limit(metrics: Metrics) -> Points:
    return [(metrics.limit, {})] if isfinite(metrics.limit) else []


def _evidence(metrics: Metrics) -> Points:
    whole = metrics.evidence_threshold
    return [(metrics.evidence / whole if whole else 0.0, {})]


def _threshold(metrics: Metrics) -> Points:
    return [(metrics.slow_threshold, {})]


# Name, kind, unit, description, and the points of a key.
INSTRUMENTS: tuple[tuple[str, str, str, str, Callable[[Metrics], Points]], ...] = (
    ("state", "up_down_counter", "{breaker}", "1 for the state that the breaker is in.", _states),
    ("calls", "counter", "{call}", "Calls that were made, by outcome.", _calls),
    (
        "slow_calls",
        "counter",
        "{call}",
        "Answered calls that took longer than the slow threshold at that time.",
        lambda metrics: [(metrics.slow, {})],
    ),
    (
        "refusals",
        "counter",
        "{call}",
        "Calls that were refused, or would have been if it were not only observed.",
        _refusals,
    ),
    (
        "in_flight",
        "up_down_counter",
        "{call}",
        "Calls that have begun and not ended.",
        lambda metrics: [(metrics.in_flight, {})],
    ),
    ("limit", "gauge", "{call}", "Calls that are admitted at a time while limited.", _limit),
    ("latency", "gauge", "s", "Quantiles of the latency of good calls of late.", _latency),
    ("slow_threshold", "gauge", "s", "Latency above which a call is slow.", _threshold),
    ("evidence", "gauge", "1", "Evidence of trouble; at 1 the breaker acts.", _evidence),
)

# The same of the fleet that a registry is in.
FLEET: tuple[tuple[str, str, str, str, Callable[[Fleet], float]], ...] = (
    (
        "workers",
        "gauge",
        "{worker}",
        "Workers that share the store and are alive, as far as this process knows.",
        lambda fleet: fleet.workers,
    ),
    (
        "store.up",
        "gauge",
        "1",
        "1 if the store works, 0 while it fails.",
        lambda fleet: int(fleet.failing_since == inf),
    ),
    (
        "store.failures",
        "counter",
        "{failure}",
        "Operations that the store failed to do.",
        lambda fleet: fleet.failures,
    ),
    (
        "garbage",
        "counter",
        "{text}",
        "Texts in the store that were none of ours, and were ignored.",
        lambda fleet: fleet.garbage,
    ),
    (
        "keys_led",
        "up_down_counter",
        "{key}",
        "Keys that are watched or not closed, and led by this process.",
        lambda fleet: sum(key.leader == fleet.name for key in fleet.status().keys.values()),
    ),
    (
        "keys_alone",
        "up_down_counter",
        "{key}",
        "Keys about which this process has decided alone: it disagrees with the fleet.",
        lambda fleet: sum(
            len(worker.alone)
            for name, worker in fleet.status().workers.items()
            if name == fleet.name
        ),
    ),
)


class Figures:
    """Reads the figures of a registry once for each collection, for all instruments.

    The SDK asks each instrument on its own. A reading is used once by each of them, so the next
    collection gets a new one. Each thread has a reading of its own, as readers have.

    Args:
        registry: The registry.
        meter: Makes the instruments.
    """

    def __init__(self, registry: Registry, meter: Meter) -> None:
        self._registry: Registry | None = registry
        self._local = threading.local()
        for name, kind, unit, description, points in INSTRUMENTS:
            create = getattr(meter, f"create_observable_{kind}")
            create(
                f"recloser.breaker.{name}",
                callbacks=[self._callback(name, points)],
                unit=unit,
                description=description,
            )
        for name, kind, unit, description, value in FLEET:
            create = getattr(meter, f"create_observable_{kind}")
            create(
                f"recloser.fleet.{name}",
                callbacks=[self._fleet_callback(value)],
                unit=unit,
                description=description,
            )

    def end(self) -> None:
        """Tell nothing any more: the API cannot take an instrument back."""
        self._registry = None

    def _callback(
        self, name: str, points: Callable[[Metrics], Points]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(value, {KEY: metrics.key, **attributes})
                for metrics in self._reading(name)
                for value, attributes in points(metrics)
            ]

        return observe

    def _fleet_callback(
        self, value: Callable[[Fleet], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            fleet = None if self._registry is None else self._registry.fleet
            if fleet is None:
                return []
            return [Observation(value(fleet), {STORE: fleet.store.place})]

        return observe

    def _reading(self, name: str) -> list[Metrics]:
        registry, local = self._registry, self._local
        if registry is None:
            return []
        used: set[str] | None = getattr(local, "used", None)
        if used is None or name in used:
            used = local.used = set[str]()
            local.reading = [breaker.metrics() for breaker in registry.breakers()]
        used.add(name)
        if len(used) == len(INSTRUMENTS):
            local.used = None  # nothing is kept between two collections
        reading: list[Metrics] = local.reading
        return reading
