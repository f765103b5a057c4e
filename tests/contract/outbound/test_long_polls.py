"""Requests that ask the callee to wait: their latency says nothing about it."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

from recloser import Registry, State
from recloser.testing import ManualClock

from .conftest import Connect


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
