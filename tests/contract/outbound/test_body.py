"""A call ends with its body: at its end, or when it is closed, fails or is cancelled."""

from __future__ import annotations

import gc

import anyio
import anyio.lowlevel
import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import ENOUGH, Client
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Step,
    Upstream,
    answer,
    chunk,
    cut,
    hang_up,
    head,
)

from recloser import Breaker
from recloser.testing import ManualClock

from .conftest import Connect

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves generators of a body that is not read to its end to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


def later(clock: ManualClock, seconds: float) -> Step:
    """A step that moves the clock on."""
    return lambda wire: clock.advance(seconds)


async def test_a_body_read_to_its_end_is_a_success(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), chunk(b"one"), chunk(b"two"), LAST)

    assert await client.get(f"{upstream.url}/") == (200, b"onetwo")

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_body_that_is_empty_is_a_success(
    client: Client, upstream: Upstream, breaker: Breaker, method: str
) -> None:
    upstream.answers("/", answer(200))

    await client.get(f"{upstream.url}/", method=method)

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_a_call_lasts_as_long_as_its_body(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"one"), gate, chunk(b"two"), LAST)

    answer = await client.open(f"{upstream.url}/")
    await answer.piece()
    assert votes(breaker.metrics()) == {"in_flight": 1}
    gate.open()
    assert await answer.read() == b"two"

    assert votes(breaker.metrics()) == {"successes": 1}
    await answer.close()


async def test_latency_is_the_time_to_the_headers(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    gate = Gate()
    upstream.answers("/", later(clock, 0.2), head(), gate, later(clock, 5.0), chunk(b"x"), LAST)

    answer = await client.open(f"{upstream.url}/")
    gate.open()
    await answer.read()
    await answer.close()

    assert breaker.metrics().mean == pytest.approx(0.2)


async def test_latency_of_an_event_stream_is_the_time_to_its_first_chunk(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    first, second = Gate(), Gate()
    upstream.answers(
        "/",
        later(clock, 0.2),
        head(200, EVENTS),
        first,
        later(clock, 0.3),
        chunk(b"data: 1\n\n"),
        second,
        later(clock, 5.0),
        chunk(b"data: 2\n\n"),
        LAST,
    )

    answer = await client.open(f"{upstream.url}/", method="POST")
    first.open()
    await answer.piece()
    second.open()
    await answer.read()
    await answer.close()

    assert breaker.metrics().mean == pytest.approx(0.5)


async def test_a_body_closed_early_was_an_answer(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), chunk(b"one"), Gate(), LAST)

    answer = await client.open(f"{upstream.url}/")
    await answer.piece()
    await answer.close()

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_a_body_closed_unread_was_an_answer(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), Gate(), LAST)

    answer = await client.open(f"{upstream.url}/")
    await answer.close()

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_an_event_stream_closed_after_its_first_chunk_was_an_answer(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(200, EVENTS), chunk(b"data: 1\n\n"), Gate(), LAST)

    answer = await client.open(f"{upstream.url}/")
    await answer.piece()
    await answer.close()

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_an_event_stream_closed_before_its_first_chunk_was_given_up(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(200, EVENTS), Gate(), LAST)

    answer = await client.open(f"{upstream.url}/", method="POST")
    await answer.close()

    assert votes(breaker.metrics()) == {"cancelled": 1}


@pytest.mark.parametrize("end", [cut, hang_up])
@pytest.mark.parametrize("headers", [{}, {"content-length": "100"}, EVENTS])
async def test_a_body_that_is_cut_is_one_failure(
    client: Client, upstream: Upstream, breaker: Breaker, end: Step, headers: dict[str, str]
) -> None:
    gate = Gate()
    first = b"x" * 10 if "content-length" in headers else chunk(b"x" * 10)
    upstream.answers("/", head(200, headers), first, gate, end)

    answer = await client.open(f"{upstream.url}/")
    assert await answer.piece() == b"x" * 10
    gate.open()
    with pytest.raises(client.wire_error):
        await answer.read()
    await answer.close()

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_body_that_stalls_until_the_time_out_is_a_failure(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), chunk(b"x"), Gate(), LAST)
    hasty: Client = connect(timeout=ENOUGH)

    answer = await hasty.open(f"{upstream.url}/")
    await answer.piece()
    with pytest.raises(hasty.wire_error):
        await answer.read()
    await answer.close()

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_body_whose_reader_is_cancelled_is_no_vote(
    async_client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"x"), gate, LAST)

    answer = await async_client.open(f"{upstream.url}/")
    await answer.piece()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(answer.read)
            await reached(gate)
            scope.cancel()
    await answer.close()

    assert scope.cancelled_caught
    assert votes(breaker.metrics()) == {"cancelled": 1}


# Its connection is left to the garbage collector with it, and Python says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("read_some", [False, True])
async def test_a_response_that_is_forgotten_gives_its_permit_back(
    collected_client: Client, upstream: Upstream, breaker: Breaker, read_some: bool
) -> None:
    upstream.answers("/", head(), chunk(b"one"), Gate(), LAST)

    answer = await collected_client.open(f"{upstream.url}/")
    if read_some:
        await answer.piece()
    assert votes(breaker.metrics()) == {"in_flight": 1}
    del answer
    for _ in range(10):  # generators of async httpx are finalised by the loop
        gc.collect()
        await anyio.lowlevel.checkpoint()

    assert breaker.metrics().in_flight == 0
    assert breaker.metrics().failures == 0


async def test_a_probe_whose_response_is_kept_open_loses_its_lease(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    upstream.answers("/kept", head(200, EVENTS), Gate(), LAST)
    upstream.answers("/", answer(200, b"ok"))
    breaker.open("test", for_=1.0)
    clock.advance(1.0)

    kept = await client.open(f"{upstream.url}/kept", method="POST")
    with pytest.raises(client.refusal):
        await client.get(f"{upstream.url}/")
    clock.advance(breaker.policy.slow_ceiling)
    with pytest.raises(client.refusal):  # the lost lease is a bad probe
        await client.get(f"{upstream.url}/")
    clock.advance(breaker.policy.max_open_for)

    assert await client.get(f"{upstream.url}/") == (200, b"ok")
    await kept.close()


async def reached(gate: Gate) -> None:
    """Wait, without blocking the loop, until an answer waits at a gate."""
    while not gate.reached.is_set():
        await anyio.lowlevel.checkpoint()
    # One more turn: what was sent before the gate is read.
    await anyio.sleep(0.01)


async def test_a_long_body_is_not_slow_while_it_lasts(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    """Latency is the time to the headers, so a download or a token stream may take its time."""
    for _ in range(breaker.policy.min_history + 5):
        breaker.record(0.1, True)
    gate = Gate()
    upstream.answers("/long", head(200, EVENTS), chunk(b"data: 1\n\n"), gate, LAST)
    upstream.answers("/", answer(200, b"ok"))

    response = await client.open(f"{upstream.url}/long")
    await response.piece()
    clock.advance(50.0)
    for _ in range(3):
        await client.get(f"{upstream.url}/")
    assert breaker.metrics().slow == 0
    gate.open()
    await response.read()
    await response.close()

    assert breaker.metrics().slow == 0
    assert breaker.metrics().evidence == 0.0
    assert breaker.metrics().failures == 0
