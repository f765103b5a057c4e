"""A guarded client still is the client that it was: proxies, mounts, pools, retries, HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.h2_upstream import H2Upstream
from tests.support.outbound_clients import SHORT, Client
from tests.support.scripted_upstream import LAST, Gate, Upstream, answer, chunk, head

from recloser import Breaker, Registry

from .conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.fixture
def module(kind: type[Client]) -> Any:
    """The client library."""
    return import_module(kind.library)


@pytest.fixture
def adapter(kind: type[Client]) -> Any:
    """Our module for it."""
    return import_module(f"recloser_adapters.{kind.library}")


async def test_a_proxy_is_still_used_and_the_key_is_the_host_behind_it(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/far", answer(200, b"through the proxy"))
    proxied: Client = connect(proxy=upstream.url)

    assert await proxied.get("http://far.invalid/far") == (200, b"through the proxy")

    assert [seen.target for seen in upstream.seen] == ["http://far.invalid/far"]
    assert [(each.key, votes(each.metrics())) for each in registry] == [
        ("far.invalid", {"successes": 1})
    ]


def guard_of(adapter: Any) -> Any:
    """The function of an adapter that guards a client."""
    names = ("wrap_client", "wrap_session", "wrap_manager")
    return next(getattr(adapter, name) for name in names if hasattr(adapter, name))


async def test_a_client_guarded_twice_counts_once(
    client: Client, upstream: Upstream, registry: Registry, adapter: Any
) -> None:
    upstream.answers("/", answer(200, b"ok"))
    guard_of(adapter)(client.client, registry)

    assert await client.get(f"{upstream.url}/") == (200, b"ok")

    assert votes(registry[upstream.host].metrics()) == {"successes": 1}


async def test_something_else_than_a_client_is_no_client(client: Client, adapter: Any) -> None:
    with pytest.raises(TypeError, match=r"client|session|manager"):
        guard_of(adapter)(object())


@pytest.fixture
async def swap(httpx_client: Client, module: Any, adapter: Any) -> AsyncIterator[Connect]:
    """Puts a client of other settings, guarded, in the place of the usual one."""
    usual = httpx_client.client
    await httpx_client.aclose()

    def swap(**settings: Any) -> Client:
        name = "AsyncClient" if httpx_client.is_async else "Client"
        httpx_client.client = getattr(module, name)(trust_env=False, **settings)
        adapter.wrap_client(httpx_client.client, httpx_client.settings["registry"])
        return httpx_client

    yield swap
    await httpx_client.aclose()
    httpx_client.client = usual


async def test_mounts_are_still_used(
    httpx_client: Client, swap: Connect, upstream: Upstream, registry: Registry, module: Any
) -> None:
    def respond(request: Any) -> Any:
        return module.Response(500, content=b"mounted")

    upstream.answers("/", answer(200, b"not mounted"))
    client: Client = swap(
        mounts={"http://mounted.invalid": module.MockTransport(respond), "http://127.0.0.1": None},
        proxy="http://127.0.0.1:1",
    )

    assert await client.get("http://mounted.invalid/") == (500, b"mounted")
    assert await client.get(f"{upstream.url}/") == (200, b"not mounted")

    assert votes(registry["mounted.invalid"].metrics()) == {"failures": 1}
    assert votes(registry[upstream.host].metrics()) == {"successes": 1}


async def test_a_pool_that_is_full_is_our_own_trouble(
    httpx_client: Client, swap: Connect, upstream: Upstream, breaker: Breaker, module: Any
) -> None:
    gate = Gate()
    upstream.answers("/", head(), gate, chunk(b"x"), LAST)
    client: Client = swap(
        limits=module.Limits(max_connections=1), timeout=module.Timeout(5.0, pool=SHORT)
    )

    first = await client.open(f"{upstream.url}/")
    with pytest.raises(module.PoolTimeout):
        await client.open(f"{upstream.url}/")
    gate.open()
    await first.read()
    await first.close()

    assert votes(breaker.metrics()) == {"successes": 1, "ignored": 1}


@pytest.mark.parametrize("path", ["/", "/error"])
async def test_http2_is_still_spoken(
    httpx_client: Client, swap: Connect, registry: Registry, path: str
) -> None:
    pytest.importorskip("h2")
    client: Client = swap(http1=False, http2=True)

    with H2Upstream() as upstream:
        response = await client.open(f"http://127.0.0.1:{upstream.port}{path}")
        assert response.response.http_version == "HTTP/2"
        assert await response.read() == b"spoken in frames"
        await response.close()

    breaker = registry[f"127.0.0.1:{upstream.port}"]
    expected = {"successes": 1} if path == "/" else {"failures": 1}
    assert votes(breaker.metrics()) == expected


async def test_a_stream_that_http2_resets_is_a_failure(
    httpx_client: Client, swap: Connect, registry: Registry, module: Any
) -> None:
    pytest.importorskip("h2")
    client: Client = swap(http1=False, http2=True)

    with H2Upstream() as upstream:
        response = await client.open(f"http://127.0.0.1:{upstream.port}/reset")
        with pytest.raises(module.RemoteProtocolError):
            await response.read()
        await response.close()

    breaker = registry[f"127.0.0.1:{upstream.port}"]
    assert votes(breaker.metrics()) == {"failures": 1}
