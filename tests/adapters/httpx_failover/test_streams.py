"""Streams: another provider is tried before the first chunk, and never after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.httpx_failover_client import HANG, Run, World

from recloser import Fate


def test_an_event_stream_that_breaks_before_its_first_chunk_is_opened_elsewhere(
    world: World,
) -> None:
    world.answers["a"] = world.events(world.lib.ReadError("cut"))
    world.answers["b"] = world.events(b"data: 1\n\n", b"data: 2\n\n")

    assert world.request("GET").text == "data: 1\n\ndata: 2\n\n"
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


@pytest.mark.parametrize(
    "event",
    [b'event: error\ndata: {"type":"overloaded_error"}\n\n', b'data: {"error": {"code": 503}}\n\n'],
)
def test_an_error_event_as_the_first_chunk_is_a_failure(world: World, event: bytes) -> None:
    world.answers["a"] = world.events(event)
    world.answers["b"] = world.events(b"data: 1\n\n")

    assert world.request("GET").text == "data: 1\n\n"
    assert world.registry["a"].metrics().failures == 1


def test_a_stream_is_never_opened_again_after_its_first_chunk(world: World) -> None:
    world.answers["a"] = world.events(b"data: 1\n\n", world.lib.ReadError("cut"))

    with pytest.raises(world.lib.ReadError, match="cut"):
        world.request("GET")

    assert world.counts == {"a": 1}
    assert world.registry["a"].metrics().failures == 1
    assert world.fates() == [("a", Fate.SERVED)]
    assert world.in_flight() == 0


def test_a_stream_that_may_not_be_repeated_is_handed_over_at_its_headers(world: World) -> None:
    world.answers["a"] = world.events(world.lib.ReadError("cut"))
    seen: list[int] = []

    with pytest.raises(world.lib.ReadError, match="cut"):
        world.request("POST", at_headers=lambda response: seen.append(response.status_code))

    assert seen == [200]
    assert world.counts == {"a": 1}
    assert world.in_flight() == 0


def test_an_answer_that_is_given_up_is_closed(world: World) -> None:
    class Body(world.lib.SyncByteStream, world.lib.AsyncByteStream):  # type: ignore[misc, name-defined]  # either library's
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"sorry"

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"sorry"

        def close(self) -> None:
            self.closed += 1

        async def aclose(self) -> None:
            self.closed += 1

    body = Body()
    world.answers["a"] = lambda request: world.lib.Response(503, stream=body)

    assert world.request("GET").text == "b"
    assert body.closed == 1


def test_a_stream_that_hangs_before_its_first_chunk_is_blamed(world: World) -> None:
    """A sync client's read time-out raises there; on asyncio the attempt is cut off."""
    world.warm("a")
    silent = HANG if world.asynchronous else world.lib.ReadTimeout("test")
    world.answers["a"] = world.events(silent)

    assert world.request("GET").text == "b"
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


@pytest.mark.parametrize(
    "preamble",
    [
        b": keep-alive\n\n",
        b'event: message_start\ndata: {"type": "message_start", "message": {}}\n\n',
        b'event: response.created\ndata: {"type": "response.created"}\n\n',
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"retry: 3000\n\n",
    ],
)
def test_a_stream_that_fails_after_its_preamble_is_opened_elsewhere(
    world: World, preamble: bytes
) -> None:
    world.answers["a"] = world.events(preamble, preamble, b'data: {"error": {"code": 503}}\n\n')
    world.answers["b"] = world.events(preamble, b"data: 1\n\n", b"data: 2\n\n")

    assert world.request("GET").content == preamble + b"data: 1\n\ndata: 2\n\n"
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


def test_whoever_leaves_in_the_middle_of_a_stream_ends_the_call_there(
    async_world: World, run: Run
) -> None:
    world = async_world
    world.answers["a"] = world.events(b"data: 1\n\n", HANG)
    transport = world.transport()

    async def leave() -> Any:
        response = await transport.handle_async_request(world.lib.Request("GET", "http://failover"))

        async def read() -> None:
            async for _ in response.stream:
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(1.0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return response

    response = run(leave())

    assert world.in_flight() == 0
    assert world.registry["a"].metrics().failures == 0
    del response


def test_an_empty_event_stream_is_an_answer(world: World) -> None:
    world.answers["a"] = world.events()

    assert world.request("GET").text == ""
    assert world.registry["a"].metrics().successes == 1
