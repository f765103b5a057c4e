"""Keys, outcomes by rules of the user's own, error events, reports, and what goes wrong around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Upstream,
    answer,
    chunk,
    closed_port,
    cut,
    head,
)

from recloser import Breaker, Outcome, Policy, Registry
from recloser.testing import ManualClock

from .conftest import Connect
from .test_body import EVENTS, later

pytestmark = pytest.mark.anyio


def giving(junk: Any) -> Callable[[Any], Any]:
    """A function of the user's that gives junk, or raises it."""

    def broken(asked: Any) -> Any:
        if junk is LookupError:
            raise LookupError
        return junk

    return broken


async def test_a_key_may_be_the_name_of_a_provider(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(500))

    await connect(key="openai").get(f"{upstream.url}/")

    assert [(breaker.key, votes(breaker.metrics())) for breaker in registry] == [
        ("openai", {"failures": 1})
    ]


async def test_a_key_may_be_made_from_the_request(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/v1/chat", answer(200))

    await connect(key=lambda request: str(request.url).rsplit("/", 1)[1]).get(
        f"{upstream.url}/v1/chat"
    )

    assert votes(registry["chat"].metrics()) == {"successes": 1}


async def test_a_request_whose_key_is_none_is_not_guarded(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(500, b"as ever"))
    upstream.answers("/", cut)
    guarded: Client = connect(key=lambda request: None)

    assert await guarded.get(f"{upstream.url}/") == (500, b"as ever")
    with pytest.raises(client.wire_error):
        await guarded.get(f"{upstream.url}/", method="POST")

    assert len(registry) == 0
    assert registry.faults == 0


@pytest.mark.parametrize("junk", [7, b"openai", "", object(), ["openai"], LookupError])
async def test_a_key_function_that_fails_leaves_the_host(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry, junk: Any
) -> None:
    upstream.answers("/", answer(200, b"ok"))

    assert await connect(key=giving(junk)).get(f"{upstream.url}/") == (200, b"ok")

    assert votes(registry[upstream.host].metrics()) == {"successes": 1}
    assert registry.faults == 1


async def test_an_error_event_is_a_failure_if_asked_for(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    said = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    upstream.answers("/", head(200, EVENTS), chunk(b"event: ping\ndata: {}\n\n"), chunk(said), LAST)

    status, body = await connect(sse_errors=True).get(f"{upstream.url}/")

    assert (status, body[-len(said) :]) == (200, said)
    assert votes(breaker.metrics()) == {"failures": 1}


async def test_an_error_event_is_none_of_ours_unless_asked_for(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(200, EVENTS), chunk(b"event: error\ndata: {}\n\n"), LAST)

    await client.get(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_an_error_event_is_seen_across_pieces(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    gates = [Gate() for _ in range(5)]
    pieces = [b"data: 1\n", b"\neve", b"nt: er", b"ror", b"\ndata: {}\n\n"]
    steps = [
        step for gate, piece in zip(gates, pieces, strict=True) for step in (gate, chunk(piece))
    ]
    upstream.answers("/", head(200, EVENTS), *steps, LAST)

    response = await connect(sse_errors=True).open(f"{upstream.url}/")
    for gate in gates:
        gate.open()
        await response.piece()
    await response.read()
    await response.close()

    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    "said",
    [
        b"data: event: error\n\n",
        b"data: the event: error\n\n",
        b"event: errors\n\n",
        b"event: terror\n\n",
        b': event: error\n\ndata: {"error": null}\n\n',
        b'data: {"choices": [{"delta": {"content": "{\\"error\\": {}}"}}]}\n\n',
    ],
)
async def test_what_only_looks_like_an_error_event_is_none(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker, said: bytes
) -> None:
    upstream.answers("/", head(200, EVENTS), chunk(said), LAST)

    await connect(sse_errors=True).get(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    "said",
    [
        b"event: error\r\ndata: {}\r\n\r\n",
        b"event:error\ndata: {}\n\n",
        b'data: {"error": {"message": "overloaded", "code": 529}}\n\n',
        b'data:{"error":"overloaded"}\n\n',
    ],
)
async def test_each_form_of_an_error_event_is_one(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker, said: bytes
) -> None:
    upstream.answers("/", head(200, EVENTS), chunk(said), LAST)

    await connect(sse_errors=True).get(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("status", "said", "counted"),
    [
        (404, Outcome.FAILURE, "failures"),
        (500, Outcome.IGNORED, "ignored"),
        (500, Outcome.SUCCESS, "successes"),
        (200, Outcome.FAILURE, "failures"),
        (200, Outcome.THROTTLED, "throttled"),
        (200, Outcome.CANCELLED, "cancelled"),
        (500, None, "failures"),
    ],
)
async def test_classify_overrules_the_verdict_on_a_response(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    breaker: Breaker,
    status: int,
    said: Outcome | None,
    counted: str,
) -> None:
    upstream.answers("/", answer(status, b"x"))

    assert await connect(classify=lambda seen: said).get(f"{upstream.url}/") == (status, b"x")

    assert votes(breaker.metrics()) == {counted: 1}


async def test_classify_overrules_the_verdict_on_an_error(
    connect: Connect, client: Client, registry: Registry
) -> None:
    guarded: Client = connect(
        key="k", classify=lambda seen: Outcome.IGNORED if isinstance(seen, Exception) else None
    )

    with closed_port() as port, pytest.raises(client.wire_error):
        await guarded.get(f"http://127.0.0.1:{port}/")

    assert votes(registry["k"].metrics()) == {"ignored": 1}


@pytest.mark.parametrize("junk", ["failure", 500, LookupError])
async def test_a_classify_that_fails_leaves_the_default(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    breaker: Breaker,
    registry: Registry,
    junk: Any,
) -> None:
    upstream.answers("/", answer(500))

    assert await connect(classify=giving(junk)).get(f"{upstream.url}/") == (500, b"")

    assert votes(breaker.metrics()) == {"failures": 1}
    assert registry.faults == 1


async def test_errors_that_the_policy_ignores_are_no_vote(
    connect: Connect, client: Client, clock: ManualClock
) -> None:
    registry = Registry(Policy(ignore_errors=(*client.wire_error, OSError)), clock=clock)
    guarded: Client = connect(registry=registry, key="k")

    with closed_port() as port, pytest.raises(client.wire_error):
        await guarded.get(f"http://127.0.0.1:{port}/")

    assert votes(registry["k"].metrics()) == {"ignored": 1}


async def test_each_call_is_reported_with_its_latency_and_its_whole_time(
    connect: Connect, client: Client, upstream: Upstream, clock: ManualClock
) -> None:
    gate = Gate()
    upstream.answers("/", later(clock, 0.25), head(), gate, later(clock, 4.0), chunk(b"x"), LAST)
    reports: list[Any] = []

    response = await connect(on_end=reports.append).open(f"{upstream.url}/")
    assert reports == []
    gate.open()
    await response.read()
    await response.close()

    (report,) = reports
    assert (report.key, report.outcome) == (upstream.host, Outcome.SUCCESS)
    assert report.latency == pytest.approx(0.25)
    assert report.duration == pytest.approx(4.25)


@pytest.mark.parametrize(
    ("status", "outcome", "counted"),
    [
        (200, Outcome.SUCCESS, "successes"),
        (404, Outcome.IGNORED, "ignored"),
        (408, Outcome.FAILURE, "failures"),
        (429, Outcome.THROTTLED, "throttled"),
        (500, Outcome.FAILURE, "failures"),
    ],
)
async def test_the_outcome_that_is_reported_is_the_one_that_is_counted(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    breaker: Breaker,
    status: int,
    outcome: Outcome,
    counted: str,
) -> None:
    upstream.answers("/", answer(status, b"x"))
    reports: list[Any] = []

    await connect(on_end=reports.append).get(f"{upstream.url}/")

    assert [report.outcome for report in reports] == [outcome]
    assert votes(breaker.metrics()) == {counted: 1}


async def test_an_error_that_the_policy_ignores_is_reported_as_ignored(
    connect: Connect, client: Client, clock: ManualClock
) -> None:
    registry = Registry(Policy(ignore_errors=(*client.wire_error, OSError)), clock=clock)
    reports: list[Any] = []
    guarded: Client = connect(registry=registry, key="k", on_end=reports.append)

    with closed_port() as port, pytest.raises(client.wire_error):
        await guarded.get(f"http://127.0.0.1:{port}/")

    assert [report.outcome for report in reports] == [Outcome.IGNORED]
    assert votes(registry["k"].metrics()) == {"ignored": 1}


async def test_classify_overrules_what_the_policy_ignores(
    connect: Connect, client: Client, clock: ManualClock
) -> None:
    registry = Registry(Policy(ignore_errors=(*client.wire_error, OSError)), clock=clock)
    guarded: Client = connect(registry=registry, key="k", classify=giving(Outcome.FAILURE))

    with closed_port() as port, pytest.raises(client.wire_error):
        await guarded.get(f"http://127.0.0.1:{port}/")

    assert votes(registry["k"].metrics()) == {"failures": 1}


async def test_a_call_without_headers_is_reported_without_latency(
    connect: Connect, client: Client, upstream: Upstream
) -> None:
    upstream.answers("/", cut)
    reports: list[Any] = []

    with pytest.raises(client.wire_error):
        await connect(on_end=reports.append).get(f"{upstream.url}/", method="POST")

    assert [(report.outcome, report.latency) for report in reports] == [(Outcome.FAILURE, None)]


async def test_an_on_end_that_raises_breaks_nothing(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(200, b"ok"))

    def broken(report: Any) -> None:
        raise LookupError("a bug of the user's")

    assert await connect(on_end=broken).get(f"{upstream.url}/") == (200, b"ok")

    assert registry.faults == 1


async def test_a_fault_of_our_own_admits_the_call(
    client: Client, upstream: Upstream, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answers("/", answer(200, b"ok"))

    def broken(self: Registry, key: str) -> Breaker:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Registry, "__getitem__", broken)

    assert await client.get(f"{upstream.url}/") == (200, b"ok")

    assert registry.faults == 1


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"key": ""}, ValueError, "key"),
        ({"key": 7}, TypeError, "key"),
        ({"on_refuse": "explode"}, ValueError, "on_refuse"),
        ({"classify": "failure"}, TypeError, "classify"),
        ({"on_end": 7}, TypeError, "on_end"),
        ({"registry": {}}, TypeError, "registry"),
        (
            {"registry": Policy(min_failures=3)},
            TypeError,
            r"registry must be a Registry, not Policy\(min_failures=3\): write Registry\(policy\)$",
        ),
        ({"on_ends": None}, TypeError, "on_ends"),
    ],
)
async def test_a_setting_that_cannot_be_is_named_at_once(
    connect: Connect,
    client: Client,
    settings: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    with pytest.raises(error, match=named):
        connect(**settings).client  # noqa: B018  # aiohttp's is made on first use
