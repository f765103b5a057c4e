"""A provider that says when to come back is left alone until then, and not blamed."""

from __future__ import annotations

import gzip
import json
from email.utils import formatdate

import pytest
from tests.support.breaker_state import is_closed, votes
from tests.support.named_waits import record_waits
from tests.support.outage import ASKED_BY_ALL
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

from recloser import Breaker, State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_a_429_is_obeyed_and_is_no_vote(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(ASKED_BY_ALL):
        upstream.answers("/", answer(429, headers={"retry-after": "2"}))
    upstream.answers("/", answer(200, b"ok"))

    # The first few may be the limit of one tenant: they refuse nobody.
    for _ in range(ASKED_BY_ALL):
        assert is_closed(breaker)
        assert await client.get(f"{upstream.url}/") == (429, b"")
    clock.advance(1.9)
    with pytest.raises(client.refusal) as refused:
        await client.get(f"{upstream.url}/")
    clock.advance(0.2)

    assert refused.value.retry_after == pytest.approx(0.1)  # type: ignore[attr-defined]
    assert await client.get(f"{upstream.url}/") == (200, b"ok")
    assert upstream.count("/") == ASKED_BY_ALL + 1
    assert breaker.metrics().failures == 0
    assert breaker.metrics().throttled == ASKED_BY_ALL


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
    assert is_closed(breaker)
    assert breaker.asked_pause == pytest.approx(wait)
    for _ in range(ASKED_BY_ALL - 1):
        await client.get(f"{upstream.url}/")

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(wait)


@pytest.mark.parametrize(
    "value", ["-1", "nan", "inf", "1" + "0" * 30, "soon", "Tue, 99 Nov 2026 00:00:00 GMT", "0"]
)
async def test_a_wait_that_cannot_be_meant_is_one_without_a_time(
    client: Client, upstream: Upstream, breaker: Breaker, value: str
) -> None:
    upstream.answers("/", answer(429, headers={"retry-after": value}))

    await client.get(f"{upstream.url}/")

    assert breaker.state is State.CLOSED
    assert breaker.asked_pause == pytest.approx(1.0)
    assert votes(breaker.metrics()) == {"throttled": 1}


async def test_429s_that_say_nothing_are_asked_again_after_growing_pauses(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    upstream.answers("/", answer(429, b'{"error": {"code": "rate_limit_exceeded"}}'))
    waits = []

    for _ in range(ASKED_BY_ALL - 1):
        await client.get(f"{upstream.url}/")
        assert is_closed(breaker)
    for _ in range(4):
        await client.get(f"{upstream.url}/")
        waits.append(breaker.retry_after)
        clock.advance(waits[-1])

    assert waits == pytest.approx([1.0, 2.0, 4.0, 8.0])
    assert votes(breaker.metrics()) == {"throttled": ASKED_BY_ALL + 3}


async def test_a_longer_wait_is_never_shortened(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(429, headers={"retry-after": "60"}))
    # Admitted before the long wait was asked for, answered after it.
    permit = breaker.acquire()

    for _ in range(ASKED_BY_ALL):
        await client.get(f"{upstream.url}/")
    permit.throttled(1.0)

    assert breaker.retry_after == pytest.approx(60.0)


async def test_an_overload_that_says_when_to_come_back_is_a_failure_that_names_a_wait(
    client: Client, upstream: Upstream, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = record_waits(monkeypatch)
    upstream.answers("/", answer(503, headers={"retry-after": "30"}))

    for _ in range(breaker.policy.min_failures):
        await client.get(f"{upstream.url}/")

    assert breaker.metrics().failures == breaker.policy.min_failures
    assert breaker.state is State.OPEN
    assert waits == [30.0] * breaker.policy.min_failures


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
    assert breaker.asked_pause == pytest.approx(breaker.policy.quota_open_for)
    for _ in range(ASKED_BY_ALL - 1):
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

    for _ in range(ASKED_BY_ALL):
        await client.get(f"{upstream.url}/")

    assert breaker.retry_after == pytest.approx(5.0)


async def test_a_429_whose_body_is_not_read_is_counted(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(429, _openai("insufficient_quota")))

    response = await client.open(f"{upstream.url}/")
    await response.close()

    assert votes(breaker.metrics()) == {"throttled": 1}
