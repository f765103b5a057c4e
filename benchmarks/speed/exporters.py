"""What exporters cost: a request while they are attached, and a scrape of many keys."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from math import inf

import recloser.asgi
from recloser import Registry

from .floors import App
from .report import Goal, Section, timed
from .rounds import Candidate, Effort, awaited, measure, unshared
from .web import opened, requests_to, two_messages

WANTED = ("prometheus_client", "opentelemetry.sdk", "sentry_sdk")
NONE = "no exporter"
EXPORTERS = ("Prometheus", "OpenTelemetry", "Sentry")
KEYS = 1000
HISTORY = 40  # calls of each key before the scrape, so that all of its figures are known


def obstacle() -> str | None:
    """Return the reason why this benchmark cannot run here; None if it can."""
    missing = [name for name in WANTED if find_spec(name.partition(".")[0]) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def attach(registry: Registry, exporter: str) -> None:
    """Attach an exporter to a registry, with an SDK that keeps what it gets in memory."""
    if exporter == "Prometheus":
        from recloser_adapters.prometheus import BreakerCollector

        BreakerCollector(registry)
    elif exporter == "OpenTelemetry":
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider

        from recloser_adapters.opentelemetry import instrument

        meters = MeterProvider([InMemoryMetricReader()])
        instrument(registry, meter_provider=meters, tracer_provider=TracerProvider())
    elif exporter == "Sentry":
        from recloser_adapters import sentry

        sentry.instrument(registry)


def exporters(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a guarded ASGI app, served and refused, with each exporter."""

    def guarded(exporter: str, *, refused: bool) -> App:
        registry = Registry()
        attach(registry, exporter)
        if refused:
            opened(registry, "route")
        middleware = recloser.asgi.BreakerMiddleware
        return middleware(unshared(two_messages), registry, key=lambda scope: "route")

    with asyncio.Runner() as runner:
        candidates = [
            Candidate(
                exporter + suffix,
                awaited(runner, requests_to(guarded(exporter, refused=bool(suffix)))),
            )
            for suffix in ("", ", refused")
            for exporter in (NONE, *EXPORTERS)
        ]
        timings = measure(candidates, effort, tick)
    section = timed("Exporters: a guarded ASGI request", timings, over=NONE)
    for exporter in EXPORTERS:
        ratio = 1.0 + timings.added(exporter, NONE) / timings.median(NONE)
        section.goals.append(Goal(f"a request with {exporter} to one without", ratio, 1.05))
        if exporter != "OpenTelemetry":
            name = f"{NONE}, refused"
            ratio = 1.0 + timings.added(f"{exporter}, refused", name) / timings.median(name)
            section.goals.append(Goal(f"a refusal with {exporter} to one without", ratio, 1.05))
    section.notes.append(
        "OpenTelemetry is told of each refusal, for the span of the refused call: that is its work."
    )
    return section


def scrape(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a scrape of a thousand keys, in CPU time of its thread; the fastest third is kept."""
    from prometheus_client import CollectorRegistry, generate_latest

    from recloser_adapters.prometheus import BreakerCollector, export

    registry = Registry(max_keys=KEYS)
    for number in range(KEYS):
        for call in range(HISTORY):
            registry[f"GET /route/{number}"].record(0.05 * (1.0 + call / HISTORY), True)
    ours, others = BreakerCollector(registry), CollectorRegistry()
    export(registry, to=others)
    candidates: dict[str, Callable[[], object]] = {
        "figures of all keys": lambda: [breaker.metrics() for breaker in registry],
        "our app (text)": ours.text,
        "generate_latest() of prometheus-client": lambda: generate_latest(others),
    }
    taken = {name: list[float]() for name in candidates}
    for _ in range(effort.keep):
        for name, read in candidates.items():
            start = time.thread_time()
            read()
            taken[name].append((time.thread_time() - start) * 1e3)
        tick()
    section = Section(f"Exporters: a scrape of {KEYS:,} keys", ["", "ms", "worst / median"])
    for name in taken:
        times = taken[name] = sorted(taken[name])[: len(taken[name]) // 3 + 1]
        middle = statistics.median(times)
        section.rows.append([name, middle, f"{max(times, default=inf) / middle:.2f}"])
    middle = statistics.median(taken["our app (text)"])
    section.goals.append(Goal(f"a scrape of {KEYS:,} keys by our app", middle, 20.0, "ms"))
    return section
