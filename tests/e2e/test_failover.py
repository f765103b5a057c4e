"""Failover of real clients on real sockets: what is cut off, what is not, and what is sent twice."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Upstream,
    answer,
    chunk,
    closed_port,
    hang_up,
    head,
)
from tests.support.training import teach

from recloser import Failover, Provider, Registry
from recloser.testing import ManualClock, no_jitter

LIBRARIES = [name for name in ("httpx", "httpx2") if find_spec(name)]
SSE = {"content-type": "text/event-stream"}
# Seconds after which a repeatable attempt is given up, as the breakers have learned it.
LIMIT = 0.6  # connecting on a loaded machine must take less


@pytest.fixture
def primary() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def backup() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.answers("/", answer(200, b"backup"))
        yield upstream


@pytest.fixture
def registry() -> Registry:
    """Both breakers know that half of the limit is slow, and half of that is normal."""
    clock = ManualClock()
    registry = Registry(clock=clock, random=no_jitter)
    for key in ("primary", "backup"):
        teach(registry[key], clock, [LIMIT / 4] * 200)
        assert registry[key].slow_threshold == pytest.approx(LIMIT / 2, rel=0.05)
    return registry


Ask = Callable[..., str]


@pytest.fixture(
    params=[(library, kind) for library in LIBRARIES for kind in ("sync", "async")],
    ids=lambda param: "-".join(param),
)
def ask(
    request: pytest.FixtureRequest, primary: Upstream, backup: Upstream, registry: Registry
) -> Ask:
    """Sends one request, and gives the body of its answer or the name of the error."""
    library, kind = request.param
    lib: Any = importlib.import_module(library)
    adapter: Any = importlib.import_module(f"recloser_adapters.{library}")

    def failover(url: str) -> Failover[str]:
        return Failover(registry, [Provider("primary", url), Provider("backup", backup.url)])

    def ask(method: str, url: str = primary.url, **options: Any) -> str:
        transport = adapter.FailoverTransport(lib.HTTPTransport(), failover(url))
        with lib.Client(transport=transport) as client:
            try:
                return str(client.request(method, f"{adapter.ANY_PROVIDER}/", **options).text)
            except lib.TransportError as error:
                return type(error).__name__

    async def aask(method: str, url: str = primary.url, **options: Any) -> str:
        transport = adapter.AsyncFailoverTransport(lib.AsyncHTTPTransport(), failover(url))
        async with lib.AsyncClient(transport=transport) as client:
            try:
                response = await client.request(method, f"{adapter.ANY_PROVIDER}/", **options)
                return str(response.text)
            except lib.TransportError as error:
                return type(error).__name__

    if kind == "sync":
        return ask
    return lambda *args, **options: asyncio.run(aask(*args, **options))


def test_a_primary_that_hangs_is_given_up(ask: Ask, primary: Upstream, registry: Registry) -> None:
    primary.answers("/", Gate())

    assert ask("GET", timeout=20.0) == "backup"
    assert primary.count("/") == 1
    assert registry["primary"].metrics().failures == 1
    assert registry["primary"].metrics().in_flight == 0


def test_what_may_not_be_repeated_waits_for_as_long_as_its_client(
    ask: Ask, primary: Upstream, backup: Upstream
) -> None:
    late = Gate()
    primary.answers("/", late, answer(200, b"late"))
    timer = threading.Timer(2 * LIMIT, late.open)
    timer.start()

    assert ask("POST", timeout=20.0) == "late"
    assert backup.count("/") == 0
    timer.join()


def test_a_body_is_not_cut_off_by_the_limit_of_its_headers(ask: Ask, primary: Upstream) -> None:
    late = Gate()
    primary.answers("/", head(), chunk(b"early "), late, chunk(b"late"), LAST)
    timer = threading.Timer(2 * LIMIT, late.open)
    timer.start()

    assert ask("GET", timeout=20.0) == "early late"
    timer.join()


def test_a_stream_is_not_cut_off_after_its_first_chunk(ask: Ask, primary: Upstream) -> None:
    late = Gate()
    primary.answers("/", head(200, SSE), chunk(b"data: 1\n\n"), late, chunk(b"data: 2\n\n"), LAST)
    timer = threading.Timer(2 * LIMIT, late.open)
    timer.start()

    assert ask("GET", timeout=20.0) == "data: 1\n\ndata: 2\n\n"
    timer.join()


def test_a_stream_that_hangs_before_its_first_chunk_is_given_up(
    ask: Ask, primary: Upstream, registry: Registry
) -> None:
    """On asyncio by the limit; a sync client waits for its own read time-out."""
    primary.answers("/", head(200, SSE), Gate())

    assert ask("GET", timeout=2 * LIMIT) == "backup"
    assert registry["primary"].metrics().failures == 1
    assert registry["primary"].metrics().in_flight == 0


@pytest.mark.parametrize(("method", "answered"), [("GET", "backup"), ("POST", "")])
def test_a_connection_that_ends_without_an_answer_may_have_been_heard(
    ask: Ask, primary: Upstream, backup: Upstream, method: str, answered: str
) -> None:
    primary.answers("/", hang_up)

    got = ask(method)

    assert got == answered if answered else got in ("RemoteProtocolError", "ReadError")
    assert primary.count("/") == 1
    assert backup.count("/") == (1 if answered else 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_is_refused_was_not(ask: Ask, backup: Upstream, method: str) -> None:
    with closed_port() as port:
        assert ask(method, url=f"http://127.0.0.1:{port}", content=b"body") == "backup"
    assert backup.seen[0].body == b"body"
