"""What becomes of a call before its headers are there, and what counts as one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.support.breaker_state import is_closed, votes
from tests.support.outbound_clients import SHORT, Client
from tests.support.scripted_upstream import (
    Gate,
    Step,
    Upstream,
    answer,
    closed_port,
    cut,
    hang_up,
    head,
    unreachable,
)

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock

from .conftest import Connect
from .test_body import reached

pytestmark = pytest.mark.anyio

STATUSES = {
    200: "successes",
    204: "successes",
    301: "successes",
    304: "successes",
    400: "ignored",
    401: "ignored",
    403: "ignored",
    404: "ignored",
    409: "ignored",
    422: "ignored",
    451: "ignored",
    408: "failures",
    500: "failures",
    502: "failures",
    503: "failures",
    504: "failures",
    529: "failures",
    599: "failures",
    429: "throttled",
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_says_whose_fault_it_was(
    client: Client, upstream: Upstream, breaker: Breaker, status: int
) -> None:
    body = b"" if status in (204, 304) else b"{}"
    upstream.answers("/", answer(status, body))

    assert await client.get(f"{upstream.url}/") == (status, body)

    assert votes(breaker.metrics()) == {STATUSES[status]: 1}


async def test_an_answer_of_4xx_is_a_good_probe(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    """Look-ups that miss are all the calls of this hour."""
    upstream.answers("/", answer(503))
    upstream.answers("/missing", answer(404, b"{}"))
    while breaker.state is not State.OPEN:
        await client.get(f"{upstream.url}/")
    clock.advance(1.0)

    for _ in range(8):
        assert await client.get(f"{upstream.url}/missing") == (404, b"{}")

    assert is_closed(breaker)


async def test_a_status_that_fails_votes_before_its_body_came(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(502), Gate())

    response = await client.open(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"failures": 1}
    await response.close()


async def test_a_reason_names_the_status(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(502))

    for _ in range(5):
        await client.get(f"{upstream.url}/")

    assert "HTTP 502" in breaker.explain()


async def test_a_host_that_refuses_to_connect_fails(client: Client, registry: Registry) -> None:
    with closed_port() as port, pytest.raises(client.wire_error):
        await client.get(f"http://127.0.0.1:{port}/")

    assert votes(registry[f"127.0.0.1:{port}"].metrics()) == {"failures": 1}


async def test_a_host_that_does_not_answer_the_connection_fails(
    connect: Connect, client: Client, registry: Registry
) -> None:
    hasty: Client = connect(timeout=SHORT)

    with unreachable() as port, pytest.raises(hasty.wire_error):
        await hasty.get(f"http://127.0.0.1:{port}/")

    assert votes(registry[f"127.0.0.1:{port}"].metrics()) == {"failures": 1}


async def test_a_host_that_does_not_answer_the_request_fails(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", Gate(), answer())
    hasty: Client = connect(timeout=SHORT)

    with pytest.raises(hasty.wire_error):
        await hasty.get(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize("end", [cut, hang_up])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", b"nonsense\r\n\r\n"])
async def test_a_connection_that_ends_before_the_headers_fails(
    client: Client, upstream: Upstream, breaker: Breaker, said: bytes, end: Step
) -> None:
    upstream.answers("/", said, end)

    with pytest.raises(client.wire_error):
        # No POST is sent twice by any of them, whereas aiohttp tries a GET again.
        await client.get(f"{upstream.url}/", method="POST")

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_cancelled_while_connecting_is_no_vote(
    async_client: Client, registry: Registry
) -> None:
    with unreachable() as port:
        breaker = registry[f"127.0.0.1:{port}"]
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(async_client.get, f"http://127.0.0.1:{port}/")
                while not breaker.metrics().in_flight:
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(0.01)
                scope.cancel()

    assert scope.cancelled_caught
    assert votes(breaker.metrics()) == {"cancelled": 1}


async def test_cancelled_before_the_headers_is_no_vote(
    async_client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", gate, answer())

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(async_client.get, f"{upstream.url}/")
            await reached(gate)
            scope.cancel()

    assert scope.cancelled_caught
    assert votes(breaker.metrics()) == {"cancelled": 1}


async def test_each_hop_of_a_redirect_is_a_call(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/old", answer(302, headers={"location": "/new"}))
    upstream.answers("/new", answer(200, b"here"))

    assert await client.get(f"{upstream.url}/old", redirects=True) == (200, b"here")

    assert votes(breaker.metrics()) == {"successes": 2}


async def test_each_hop_has_the_key_of_its_own_host(
    client: Client, upstream: Upstream, breaker: Breaker, registry: Registry
) -> None:
    elsewhere = f"localhost:{upstream.port}"
    upstream.answers("/old", answer(302, headers={"location": f"http://{elsewhere}/new"}))
    upstream.answers("/new", answer(500))

    assert await client.get(f"{upstream.url}/old", redirects=True) == (500, b"")

    assert votes(breaker.metrics()) == {"successes": 1}
    assert votes(registry[elsewhere].metrics()) == {"failures": 1}


async def test_a_request_body_arrives_as_it_was_given(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"ok"))

    await client.get(f"{upstream.url}/", method="POST", body=b"given")

    assert [seen.body for seen in upstream.seen] == [b"given"]
    assert votes(breaker.metrics()) == {"successes": 1}


async def test_a_request_body_that_raises_is_the_callers_own_fault(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    async def broken_async() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("a bug of the caller's")

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise LookupError("a bug of the caller's")

    with pytest.raises((LookupError, *client.wire_error)):
        await client.get(
            f"{upstream.url}/", method="POST", body=broken_async() if client.is_async else broken()
        )

    assert votes(breaker.metrics()) == {"ignored": 1}


@pytest.mark.parametrize(
    "wrong", [{"method": "G T"}, {"headers": {"X-User": "a\nb"}}, {"headers": {"X-User": "€"}}]
)
async def test_what_cannot_be_sent_is_the_callers_own_fault(
    client: Client, upstream: Upstream, breaker: Breaker, wrong: dict[str, Any]
) -> None:
    upstream.answers("/", answer(200, b"{}"))

    for _ in range(30):
        with suppress(Exception):  # some libraries send one of them all the same
            await client.get(f"{upstream.url}/", **wrong)

    assert breaker.metrics().failures == 0
    assert breaker.metrics().in_flight == 0
    assert is_closed(breaker)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///nowhere", "nowhere"])
async def test_a_url_that_cannot_be_is_no_vote_of_anyone(
    client: Client, registry: Registry, url: str
) -> None:
    if client.library == "urllib3" and url == "nowhere":
        pytest.skip("to urllib3 that is the name of a host")
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each client has its own
        await client.get(url)

    assert not isinstance(raised.value, AssertionError)
    assert [votes(breaker.metrics()) for breaker in registry if breaker.metrics().failures] == []
    assert registry.faults == 0


async def test_the_reason_names_what_was_raised(client: Client) -> None:
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(5):
            with pytest.raises(client.wire_error):
                await client.get(url)
        with pytest.raises(client.refusal) as refused:
            await client.get(url)

    assert "onnect" in str(refused.value.reason)  # type: ignore[attr-defined]
