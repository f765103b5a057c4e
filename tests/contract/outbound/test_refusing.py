"""A refusal sends nothing, and looks like what the client's callers already handle."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

import recloser
from recloser import Breaker, Registry, State
from recloser.testing import ManualClock, open_breaker

from .conftest import Connect

pytestmark = pytest.mark.anyio


async def test_a_refusal_is_an_error_of_the_client_and_of_ours(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("maintenance", for_=30.0)
    clock.advance(10.0)

    with pytest.raises(client.wire_error) as raised:
        await client.get(f"{upstream.url}/")

    refusal = raised.value
    assert type(refusal) is client.refusal
    assert isinstance(refusal, recloser.BreakerOpenError)
    assert refusal.key == upstream.host
    assert refusal.state is State.OPEN
    assert refusal.retry_after == pytest.approx(20.0)
    assert "maintenance" in str(refusal)
    assert upstream.connections == 0
    assert votes(breaker.metrics()) == {"refused": 1}


async def test_a_refusal_is_no_time_out_and_no_failure_to_connect(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    open_breaker(breaker)

    with pytest.raises(client.refusal) as raised:
        await client.get(f"{upstream.url}/")

    names = {kind.__name__ for kind in type(raised.value).__mro__}
    assert not names & {"TimeoutException", "ConnectError", "Timeout", "ClientConnectorError"}


@pytest.mark.parametrize(
    "variable",
    [("RECLOSER_ENABLED", "0"), ("RECLOSER_MODE", "disabled"), ("RECLOSER_MODE", "observe")],
)
async def test_the_environment_reaches_outbound_calls(
    connect: Connect, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    upstream.answers("/", answer(200, b"ok"))
    monkeypatch.setenv(*variable)
    registry = Registry()
    client = connect(registry=registry)
    open_breaker(registry[upstream.host])

    await client.get(f"{upstream.url}/")

    assert upstream.connections == 1


async def test_a_refusal_can_be_pickled(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    open_breaker(breaker)

    with pytest.raises(client.refusal) as raised:
        await client.get(f"{upstream.url}/")

    copy = pickle.loads(pickle.dumps(raised.value))
    assert (copy.key, copy.state, str(copy)) == (upstream.host, State.OPEN, str(raised.value))


async def test_a_refusal_carries_its_request(
    answering_client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    open_breaker(breaker)

    with pytest.raises(answering_client.refusal) as raised:
        await answering_client.get(f"{upstream.url}/asked")

    request: Any = raised.value.request  # type: ignore[attr-defined]  # of the client's own error
    assert str(request.url) == f"{upstream.url}/asked"


async def test_a_refusal_is_no_vote_for_a_breaker_around_it(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    outer = recloser.Breaker("outer")
    open_breaker(breaker)

    with pytest.raises(client.refusal):
        async with outer:
            await client.get(f"{upstream.url}/")

    assert votes(outer.metrics()) == {"ignored": 1}


async def test_a_refusal_may_be_a_response(
    connect: Connect, answering_client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    client: Client = connect(on_refuse="response")
    breaker.open("maintenance", for_=29.5)

    response = await client.open(f"{upstream.url}/")
    problem = json.loads(await response.read())

    headers = response.response.headers
    assert response.status == 503
    assert headers["x-should-retry"] == "false"
    assert headers["retry-after"] == "30"
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert problem["status"] == 503
    assert problem["breaker"] == upstream.host
    assert problem["retry_after"] == pytest.approx(29.5)
    assert upstream.connections == 0
    assert votes(breaker.metrics()) == {"refused": 1}
    await response.close()


async def test_on_refuse_may_make_the_response(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"kept for bad times"))
    told: list[tuple[str, str]] = []
    kept: list[Any] = []
    plain = await client.open(f"{upstream.url}/")
    kept.append(plain.response)

    def instead(request: Any, refusal: recloser.BreakerOpenError) -> Any:
        told.append((str(request.url), refusal.key))
        return kept[0]

    guarded: Client = connect(on_refuse=instead)
    open_breaker(breaker)

    response = await guarded.open(f"{upstream.url}/")

    assert await response.read() == b"kept for bad times"
    assert told == [(f"{upstream.url}/", upstream.host)]
    await response.close()
    await plain.close()


async def test_an_on_refuse_that_raises_leaves_the_refusal(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker, registry: Registry
) -> None:
    def broken(request: Any, refusal: recloser.BreakerOpenError) -> Any:
        raise LookupError("a bug of the user's")

    guarded: Client = connect(on_refuse=broken)
    open_breaker(breaker)

    with pytest.raises(client.refusal):
        await guarded.get(f"{upstream.url}/")

    assert registry.faults == 1


async def test_a_mode_that_observes_refuses_nothing(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"ok"))
    breaker.mode = recloser.Mode.OBSERVE
    open_breaker(breaker)

    assert await client.get(f"{upstream.url}/") == (200, b"ok")
