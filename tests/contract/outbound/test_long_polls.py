"""Requests that ask the callee to wait: their latency says nothing about it."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

from recloser import Registry, State
from recloser.testing import ManualClock
from recloser_adapters._outbound.long_polls import waits

from .conftest import Connect


@pytest.mark.parametrize(
    "query",
    [
        "timeout=30",
        "offset=7&timeout=50",
        "index=7&wait=5m",
        "wait=true",
        "since=s72&timeout=30000",
        "Action=ReceiveMessage&WaitTimeSeconds=20",
        "wait_seconds=9",
        "longpoll=1",
        "long_polling=true",
        "block=5000",
        "maxWait=2s",
    ],
)
def test_a_query_that_asks_to_wait_is_known(query: str) -> None:
    assert waits(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=timeout",
        "timeout=0",
        "wait=0s",
        "wait=false",
        "timeout=",
        "awaits=3",
        "waitlist=7",
        "timeout_id=3",
        "poll_id=9",
    ],
)
def test_one_that_does_not_is_no_long_poll(query: str) -> None:
    assert not waits(query)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "method"), [("/events?timeout=30", "GET"), ("/bot1/getUpdates", "POST")]
)
async def test_long_polls_on_the_key_of_a_host_refuse_nobody(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    registry: Registry,
    clock: ManualClock,
    path: str,
    method: str,
) -> None:
    guarded: Client = connect(cut_off=True)
    breaker = registry[upstream.host]
    limits: list[float] = []

    def waiting(wire: Any) -> None:
        limits.extend(breaker.timeout_of(token) for token in breaker._calls.voting)
        clock.advance(25.0)

    upstream.answers("/", lambda wire: clock.advance(0.02), answer(200, b"ok"))
    upstream.answers(path.partition("?")[0], waiting, answer(200, b"ok"))
    for _ in range(40):
        assert (await guarded.get(f"{upstream.url}/"))[0] == 200
        clock.advance(0.2)
    threshold = breaker.slow_threshold
    for number in range(60):
        url = f"{upstream.url}{path}" if number % 12 < 9 else f"{upstream.url}/"
        how: dict[str, Any] = {"method": method} if number % 12 < 9 else {}
        assert (await guarded.get(url, **how))[0] == 200

    assert limits == [inf] * len(limits)
    assert limits
    assert breaker.metrics().refused == 0
    assert breaker.metrics().generation == 0
    assert breaker.state is State.CLOSED
    assert breaker.slow_threshold == pytest.approx(threshold, rel=0.3)
