"""Whose wait it is: that of a credential and a model or route."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.support.breaker_state import votes
from tests.support.llm_calls import CHAT, JSON, QUOTA, ask, refused
from tests.support.outage import ASKED_BY_ALL
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import LAST, PATIENCE, Gate, Upstream, answer, chunk, head

from recloser import Mode, Outcome, Registry, State
from recloser.testing import ManualClock

from .conftest import Connect

pytestmark = pytest.mark.anyio


async def test_the_wait_of_one_credential_and_model_refuses_only_that(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    for _ in range(ASKED_BY_ALL):
        upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    upstream.answers(CHAT, answer(200, b"{}"))
    for _ in range(ASKED_BY_ALL):
        assert await ask(client, upstream, "a", "sk-1") == 429

    error = await refused(client, upstream, "a", "sk-1")
    assert error.retry_after == pytest.approx(30.0)
    assert error.key.startswith(f"{upstream.host} a (credential ")
    assert await ask(client, upstream, "a", "sk-2") == 200
    assert await ask(client, upstream, "b", "sk-1") == 200
    assert registry[f"{upstream.host} a"].state is State.CLOSED


async def test_the_wait_of_one_route_refuses_no_other_route(
    client: Client, upstream: Upstream
) -> None:
    upstream.answers("/search", answer(429, headers={"retry-after": "300"}))
    upstream.answers("/pay", answer(200, b"paid"))
    for _ in range(ASKED_BY_ALL):
        await client.get(f"{upstream.url}/search")

    with pytest.raises(client.refusal, match="/search"):
        await client.get(f"{upstream.url}/search?q=more")
    assert await client.get(f"{upstream.url}/pay", method="POST") == (200, b"paid")


async def test_a_quota_of_one_tenant_is_no_quota_of_the_others_whatever_the_key(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    guarded: Client = connect(key="openai")
    for _ in range(ASKED_BY_ALL):
        upstream.answers(CHAT, answer(429, QUOTA, JSON))
    upstream.answers(CHAT, answer(200, b"{}"))
    for _ in range(ASKED_BY_ALL):
        await ask(guarded, upstream, key="sk-poor")

    error = await refused(guarded, upstream, "a", "sk-poor")
    assert error.reason.rule == "quota"
    assert error.retry_after == pytest.approx(900.0)
    assert await ask(guarded, upstream, key="sk-rich") == 200
    assert registry["openai"].state is State.CLOSED


@pytest.mark.parametrize("status", [402, 403, 400])
async def test_a_quota_is_understood_under_other_statuses(
    client: Client, upstream: Upstream, status: int
) -> None:
    body = b"{}" if status == 402 else QUOTA
    upstream.answers(CHAT, answer(status, body, JSON))
    for _ in range(ASKED_BY_ALL):
        assert await ask(client, upstream) == status

    assert (await refused(client, upstream)).reason.rule == "quota"


async def test_a_quota_is_understood_where_nothing_explains_latency(
    connect: Connect, client: Client, upstream: Upstream
) -> None:
    guarded: Client = connect(label_by=None)
    upstream.answers(CHAT, answer(402, b"{}", JSON))
    for _ in range(ASKED_BY_ALL):
        await ask(guarded, upstream)

    assert (await refused(guarded, upstream)).reason.rule == "quota"


async def test_on_end_is_told_the_outcome_and_the_key(
    connect: Connect, client: Client, upstream: Upstream
) -> None:
    reports: list[Any] = []
    guarded: Client = connect(on_end=reports.append)
    upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    upstream.answers(CHAT, answer(200, b"{}"))
    upstream.answers("/search", answer(429, headers={"retry-after": "30"}))

    await ask(guarded, upstream)
    await ask(guarded, upstream)
    await guarded.get(f"{upstream.url}/search")

    assert [(each.key, each.outcome) for each in reports] == [
        (f"{upstream.host} a", Outcome.THROTTLED),
        (f"{upstream.host} a", Outcome.SUCCESS),
        (upstream.host, Outcome.THROTTLED),
    ]


@pytest.mark.parametrize("headers", [{"Retry-After": "60"}, {"x-ratelimit-remaining": "0"}])
async def test_a_rate_limit_may_be_a_403(
    client: Client, upstream: Upstream, headers: dict[str, str]
) -> None:
    upstream.answers("/repos", answer(403, b"{}", {"x-ratelimit-reset": "60", **headers}))
    upstream.answers("/user", answer(403, b"{}", {"x-ratelimit-remaining": "9"}))
    for _ in range(ASKED_BY_ALL):
        assert (await client.get(f"{upstream.url}/repos"))[0] == 403

    with pytest.raises(client.refusal) as raised:
        await client.get(f"{upstream.url}/repos")
    assert raised.value.retry_after == pytest.approx(60.0)  # type: ignore[attr-defined]
    for _ in range(20):
        assert (await client.get(f"{upstream.url}/user"))[0] == 403


@pytest.mark.parametrize("path", ["/v1/payment_intents", "/charge"])
async def test_a_declined_card_is_no_quota(
    client: Client, upstream: Upstream, registry: Registry, path: str
) -> None:
    upstream.answers(path, answer(402, b'{"error": {"code": "insufficient_funds"}}', JSON))

    for _ in range(20):
        assert await ask(client, upstream, path=path) == 402

    assert votes(registry[upstream.host].metrics()) == {"ignored": 20}
    assert len(registry) == 1


async def test_a_quota_in_a_stream_is_understood(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    guarded: Client = connect(sse_errors=True)
    event = b"event: error\ndata: " + QUOTA + b"\n\n"
    upstream.answers(
        CHAT,
        head(200, {"content-type": "text/event-stream"}),
        chunk(b": hi\n\n"),
        chunk(event),
        LAST,
    )
    for _ in range(ASKED_BY_ALL):
        await ask(guarded, upstream)

    assert (await refused(guarded, upstream)).reason.rule == "quota"
    assert registry[f"{upstream.host} a"].metrics().failures == 0


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"}, b"", 300.0),
        ({"x-ratelimit-reset-requests": "120ms"}, b"", 0.12),
        ({"retry-after": "7"}, b'{"retryDelay": "45.8s"}', 7.0),
        ({}, b'{"error": {"details": [{"retryDelay": "45.8s"}]}}', 45.8),
        ({}, b'{"error": {"message": "Please try again in 20s."}}', 20.0),
        ({"x-should-retry": "false"}, b"{}", 60.0),
        ({"x-should-retry": "false"}, b'{"retryDelay": "3s"}', 3.0),
    ],
)
async def test_a_wait_is_read_where_it_is_said(
    client: Client, upstream: Upstream, headers: dict[str, str], body: bytes, wait: float
) -> None:
    upstream.answers(CHAT, answer(429, body, headers))
    for _ in range(ASKED_BY_ALL):
        await ask(client, upstream)

    assert (await refused(client, upstream)).retry_after == pytest.approx(wait)


async def test_the_limits_of_an_answer_that_was_not_refused_for_them_are_no_wait(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(CHAT, answer(503, headers={"x-ratelimit-reset": "3000"}))
    breaker = registry[f"{upstream.host} a"]
    while breaker.state is State.CLOSED:
        await ask(client, upstream)

    assert breaker.retry_after < 1.0


async def test_after_a_wait_calls_are_served_and_the_scope_is_forgotten(
    client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    for _ in range(ASKED_BY_ALL):
        upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    upstream.answers(CHAT, answer(200, b"{}"))
    for _ in range(ASKED_BY_ALL):
        await ask(client, upstream)
    (scope,) = (each for each in registry if each.state is State.OPEN)
    clock.advance(30.0)

    for _ in range(30):
        assert await ask(client, upstream) == 200

    assert scope.state is State.CLOSED
    before = scope.metrics().successes
    await ask(client, upstream)
    assert scope.metrics().successes == before  # it is not asked any more


async def test_when_a_wait_is_over_all_calls_may_pass(
    async_client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    gates = [Gate() for _ in range(5)]
    for _ in range(ASKED_BY_ALL):
        upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    for gate in gates:
        upstream.answers(CHAT, gate, answer(200, b"{}"))
    for _ in range(ASKED_BY_ALL):
        await ask(async_client, upstream)
    clock.advance(30.0)

    statuses: list[int] = []

    async def again() -> None:
        statuses.append(await ask(async_client, upstream))

    async with anyio.create_task_group() as tasks:
        for gate in gates:
            tasks.start_soon(again)
            await anyio.to_thread.run_sync(gate.reached.wait, PATIENCE)
        for gate in gates:
            gate.open()

    assert statuses == [200] * 5
    assert all(each.state is State.CLOSED for each in registry)


async def test_a_call_that_is_asked_to_wait_after_a_wait_begins_a_longer_one(
    client: Client, upstream: Upstream, clock: ManualClock
) -> None:
    upstream.answers(CHAT, answer(429))
    waits = []
    for _ in range(ASKED_BY_ALL - 1):
        await ask(client, upstream)
    for _ in range(4):
        assert await ask(client, upstream) == 429
        waits.append((await refused(client, upstream)).retry_after)
        clock.advance(waits[-1])

    assert waits == pytest.approx([1.0, 2.0, 4.0, 8.0])


async def test_a_scope_that_nobody_asks_again_is_dropped(
    client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    upstream.answers("/other", answer(200))
    for number in range(20):
        for _ in range(ASKED_BY_ALL):
            await ask(client, upstream, key=f"sk-{number}")
    assert len(registry) == 21

    clock.advance(120.0)
    await client.get(f"{upstream.url}/other")

    assert {each.key for each in registry} == {f"{upstream.host} a", upstream.host}


async def test_a_key_that_observes_refuses_nothing_for_its_scopes(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    registry[f"{upstream.host} a"].mode = Mode.OBSERVE

    statuses = [await ask(client, upstream) for _ in range(20)]

    assert statuses == [429] * 20


async def test_a_host_with_more_scopes_than_breakers_is_served(
    connect: Connect, client: Client, upstream: Upstream, clock: ManualClock
) -> None:
    registry = Registry(max_keys=5, clock=clock)
    guarded: Client = connect(registry=registry)
    upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    for number in range(40):
        assert await ask(guarded, upstream, key=f"sk-{number}") == 429
        assert await ask(guarded, upstream, model=f"m-{number}") == 429

    assert len(registry) <= 6
    assert registry.faults == 0


async def test_seldom_429s_among_served_calls_refuse_nobody(
    client: Client, upstream: Upstream, clock: ManualClock
) -> None:
    for _ in range(60):
        upstream.answers(CHAT, answer(429, headers={"retry-after": "5"}))
        for _ in range(3):
            upstream.answers(CHAT, answer(200, b"{}"))

    statuses = []
    for _ in range(240):
        statuses.append(await ask(client, upstream))
        clock.advance(0.05)

    assert statuses.count(429) == 60


async def test_more_scopes_than_are_kept_refuse_nobody_else(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(CHAT, answer(429, headers={"retry-after": "30"}))
    for number in range(300):
        await ask(client, upstream, key=f"sk-{number}")

    assert len(registry) == 128 + 1
    assert registry.faults == 0


async def test_a_credential_is_nowhere_to_be_read(
    client: Client, upstream: Upstream, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    path = "/v1beta/models/gemini:generateContent?key=AIza-secret"
    upstream.answers(path.partition("?")[0], answer(429, headers={"retry-after": "30"}))
    upstream.answers("/bot123:secret-token/send", answer(429, headers={"retry-after": "30"}))
    for _ in range(ASKED_BY_ALL):
        await client.get(f"{upstream.url}{path}", method="POST", body=b"{}")
        await client.get(f"{upstream.url}/bot123:secret-token/send")

    assert sum(each.state is State.OPEN for each in registry) == 2
    shown = [*map(repr, registry), *map(str, (each.refusal() for each in registry)), caplog.text]
    assert not any("secret" in each for each in shown)


@pytest.mark.parametrize("status", [400, 403])
async def test_other_errors_of_the_caller_are_no_quota(
    client: Client, upstream: Upstream, registry: Registry, status: int
) -> None:
    body = b'{"error": {"message": "no", "code": "model_not_found"}}'
    upstream.answers(CHAT, answer(status, body, JSON))

    assert await ask(client, upstream) == status

    assert votes(registry[f"{upstream.host} a"].metrics()) == {"ignored": 1}
