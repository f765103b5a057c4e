"""Streams: what is a first piece, what is a stall, and what is only waiting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import LAST, Gate, Step, Upstream, answer, chunk, head

from recloser import Breaker, Permit, Policy, Registry, State
from recloser.testing import ManualClock
from recloser_adapters._outbound.events import EventReader, has_content

from .conftest import Connect

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves generators of a body that is not read to its end to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
LINES = {"content-type": "application/x-ndjson"}
PIECE = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'
PREAMBLES = [
    b": keep-alive\n\n",
    b": OPENROUTER PROCESSING\r\n\r\n",
    b"retry: 3000\n\n",
    b"event: ping\ndata: {}\n\n",
    b'data: {"type": "ping"}\n\n',
    b'event: message_start\ndata: {"type": "message_start", "message": {"content": []}}\n\n',
    b'event: content_block_start\ndata: {"type": "content_block_start", "content_block": {"type":'
    b' "text", "text": ""}}\n\n',
    b'event: response.created\ndata: {"type": "response.created", "response": {}}\n\n',
    b'data: {"type": "response.in_progress", "response": {}}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n',
    b'data: {"choices": [], "prompt_filter_results": [{}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}}]}\n\n',
    b'data: {"choices": [{"index": 0, "text": ""}]}\n\n',
]


def later(clock: ManualClock, seconds: float) -> Step:
    """A step that moves the clock on."""
    return lambda wire: clock.advance(seconds)


async def read_through(answer: Any, *gates: Gate) -> None:
    for gate in gates:
        gate.open()
        await answer.piece()
    await answer.read()
    await answer.close()


@pytest.mark.parametrize("said", PREAMBLES)
async def test_the_latency_is_the_time_to_the_first_piece_with_content(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock, said: bytes
) -> None:
    gates = [Gate(), Gate()]
    steps: list[Step] = [gates[0], chunk(said), gates[1], later(clock, 0.4), chunk(PIECE)]
    upstream.answers("/", head(200, EVENTS), *steps, LAST)

    await read_through(await client.open(f"{upstream.url}/", method="POST"), *gates)

    assert votes(breaker.metrics()) == {"successes": 1}
    assert breaker.metrics().mean == pytest.approx(0.4)


@pytest.mark.parametrize("headers", [EVENTS, LINES])
async def test_a_first_piece_that_comes_in_two_parts_is_known_when_it_is_whole(
    client: Client,
    upstream: Upstream,
    breaker: Breaker,
    clock: ManualClock,
    headers: dict[str, str],
) -> None:
    gates = [Gate(), Gate()]
    whole = PIECE if headers is EVENTS else b'{"message": {"role": "assistant", "content": "Hi"}}\n'
    steps: list[Step] = [
        gates[0],
        chunk(whole[:20]),
        gates[1],
        later(clock, 0.3),
        chunk(whole[20:]),
    ]
    upstream.answers("/", head(200, headers), *steps, LAST)

    await read_through(await client.open(f"{upstream.url}/", method="POST"), *gates)

    assert breaker.metrics().mean == pytest.approx(0.3)


async def test_a_stream_that_stalls_is_one_failure(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    gates = [Gate(), Gate()]
    steps: list[Step] = [
        gates[0],
        chunk(PIECE),
        gates[1],
        later(clock, 30.0),
        chunk(PIECE),
        chunk(PIECE),
    ]
    upstream.answers("/", head(200, EVENTS), *steps, LAST)

    await read_through(await client.open(f"{upstream.url}/", method="POST"), *gates)

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_comments_do_not_hide_a_stall(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    gates = [Gate() for _ in range(7)]
    silence: list[Step] = [
        step for gate in gates[1:] for step in (gate, later(clock, 3.0), chunk(b": still here\n\n"))
    ]
    upstream.answers("/", head(200, EVENTS), gates[0], chunk(PIECE), *silence, chunk(PIECE), LAST)

    await read_through(await client.open(f"{upstream.url}/", method="POST"), *gates)

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_caller_that_takes_its_time_makes_no_stall(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    upstream.answers("/", head(200, EVENTS), *[chunk(PIECE)] * 3, LAST)

    answer = await client.open(f"{upstream.url}/", method="POST")
    for _ in range(2):
        await answer.piece()
        clock.advance(100.0)
    await answer.read()
    await answer.close()

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_streams_that_hang_open_the_breaker_without_anybody_closing_them(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    """The bodies are read by nobody else here, so what the adapter does is done by hand."""
    hanging: list[Permit] = []
    for _ in range(8):
        permit = breaker.acquire()
        permit.pieces().asked()
        hanging.append(permit)
    clock.advance(30.0)
    upstream.answers("/", answer(200))

    with pytest.raises(client.refusal):
        await client.get(f"{upstream.url}/")

    assert breaker.state is State.OPEN
    assert len(hanging) == 8


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/graphql")])
async def test_a_subscription_is_answered_by_its_headers(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock, method: str, path: str
) -> None:
    gates = [Gate(), Gate()]
    steps: list[Step] = [
        later(clock, 0.1),
        head(200, EVENTS),
        gates[0],
        later(clock, 90.0),
        chunk(b"data: first\n\n"),
        gates[1],
        later(clock, 500.0),
        chunk(b"data: second\n\n"),
    ]
    upstream.answers(path, *steps, LAST)

    await read_through(await client.open(upstream.url + path, method=method), *gates)

    assert votes(breaker.metrics()) == {"successes": 1}
    assert breaker.metrics().mean == pytest.approx(0.1)


async def test_a_subscription_that_is_closed_before_anything_came_was_answered(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(200, EVENTS), Gate(), LAST)

    await (await client.open(f"{upstream.url}/")).close()

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_idle_subscriptions_do_not_refuse_other_calls(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(breaker.policy.min_history + 5):
        breaker.record(0.1, True)
    upstream.answers("/events", head(200, EVENTS), Gate(), LAST)
    upstream.answers("/", answer(200, b"ok"))
    sessions = [await client.open(f"{upstream.url}/events") for _ in range(8)]

    for _ in range(20):
        clock.advance(10.0)
        assert await client.get(f"{upstream.url}/", method="POST") == (200, b"ok")
    for session in sessions:
        await session.close()

    assert votes(breaker.metrics())["successes"] == 8 + 20 + breaker.policy.min_history + 5


async def test_what_claims_to_be_an_event_stream_and_is_none_is_content(
    client: Client, upstream: Upstream, breaker: Breaker, clock: ManualClock
) -> None:
    gate = Gate()
    steps: list[Step] = [gate, later(clock, 0.3), chunk(b"hello, no line feed")]
    upstream.answers("/", head(200, EVENTS), *steps, LAST)

    await read_through(await client.open(f"{upstream.url}/", method="POST"), gate)

    assert votes(breaker.metrics()) == {"successes": 1}
    assert breaker.metrics().mean == pytest.approx(0.3)


async def test_a_stalled_stream_is_cut_off_where_that_is_asked_for(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    breaker = registry[upstream.host]
    upstream.answers("/", head(200, EVENTS), chunk(PIECE), Gate(), LAST)
    hasty: Client = connect(registry=impatient(registry), cut_off=True)

    answer = await hasty.open(f"{upstream.url}/", method="POST")
    with pytest.raises(hasty.wire_error):
        await answer.read()
    await answer.close()

    assert breaker.metrics().in_flight == 0


async def test_a_stream_that_only_says_that_it_is_alive_is_cut_off_too(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    def alive(wire: Any) -> None:
        for _ in range(50):
            Gate().reached.wait(0.05)
            wire.sendall(chunk(b": alive\n\n"))

    upstream.answers("/", head(200, EVENTS), chunk(PIECE), alive, LAST)
    hasty: Client = connect(registry=impatient(registry), cut_off=True)

    answer = await hasty.open(f"{upstream.url}/", method="POST")
    with pytest.raises(hasty.wire_error):
        await answer.read()
    await answer.close()


def impatient(registry: Registry) -> Registry:
    """A registry with a real clock, in which every wait of 0.2 s is hopeless."""
    return Registry(Policy(slow_ceiling=0.2))


async def test_nothing_is_cut_off_unless_that_is_asked_for(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    def pause(wire: Any) -> None:
        Gate().reached.wait(0.5)

    upstream.answers("/", head(200, EVENTS), chunk(PIECE), pause, chunk(PIECE), LAST)
    patient: Client = connect(registry=impatient(registry))

    assert await patient.get(f"{upstream.url}/", method="POST") == (200, PIECE + PIECE)


def test_the_pieces_of_ollama_have_content_or_are_the_last() -> None:
    reader = EventReader(json_lines=True)
    lines = [
        {"message": {"role": "assistant", "content": ""}, "done": False},
        {"message": {"role": "assistant", "content": "Hi"}, "done": False},
        {"response": "", "done": False},
        {"response": "Hi", "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True},
        {"status": "pulling manifest"},
    ]
    said = b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    assert [has_content(event) for event in reader.read(said)] == [False, True] * 2 + [True, True]


def pieces_of(reader: EventReader, said: bytes) -> int:
    return sum(map(has_content, reader.read(said)))


def test_a_server_that_forgets_the_empty_line_after_an_event_streams_all_the_same() -> None:
    """Clients that read lines do not mind, so nothing may wait for that empty line."""
    reader, line = EventReader(), PIECE.replace(b"\n\n", b"\n")

    assert [pieces_of(reader, line) for _ in range(4)] == [0, 1, 1, 1]


def test_lines_of_data_without_an_end_are_not_kept() -> None:
    reader = EventReader()

    pieces = sum(pieces_of(reader, b"data: " + b"x" * 1000 + b"\n") for _ in range(1000))

    assert 10 <= pieces <= 20
    assert sum(map(len, reader._data)) <= 65_536


def test_an_event_of_several_lines_is_one() -> None:
    (event,) = EventReader().read(b'event: error\ndata: {"error":\ndata: {"code": 503}}\n\n')

    assert (event.name, event.document) == ("error", {"error": {"code": 503}})


def test_an_end_of_line_in_two_chunks_ends_one_line() -> None:
    reader = EventReader()

    events = [*reader.read(b"event: error\r"), *reader.read(b'\ndata: {"a": 1}\r\n\r\n')]

    assert [(event.name, event.document) for event in events] == [("error", {"a": 1})]
