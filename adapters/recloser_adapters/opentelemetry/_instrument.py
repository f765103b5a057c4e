"""`instrument`: what breakers do, in the traces of the calls that it concerns."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.context import get_current as current_context
from opentelemetry.trace import Link

from recloser import Registry, Transition
from recloser.hints import check_registry
from recloser_adapters._background import Background
from recloser_adapters._forks import in_forked_process
from recloser_adapters.opentelemetry._instruments import ENFORCED, KEY, OUTCOME, STATE, Figures

if TYPE_CHECKING:
    from recloser import Override, Refusal

SCOPE = "recloser"
_KEPT = 1000  # spans of bad calls that are remembered, for links
MODE = "recloser.breaker.mode"
BEFORE = "recloser.breaker.state.before"
RULE = "recloser.reason.rule"
SENTENCE = "recloser.reason.sentence"


class Instrumentation:
    """The connection of a registry with OpenTelemetry, made by `instrument`."""

    def __init__(
        self,
        registry: Registry,
        meter_provider: metrics.MeterProvider | None,
        tracer_provider: trace.TracerProvider | None,
    ) -> None:
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._registry = registry
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._figures = Figures(registry, meter)
        self._background = Background("recloser-opentelemetry", self._fault)
        # By trace id: of a bad call only that is kept, and a link needs the span.
        self._spans: dict[str, trace.SpanContext] = {}
        # How often each key changed, by the attributes of the change.
        self._changes: dict[tuple[tuple[str, str], ...], int] = {}
        meter.create_observable_counter(
            "recloser.breaker.transitions",
            callbacks=[self._transitions],
            unit="{transition}",
            description="Changes of state.",
        )
        self._unlock()
        in_forked_process(self, Instrumentation._unlock)
        self._unsubscribe = registry.subscribe(self)
        self._trace_before = registry.trace
        registry.trace = self.trace

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def _transitions(self, options: metrics.CallbackOptions) -> list[metrics.Observation]:
        with self._lock:
            # The changes of a key go with the key, or their number would grow for ever.
            self._changes = {
                change: count
                for change, count in self._changes.items()
                if dict(change)[KEY] in self._registry
            }
            return [
                metrics.Observation(count, dict(change)) for change, count in self._changes.items()
            ]

    @property
    def dropped(self) -> int:
        """Number of spans of changes that were dropped, because too many waited."""
        return self._background.dropped

    def end(self) -> None:
        """Tell nothing more."""
        self._unsubscribe()
        self._changes.clear()
        self._figures.end()
        if self._registry.trace == self.trace:
            self._registry.trace = self._trace_before

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until the spans of all changes are made, some seconds at most; whether they are."""
        return self._background.flush(timeout)

    def trace(self) -> str:
        """The trace id of the current call, in hexadecimal; empty without a trace."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        name = trace.format_trace_id(context.trace_id)
        with self._lock:
            self._spans.pop(name, None)
            self._spans[name] = context
            if len(self._spans) > _KEPT:
                del self._spans[next(iter(self._spans))]
        return name

    def on_refuse(self, refusal: Refusal) -> None:
        """Note a refusal in the span of the refused call."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes: dict[str, Any] = {
            KEY: refusal.key,
            STATE: refusal.state.value,
            MODE: refusal.mode.value,
            ENFORCED: refusal.is_enforced,
        }
        span.set_attributes(attributes)
        attributes["recloser.refusal.retry_after"] = refusal.retry_after
        if refusal.reason is not None:
            attributes[RULE] = refusal.reason.rule
            attributes[SENTENCE] = refusal.reason.sentence
        span.add_event("recloser.refusal", attributes)

    def on_transition(self, transition: Transition) -> None:
        """Note a change in the span of the call that caused it, and make a span of its own."""
        reason = transition.reason
        kind = {
            KEY: transition.key,
            BEFORE: transition.before.value,
            STATE: transition.after.value,
            MODE: transition.mode.value,
            RULE: reason.rule,
        }
        with self._lock:
            change = tuple(kind.items())
            self._changes[change] = self._changes.get(change, 0) + 1
        attributes: dict[str, Any] = {**kind, SENTENCE: reason.sentence}
        if reason.by:
            attributes["recloser.override.by"] = reason.by
        attributes.update(_numbers(reason.numbers))
        trace.get_current_span().add_event("recloser.transition", attributes)
        links = self._links(transition)
        context, now = current_context(), time.time_ns()
        # In another thread: what ends a span may send it at once.
        self._background.put(lambda: self._span(attributes, links, context, now))

    def _links(self, transition: Transition) -> list[Link]:
        with self._lock:
            calls = [(bad, self._spans.get(bad.trace)) for bad in transition.bad_calls]
        return [
            Link(
                span,
                {
                    OUTCOME: bad.outcome,
                    "recloser.call.latency": bad.latency,
                    "recloser.call.error": bad.error,
                },
            )
            for bad, span in calls
            if span is not None
        ]

    def _span(
        self, attributes: Mapping[str, Any], links: list[Link], context: Context, now: int
    ) -> None:
        name = f"recloser {attributes[STATE]} {attributes[KEY]}"
        span = self._tracer.start_span(
            name, context, attributes=attributes, links=links, start_time=now
        )
        span.end(now)

    def on_override(self, key: str, override: Override, ended: bool) -> None:
        """Note in the current span what was changed by hand."""
        attributes: dict[str, Any] = {
            KEY: key,
            "recloser.override.ended": ended,
            "recloser.override.by": override.by,
            SENTENCE: override.reason,
        }
        if override.state is not None:
            attributes[STATE] = override.state.value
        if override.mode is not None:
            attributes[MODE] = override.mode.value
        if override.enforce_share is not None:
            attributes["recloser.breaker.enforce_share"] = override.enforce_share
        trace.get_current_span().add_event("recloser.override", attributes)

    def _fault(self, error: Exception) -> None:
        self._registry.fault("opentelemetry", error)


def _numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"recloser.reason.{name}": value for name, value in numbers.items()}


def instrument(
    registry: Registry,
    *,
    meter_provider: metrics.MeterProvider | None = None,
    tracer_provider: trace.TracerProvider | None = None,
) -> Instrumentation:
    """Tell OpenTelemetry what the breakers of a registry do.

    - Instruments named `recloser.breaker.*` have the figures. They are read when the SDK collects.
    - The current span of a refused call gets attributes and an event `recloser.refusal`.
    - A change of state is an event `recloser.transition` in the span of the call that caused it, and a
      span of its own, with links to the traces of the bad calls.

    It sets `registry.trace`, so reasons name the traces of bad calls.

    Args:
        registry: The registry.
        meter_provider: Makes the instruments; None for the global one.
        tracer_provider: Makes the spans; None for the global one.

    Returns:
        The connection: `end()` ends it.

    Raises:
        TypeError: `registry` is no registry.
    """
    check_registry(registry, Registry)
    return Instrumentation(registry, meter_provider, tracer_provider)
