"""Faults on purpose reach the clients: the error is that of the library, and nothing is sent."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest

from recloser import Registry
from recloser.testing import ChaosError, ManualClock, chaos

HOST = "api.example.org"
URL = f"https://{HOST}/"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", "1")


def check(registry: Registry, sent: list[Any]) -> None:
    metrics = registry[HOST].metrics()
    assert (metrics.failures, metrics.successes, metrics.in_flight) == (1, 1, 0)
    assert metrics.mean == 1.0
    assert len(sent) == 1


@pytest.mark.parametrize("settings", [{}, {"label_by": lambda request: None}], ids=["", "label_by"])
@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_httpx(registry: Registry, clock: ManualClock, name: str, settings: dict[str, Any]) -> None:
    library: Any = pytest.importorskip(name)
    ours: Any = importlib.import_module(f"recloser_adapters.{name}")
    sent: list[Any] = []

    def serve(request: Any) -> Any:
        sent.append(request)
        return library.Response(200, json={})

    transport = library.MockTransport(serve)
    client = ours.wrap_client(library.Client(transport=transport), registry, **settings)

    with chaos(registry, HOST, fail=1.0), pytest.raises(ChaosError) as caught:
        client.get(URL)
    assert isinstance(caught.value, library.TransportError)
    with chaos(registry, HOST, slow=1.0, slow_by=2.0, sleep=clock.advance):
        assert client.get(URL).status_code == 200

    check(registry, sent)


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_httpx_on_asyncio(registry: Registry, clock: ManualClock, run: Any, name: str) -> None:
    library: Any = pytest.importorskip(name)
    ours: Any = importlib.import_module(f"recloser_adapters.{name}")
    sent: list[Any] = []

    def serve(request: Any) -> Any:
        sent.append(request)
        return library.Response(200, json={})

    transport = library.MockTransport(serve)
    client = ours.wrap_client(library.AsyncClient(transport=transport), registry, cut_off=True)

    with chaos(registry, HOST, fail=1.0), pytest.raises(ChaosError) as caught:
        run(client.get(URL))
    assert isinstance(caught.value, library.TransportError)
    with chaos(registry, HOST, slow=1.0, slow_by=2.0):
        assert run(client.get(URL)).status_code == 200
    check(registry, sent)

    before = clock()
    with chaos(registry, HOST, hang=1.0, hang_for=80000.0), pytest.raises(ChaosError):
        run(client.get(URL))
    assert 0.0 < clock() - before <= 60.0  # `Policy.slow_ceiling`: the client cuts off


def test_requests(registry: Registry, clock: ManualClock) -> None:
    requests: Any = pytest.importorskip("requests")
    ours: Any = importlib.import_module("recloser_adapters.requests")
    sent: list[Any] = []

    class Serve(requests.adapters.BaseAdapter):  # type: ignore[misc]  # of no known class
        def send(self, request: Any, *args: Any, **settings: Any) -> Any:
            sent.append(request)
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            response._content = b"{}"
            return response

        def close(self) -> None:
            pass

    session = requests.Session()
    session.mount("https://", Serve())
    ours.wrap_session(session, registry)

    with chaos(registry, HOST, fail=1.0), pytest.raises(ChaosError) as caught:
        session.get(URL)
    assert isinstance(caught.value, requests.ConnectionError)
    with chaos(registry, HOST, slow=1.0, slow_by=2.0, sleep=clock.advance):
        assert session.get(URL).status_code == 200

    check(registry, sent)


def test_aiohttp(registry: Registry) -> None:
    aiohttp: Any = pytest.importorskip("aiohttp")
    ours: Any = importlib.import_module("recloser_adapters.aiohttp")

    async def fail() -> None:
        async with aiohttp.ClientSession() as session:
            ours.wrap_session(session, registry)
            await session.get(URL)

    with chaos(registry, HOST, fail=1.0), pytest.raises(ChaosError) as caught:
        asyncio.run(fail())

    assert isinstance(caught.value, aiohttp.ClientConnectionError)
    metrics = registry[HOST].metrics()
    assert (metrics.failures, metrics.in_flight) == (1, 0)


def test_an_endpoint_with_its_own_breaker_is_called(registry: Registry) -> None:
    """`protect` makes no call of its own, so no fault is injected, and none is lost."""
    pytest.importorskip("starlette")
    ours: Any = importlib.import_module("recloser_adapters.starlette")

    @ours.protect(registry, "k")  # type: ignore[untyped-decorator]  # of Any
    def endpoint() -> int:
        return 7

    with chaos(registry, "k", fail=1.0):
        assert endpoint() == 7
    assert registry["k"].metrics().in_flight == 0
    assert registry["k"].metrics().successes == 1
