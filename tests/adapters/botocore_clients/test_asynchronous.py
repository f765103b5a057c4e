"""aiobotocore: the same calls, awaited. And real services, as moto imitates them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import LAST, Gate, Upstream, answer, chunk, cut, head

from recloser import Registry

from .conftest import KEYS

pytest.importorskip("boto3")
library: Any = pytest.importorskip("aiobotocore.session")

from botocore.exceptions import ClientError, EndpointConnectionError

from recloser_adapters.botocore import BreakerOpenEndpointError, wrap_client, wrap_session

pytestmark = pytest.mark.anyio

OBJECT = "/bucket/name"
PLACE: dict[str, Any] = {"region_name": "eu-west-1", **KEYS}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def s3(upstream: Upstream, registry: Registry) -> AsyncIterator[Any]:
    async with library.AioSession().create_client(
        "s3", endpoint_url=upstream.url, **PLACE
    ) as client:
        yield wrap_client(client, registry)
    await asyncio.sleep(0)  # what was closed is gone now


def key_of(upstream: Upstream, operation: str) -> str:
    return f"s3.{operation} {upstream.host}"


async def test_an_object_is_looked_up_and_read(
    s3: Any, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, head(200, {"content-length": "7"}))
    upstream.answers(OBJECT, answer(200, b"content"))

    await s3.head_object(Bucket="bucket", Key="name")
    read = await s3.get_object(Bucket="bucket", Key="name")

    assert await read["Body"].read() == b"content"
    assert {each.key: votes(each.metrics()) for each in registry} == {
        key_of(upstream, "HeadObject"): {"successes": 1},
        key_of(upstream, "GetObject"): {"successes": 1},
    }
    assert registry.faults == 0


async def test_each_retry_is_a_call(
    upstream: Upstream, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(endpoint: Any, seconds: float) -> None:
        await asyncio.sleep(0)

    endpoint = pytest.importorskip("aiobotocore.endpoint").AioEndpoint
    if not hasattr(endpoint, "_sleep"):
        pytest.skip("this version of aiobotocore sleeps by asyncio itself")
    monkeypatch.setattr(endpoint, "_sleep", at_once)
    upstream.answers("/", answer(500, b"{}"))
    upstream.answers("/", answer(200, b"{}"))
    session = wrap_session(library.AioSession(), registry)
    async with session.create_client("dynamodb", endpoint_url=upstream.url, **PLACE) as client:
        await client.list_tables()

    breaker = registry[f"dynamodb.ListTables {upstream.host}"]
    assert votes(breaker.metrics()) == {"failures": 1, "successes": 1}


async def test_a_refusal_is_raised_at_once(s3: Any, upstream: Upstream, registry: Registry) -> None:
    registry[key_of(upstream, "GetObject")].open()

    with pytest.raises(EndpointConnectionError) as refused:
        await s3.get_object(Bucket="bucket", Key="name")

    assert type(refused.value) is BreakerOpenEndpointError
    assert upstream.connections == 0


async def test_a_call_that_is_cancelled_says_nothing(
    s3: Any, upstream: Upstream, registry: Registry
) -> None:
    gate = Gate()
    upstream.answers(OBJECT, gate, answer(200))
    breaker = registry[key_of(upstream, "GetObject")]

    calling = asyncio.ensure_future(s3.get_object(Bucket="bucket", Key="name"))
    await asyncio.to_thread(gate.reached.wait, 10.0)
    calling.cancel()
    await asyncio.wait([calling])
    del calling

    assert votes(breaker.metrics()) == {"cancelled": 1}


async def test_a_missing_object_is_an_answer(
    s3: Any, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(404, b"<Error><Code>NoSuchKey</Code></Error>"))

    with pytest.raises(ClientError, match="NoSuchKey"):
        await s3.get_object(Bucket="bucket", Key="name")

    assert votes(registry[key_of(upstream, "GetObject")].metrics()) == {"ignored": 1}


async def _iterated(body: Any) -> bytes:
    return b"".join([piece async for piece in body.iter_chunks(4)])


READS: dict[str, Callable[[Any], Any]] = {
    "read": lambda body: body.read(),
    "iter_chunks": _iterated,
}


@pytest.mark.parametrize("name", READS)
async def test_a_body_is_in_flight_until_it_is_read(
    s3: Any, upstream: Upstream, registry: Registry, name: str
) -> None:
    gate = Gate()
    upstream.answers(OBJECT, head(), chunk(b"con"), gate, chunk(b"tent"), LAST)
    breaker = registry[key_of(upstream, "GetObject")]

    body = (await s3.get_object(Bucket="bucket", Key="name"))["Body"]
    assert votes(breaker.metrics()) == {"in_flight": 1}
    gate.open()

    assert await READS[name](body) == b"content"
    assert votes(breaker.metrics()) == {"successes": 1}


async def test_a_body_that_breaks_off_is_a_failure(
    s3: Any, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, head(200, {"content-length": "100"}), b"half", cut)
    body = (await s3.get_object(Bucket="bucket", Key="name"))["Body"]

    with pytest.raises(Exception, match=r"(?i)payload|connection|reset|stream"):
        await body.read()

    body.close()
    assert votes(registry[key_of(upstream, "GetObject")].metrics()) == {"failures": 1}
