"""The OpenTelemetry adapter, with the real SDK."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.support.fleet_workers import Workers
from tests.support.waiting import until

from recloser import Attempt, BreakerOpenError, Failover, LoosePermit, Provider, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.httpx import ANY_PROVIDER, FailoverTransport, LLMEndpoint
from recloser_adapters.opentelemetry import Instrumentation, instrument, trace_attempts


class Sdk:
    """An SDK of its own, which keeps all in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("app")

    def instrument(self, registry: Registry) -> Instrumentation:
        return instrument(registry, meter_provider=self.meters, tracer_provider=self.tracers)

    def spans(self, start: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(start)]

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The data points of an instrument, by their attributes other than the key."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            tuple(sorted((key, value) for key, value in (point.attributes or {}).items())): (
                point.value  # type: ignore[union-attr]
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def sdk() -> Generator[Sdk, None, None]:
    sdk = Sdk()
    yield sdk
    sdk.tracers.shutdown()
    sdk.meters.shutdown()


def bad_call(registry: Registry, key: str, error: Exception | None = None) -> None:
    permit = registry[key].acquire()
    permit.failure(error or OSError("no route"))


def until_open(registry: Registry, key: str) -> None:
    while registry[key].state.value != "open":
        bad_call(registry, key)


def test_the_instruments_have_the_figures(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    with registry["shop"]:
        pass
    open_breaker(registry["shop"])
    registry["shop"].admit(LoosePermit)
    key = ("recloser.breaker.key", "shop")

    states = sdk.points("recloser.breaker.state")
    assert states[key, ("recloser.breaker.state", "open")] == 1
    assert states[key, ("recloser.breaker.state", "closed")] == 0
    assert sdk.points("recloser.breaker.calls")[key, ("recloser.call.outcome", "success")] == 1
    refusals = sdk.points("recloser.breaker.refusals")
    assert refusals[key, ("recloser.refusal.enforced", True)] == 1
    assert refusals[key, ("recloser.refusal.enforced", False)] == 0
    assert sdk.points("recloser.breaker.slow_threshold")[key,] > 0
    assert not sdk.points("recloser.breaker.limit")
    transitions = sdk.points("recloser.breaker.transitions")
    assert list(transitions.values()) == [1]


def test_the_instruments_have_the_fleet(clock: ManualClock, sdk: Sdk) -> None:
    workers = Workers(clock)
    workers.turn(5.5)
    first = workers.registries[0]
    instrumentation = sdk.instrument(first)
    first["pay"].open("migration")
    workers.turn(0.2)
    store = ("recloser.fleet.store", "memory:7/0")

    def told(name: str) -> Any:
        return sdk.points(f"recloser.fleet.{name}")[store,]

    assert [told(name) for name in ("workers", "store.up", "keys_led", "keys_alone")] == [
        3,
        1,
        1,
        0,
    ]
    workers.shared.trouble = "no route"
    workers.turn(3.0)
    assert told("store.up") == 0
    assert told("store.failures") >= 3
    assert told("garbage") == 0
    instrumentation.end()
    assert not sdk.points("recloser.fleet.workers")


def test_without_a_store_no_fleet_is_told(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    registry["shop"].record(0.1, True)

    assert sdk.points("recloser.breaker.in_flight")
    assert not sdk.points("recloser.fleet.workers")


def test_each_collection_reads_each_key_once(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    registry["shop"].record(0.1, True)
    registry["bar"].record(0.1, True)
    read: list[str] = []

    class Counting(type(registry["shop"])):  # type: ignore[misc]
        __slots__ = ()

        def metrics(self) -> Any:
            read.append(self.key)
            return super().metrics()

    for breaker in registry:
        breaker.__class__ = Counting
    sdk.reader.collect()
    assert sorted(read) == ["bar", "shop"]
    registry["shop"].record(0.1, True)
    name = "recloser.breaker.calls"
    key = ("recloser.breaker.key", "shop")

    assert sdk.points(name)[key, ("recloser.call.outcome", "success")] == 2
    assert len(read) == 4


def test_a_key_that_is_gone_is_told_no_more(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    registry["shop"].record(0.1, True)
    registry["bar"].record(0.1, True)
    assert len(sdk.points("recloser.breaker.in_flight")) == 2
    registry.discard(registry["shop"])

    assert [*sdk.points("recloser.breaker.in_flight")] == [(("recloser.breaker.key", "bar"),)]


def test_the_changes_of_a_key_go_with_the_key(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    for key in ("shop", "bar"):
        open_breaker(registry[key])
    assert len(sdk.points("recloser.breaker.transitions")) == 2
    registry.discard(registry["shop"])

    (left,) = sdk.points("recloser.breaker.transitions")
    assert dict(left)["recloser.breaker.key"] == "bar"


def test_a_refusal_is_in_the_span_of_the_refused_call(registry: Registry, sdk: Sdk) -> None:
    sdk.instrument(registry)
    until_open(registry, "shop")
    with sdk.tracer.start_as_current_span("request"), pytest.raises(BreakerOpenError):
        registry["shop"].acquire()
    (span,) = sdk.spans("request")
    (event,) = span.events

    assert span.attributes is not None
    assert span.attributes["recloser.breaker.key"] == "shop"
    assert span.attributes["recloser.refusal.enforced"] is True
    assert event.name == "recloser.refusal"
    assert event.attributes is not None
    assert event.attributes["recloser.reason.rule"] == "failures"
    assert event.attributes["recloser.refusal.retry_after"] == pytest.approx(
        registry["shop"].retry_after
    )


def test_a_change_is_an_event_and_a_span_with_links_to_the_bad_calls(
    registry: Registry, sdk: Sdk
) -> None:
    connection = sdk.instrument(registry)
    traces: list[int] = []
    while registry["shop"].state.value != "open":
        with sdk.tracer.start_as_current_span("request") as current:
            traces.append(current.get_span_context().trace_id)
            bad_call(registry, "shop")
    assert connection.flush(20)
    (span,) = sdk.spans("recloser open shop")
    *_, cause = sdk.spans("request")

    linked = [link.context.trace_id for link in span.links]
    assert linked == traces[-len(linked) :]
    assert len(linked) >= 4
    assert all((link.attributes or {})["recloser.call.outcome"] == "failure" for link in span.links)
    assert span.parent is not None
    assert cause.context is not None
    assert span.parent.span_id == cause.context.span_id
    (event,) = cause.events
    assert event.name == "recloser.transition"
    assert event.attributes is not None
    assert event.attributes["recloser.breaker.state"] == "open"
    assert event.attributes["recloser.breaker.state.before"] == "closed"


def test_what_is_changed_by_hand_names_who_did_it(registry: Registry, sdk: Sdk) -> None:
    connection = sdk.instrument(registry)
    with sdk.tracer.start_as_current_span("request"):
        registry["shop"].open("maintenance", for_=60, by="alice")
        registry["shop"].override("observe", for_=60, by="bob")
    connection.flush(20)
    (span,) = sdk.spans("request")
    by = [(event.attributes or {}).get("recloser.override.by") for event in span.events]

    assert "alice" in by
    assert "bob" in by


def test_no_more_than_a_thousand_spans_of_bad_calls_are_remembered(
    registry: Registry, sdk: Sdk
) -> None:
    connection = sdk.instrument(registry)
    for _ in range(1100):
        with sdk.tracer.start_as_current_span("request"):
            assert connection.trace()

    assert len(connection._spans) == 1000


def test_its_end_is_the_end(registry: Registry, sdk: Sdk) -> None:
    connection = sdk.instrument(registry)
    assert registry.trace is not None
    registry["shop"].record(0.1, True)
    connection.end()
    until_open(registry, "shop")
    connection.flush(20)

    assert registry.trace is None
    assert not sdk.spans()
    assert not sdk.points("recloser.breaker.calls")


def test_without_an_sdk_nothing_happens(registry: Registry) -> None:
    instrument(registry)
    until_open(registry, "shop")
    failover = Failover(registry, [Provider("a", "x")], on_attempt=trace_attempts())

    assert failover.call(lambda attempt: "answer") == "answer"
    assert registry.faults == 0


class Stuck(SimpleSpanProcessor):
    """A processor whose exporter hangs."""

    def __init__(self) -> None:
        super().__init__(InMemorySpanExporter())
        self.entered = threading.Event()
        self.released = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        self.entered.set()
        assert self.released.wait(60)


def test_an_exporter_that_hangs_delays_nobody_and_what_is_too_much_is_dropped(
    registry: Registry, sdk: Sdk
) -> None:
    connection = sdk.instrument(registry)
    stuck = Stuck()
    sdk.tracers.add_span_processor(stuck)
    breaker = registry["shop"]
    for _ in range(700):
        breaker.open()
        breaker.reset()
    until(stuck.entered.is_set, "the exporter is called")
    dropped = connection.dropped
    stuck.released.set()

    assert 398 <= dropped <= 400  # of 1,400 changes, 1,000 may wait, and one is with the exporter
    assert registry.faults == dropped


def test_an_exporter_that_raises_is_a_fault_and_no_call_fails(
    registry: Registry, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sdk.instrument(registry)

    def broken(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(connection._tracer, "start_span", broken)
    until_open(registry, "shop")
    assert connection.flush(20)

    assert registry.faults == 1


# Attempts


def providers() -> list[Provider[str]]:
    return [Provider("a", "https://a.example:8443/v1"), Provider("b", "http://b.example")]


def answer_of(attempt: Attempt[str]) -> str:
    if attempt.key == "a":
        raise OSError("password=hunter2")
    return "answer"


def call(failover: Failover[str]) -> Any:
    return failover.call(answer_of, repeatable=True)


def acall(failover: Failover[str]) -> Any:
    async def send(attempt: Attempt[str]) -> str:
        await asyncio.sleep(0)
        return answer_of(attempt)

    return asyncio.run(_awaited(failover.acall(send, repeatable=True)))


async def _awaited(call: Any) -> Any:
    before = trace.get_current_span()
    result = await call
    assert trace.get_current_span() is before
    return result


def stream(failover: Failover[str]) -> Any:
    (chunk,) = failover.stream(lambda attempt: [answer_of(attempt)], repeatable=True)
    return chunk


@pytest.mark.parametrize("send", [call, acall, stream])
def test_each_attempt_is_a_client_span(registry: Registry, sdk: Sdk, send: Any) -> None:
    traced = trace_attempts(tracer_provider=sdk.tracers)
    failover = Failover(registry, providers(), on_attempt=traced)
    with sdk.tracer.start_as_current_span("request") as request:
        assert send(failover) == "answer"
        assert trace.get_current_span() is request
    first, second, outer = sdk.spans()

    assert [first.name, second.name] == ["a", "b"]
    for span in (first, second):
        assert span.kind is SpanKind.CLIENT
        assert span.parent is not None
        assert outer.context is not None
        assert span.parent.span_id == outer.context.span_id
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["server.address"] == "a.example"
    assert first.attributes["server.port"] == 8443
    assert first.attributes["recloser.attempt.fate"] == "failed"
    assert first.attributes["error.type"] == "OSError"
    assert first.status.status_code is StatusCode.ERROR
    assert "hunter2" not in first.to_json()
    assert second.attributes["server.port"] == 80
    assert second.attributes["recloser.attempt.number"] == 2
    assert second.attributes["recloser.attempt.fate"] == "served"
    assert second.status.status_code is StatusCode.UNSET
    assert registry.faults == 0


def test_the_span_is_the_current_one_while_the_provider_is_asked(
    registry: Registry, sdk: Sdk
) -> None:
    traced = trace_attempts(tracer_provider=sdk.tracers)
    failover = Failover(registry, providers(), on_attempt=traced)

    def send(attempt: Attempt[str]) -> str:
        with sdk.tracer.start_as_current_span(f"GET {attempt.key}"):
            return answer_of(attempt)

    failover.call(send, repeatable=True)
    of_client, attempt, *_ = sdk.spans()

    assert attempt.context is not None
    assert of_client.parent is not None
    assert of_client.parent.span_id == attempt.context.span_id


def test_an_attempt_that_ends_in_another_task_leaves_no_span_behind(
    registry: Registry, sdk: Sdk, clock: ManualClock
) -> None:
    traced = trace_attempts(tracer_provider=sdk.tracers)
    failover = Failover(registry, providers(), on_attempt=traced)

    async def main() -> None:
        attempt = next(failover.attempts())

        async def end() -> None:
            with attempt:
                pass

        await asyncio.create_task(end())

    asyncio.run(main())
    (span,) = sdk.spans()

    assert span.attributes is not None
    assert span.attributes["recloser.attempt.fate"] == "served"
    assert not trace.get_current_span().get_span_context().is_valid


def test_calls_to_language_models_have_the_names_of_gen_ai(registry: Registry, sdk: Sdk) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.openai.com":
            return httpx.Response(503)
        usage = {"prompt_tokens": 12, "completion_tokens": 34}
        return httpx.Response(
            200, json={"usage": usage, "choices": []}, headers={"x-request-id": "r1"}
        )

    endpoints = [
        Provider("openai", LLMEndpoint("https://api.openai.com/v1", "sk-1")),
        Provider(
            "backup",
            LLMEndpoint("https://api.groq.com/openai/v1", "gsk-2", models={"big": "llama-3.3"}),
        ),
    ]
    failover = Failover(registry, endpoints, on_attempt=trace_attempts(tracer_provider=sdk.tracers))
    transport = FailoverTransport(httpx.MockTransport(answer), failover)
    with httpx.Client(transport=transport, base_url=ANY_PROVIDER) as client:
        client.post("/chat/completions", json={"model": "big", "messages": []})
    first, second = sdk.spans()

    assert first.name == "chat big"
    assert first.kind is SpanKind.CLIENT
    assert first.attributes is not None
    assert first.attributes["gen_ai.operation.name"] == "chat"
    assert first.attributes["gen_ai.provider.name"] == "openai"
    assert first.attributes["gen_ai.request.model"] == "big"
    assert first.attributes["error.type"] == "503"
    assert first.attributes["http.response.status_code"] == 503
    assert second.attributes is not None
    assert second.attributes["gen_ai.provider.name"] == "groq"
    assert second.attributes["gen_ai.request.model"] == "llama-3.3"
    assert second.attributes["gen_ai.usage.input_tokens"] == 12
    assert second.attributes["gen_ai.usage.output_tokens"] == 34
    assert second.attributes["server.address"] == "api.groq.com"
    assert "sk-" not in first.to_json() + second.to_json()


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(TypeError, match="must be a Registry"):
        instrument("registry")  # type: ignore[arg-type]
