"""Answers of models in Bedrock that come in pieces, with boto3 and with aiobotocore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from tests.support.aws_messages import message
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import LAST, Gate, Upstream, answer, chunk, cut, head

from recloser import Outcome, Registry
from recloser.testing import ManualClock

from .conftest import KEYS, Connect

pytest.importorskip("boto3")

from botocore.exceptions import EventStreamError

from recloser_adapters.botocore import CallReport, wrap_client

pytestmark = pytest.mark.anyio

STREAM = {"content-type": "application/vnd.amazon.eventstream"}
MODEL = "anthropic.claude-4"
PATH = f"/model/{MODEL}/converse-stream"
ASKED: Any = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
START = chunk(message("event", "messageStart", {"role": "assistant"}))
STOP = chunk(message("event", "messageStop", {"stopReason": "end_turn"}))
SLOW_DOWN = chunk(message("exception", "throttlingException", {"message": "m"}))
BROKEN = chunk(message("exception", "internalServerException", {"message": "m"}))


def says(text: str) -> bytes:
    delta = {"contentBlockIndex": 0, "delta": {"text": text}}
    return chunk(message("event", "contentBlockDelta", delta))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def texts(events: Iterable[Any]) -> str:
    return "".join(
        event["contentBlockDelta"]["delta"]["text"]
        for event in events
        if "contentBlockDelta" in event
    )


Converse = Callable[..., Any]


@pytest.fixture(params=["boto3", "aiobotocore"])
async def converse(
    request: pytest.FixtureRequest, connect: Connect, upstream: Upstream, registry: Registry
) -> AsyncIterator[Converse]:
    """Asks a model, and returns what it says."""
    if request.param == "boto3":
        client = connect("bedrock-runtime")

        async def ask() -> str:
            stream = client.converse_stream(**ASKED)["stream"]
            try:
                return texts(stream)
            finally:
                stream.close()

        yield ask
        return
    library = pytest.importorskip("aiobotocore.session")
    async with library.AioSession().create_client(
        "bedrock-runtime", endpoint_url=upstream.url, region_name="eu-west-1", **KEYS
    ) as asynchronous:
        wrap_client(asynchronous, registry)

        async def ask_and_wait() -> str:
            stream = (await asynchronous.converse_stream(**ASKED))["stream"]
            try:
                return texts([event async for event in stream])
            finally:
                stream.close()

        yield ask_and_wait
    await asyncio.sleep(0)  # what was closed is gone now


def outcomes(registry: Registry, upstream: Upstream) -> dict[str, int]:
    key = f"bedrock-runtime.ConverseStream {upstream.host} {MODEL}"
    return votes(registry[key].metrics())


async def test_a_stream_is_a_success_at_its_end(
    converse: Converse, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(PATH, head(200, STREAM), START, says("Hel"), says("lo"), STOP, LAST)

    assert await converse() == "Hello"

    assert outcomes(registry, upstream) == {"successes": 1}
    assert registry.faults == 0


@pytest.mark.parametrize(
    ("script", "counted"),
    [
        ((START, says("He"), BROKEN, LAST), {"failures": 1}),
        ((BROKEN, LAST), {"failures": 1}),
    ],
    ids=["in the middle", "at once"],
)
async def test_an_error_in_a_stream_counts(
    converse: Converse, upstream: Upstream, registry: Registry, script: Any, counted: dict[str, int]
) -> None:
    upstream.answers(PATH, head(200, STREAM), *script)

    with pytest.raises(EventStreamError):
        await converse()

    assert outcomes(registry, upstream) == counted


async def test_a_stream_that_asks_to_wait_is_no_failure(
    converse: Converse, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(PATH, head(200, STREAM), SLOW_DOWN, LAST)

    with pytest.raises(EventStreamError):
        await converse()

    assert sum(each.metrics().throttled for each in registry) == 1
    assert sum(each.metrics().failures for each in registry) == 0


async def test_a_stream_that_breaks_off_is_a_failure(
    converse: Converse, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(PATH, head(200, STREAM), START, says("He"), cut)

    with pytest.raises(Exception, match=r"(?i)connection|payload|reset"):
        await converse()

    assert outcomes(registry, upstream) == {"failures": 1}


def test_its_latency_is_the_time_to_the_first_piece(
    connect: Connect, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    gate = Gate()
    upstream.answers(PATH, head(200, STREAM), gate, says("Hello"), STOP, LAST)
    reports: list[CallReport] = []

    stream = connect("bedrock-runtime", on_end=reports.append).converse_stream(**ASKED)["stream"]
    clock.advance(2.0)
    gate.open()

    assert texts(stream) == "Hello"
    assert [(each.outcome, each.latency) for each in reports] == [(Outcome.SUCCESS, 2.0)]


def test_a_model_that_is_invoked_answers_by_a_body(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    told = b'{"error": {"type": "overloaded_error", "message": "m"}}'
    json_type = {"content-type": "application/json"}
    upstream.answers(f"/model/{MODEL}/invoke", answer(200, b'{"content": []}', json_type))
    upstream.answers(f"/model/{MODEL}/invoke", answer(200, told, json_type))
    client = connect("bedrock-runtime")

    for _ in range(2):
        client.invoke_model(modelId=MODEL, body=b"{}")["body"].read()

    key = f"bedrock-runtime.InvokeModel {upstream.host} {MODEL}"
    assert votes(registry[key].metrics()) == {"successes": 1, "failures": 1}
