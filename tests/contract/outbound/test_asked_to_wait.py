"""A provider that says when to come back is left alone until then, and not blamed."""

from __future__ import annotations

import gzip
import json
from email.utils import formatdate

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Gate, Upstream, answer

from recloser import Breaker, State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_a_429_is_obeyed_and_is_no_vote(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    upstream.answers("/", answer(429, headers={"retry-after": "2"}))
    upstream.answers("/", answer(200, b"ok"))

    assert await client.get(f"{upstream.url}/") == (429, b"")
    clock.advance(1.9)
    with pytest.raises(client.refusal) as refused:
        await client.get(f"{upstream.url}/")
    clock.advance(0.2)

    assert refused.value.retry_after == pytest.approx(0.1)  # type: ignore[attr-defined]
    assert await client.get(f"{upstream.url}/") == (200, b"ok")
    assert upstream.count("/") == 2
    assert breaker.metrics().failures == 0
    assert breaker.metrics().throttled == 1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": "100000"}, 300.0),
        ({"retry-after": formatdate(4_000_000_000, usegmt=True)}, 300.0),
    ],
)
async def test_each_form_of_retry_after_is_obeyed_up_to_the_cap(
    client: Client, upstream: Upstream, breaker: Breaker, headers: dict[str, str], wait: float
) -> None:
    upstream.answers("/", answer(429, headers=headers))

    await client.get(f"{upstream.url}/")

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(wait)


@pytest.mark.parametrize(
    "value", ["-1", "nan", "inf", "1" + "0" * 30, "soon", "Tue, 99 Nov 2026 00:00:00 GMT", "0"]
)
async def test_a_wait_that_cannot_be_meant_is_none(
    client: Client, upstream: Upstream, breaker: Breaker, value: str
) -> None:
    upstream.answers("/", answer(429, headers={"retry-after": value}))

    await client.get(f"{upstream.url}/")

    assert breaker.state is State.CLOSED
    assert votes(breaker.metrics()) == {"throttled": 1}


async def test_a_429_that_says_nothing_is_counted_and_no_more(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(429, b'{"error": {"code": "rate_limit_exceeded"}}'))

    for _ in range(20):
        await client.get(f"{upstream.url}/")

    assert breaker.state is State.CLOSED
    assert votes(breaker.metrics()) == {"throttled": 20}


async def test_a_longer_wait_is_never_shortened(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/long", answer(429, headers={"retry-after": "60"}))
    upstream.answers("/", gate, answer(429, headers={"retry-after": "1"}))
    gate.open()
    # Admitted before the long wait was asked for, answered after it.
    permit = breaker.acquire()

    await client.get(f"{upstream.url}/long")
    permit.throttled(1.0)

    assert breaker.retry_after == pytest.approx(60.0)


async def test_an_overload_that_says_when_to_come_back_is_a_failure_and_obeyed(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(503, headers={"retry-after": "30"}))

    for _ in range(breaker.policy.min_failures):
        await client.get(f"{upstream.url}/")

    assert breaker.metrics().failures == breaker.policy.min_failures
    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(30.0)


def _openai(code: str) -> bytes:
    return json.dumps({"error": {"message": "no", "type": code, "code": code}}).encode()


def _anthropic(code: str) -> bytes:
    error = {"type": "rate_limit_error", "message": "no", "details": {"error_code": code}}
    return json.dumps({"type": "error", "error": error}).encode()


@pytest.mark.parametrize(
    "body",
    [
        _openai("insufficient_quota"),
        _openai("credit_balance_exhausted"),
        _anthropic("enforced_spend_limit_reached"),
        _openai("insufficient_quota").replace(b" ", b"\n  "),
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_exhausted_quota_opens_for_long_with_its_own_reason(
    client: Client, upstream: Upstream, breaker: Breaker, body: bytes, encoding: str
) -> None:
    sent = gzip.compress(body) if encoding == "gzip" else body
    upstream.answers("/", answer(429, sent, {"content-encoding": encoding}))

    assert await client.get(f"{upstream.url}/") == (429, body)

    assert breaker.retry_after == pytest.approx(breaker.policy.quota_open_for)
    assert breaker.metrics().failures == 0
    with pytest.raises(client.refusal) as refused:
        await client.get(f"{upstream.url}/")
    assert refused.value.reason.rule == "quota"  # type: ignore[attr-defined]


async def test_a_quota_that_says_when_to_come_back_is_believed(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(429, _openai("insufficient_quota"), {"retry-after": "5"}))

    await client.get(f"{upstream.url}/")

    assert breaker.retry_after == pytest.approx(5.0)


async def test_a_429_whose_body_is_not_read_is_counted(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(429, _openai("insufficient_quota")))

    response = await client.open(f"{upstream.url}/")
    await response.close()

    assert votes(breaker.metrics()) == {"throttled": 1}
