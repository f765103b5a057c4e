"""`cut_off=True`: a request ends when an answer is hopeless, by its client's own time-out."""

from __future__ import annotations

import asyncio
import sys
import threading
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import LONG, SHORT, Client
from tests.support.scripted_upstream import LAST, Gate, Upstream, answer, chunk, head, unreachable

from recloser import Breaker, Mode, Outcome, Policy, Registry
from recloser_adapters._outbound.cut_off import runs_asyncio
from recloser_adapters._outbound.permit import CallReport

from .conftest import Connect

pytestmark = pytest.mark.anyio

HOPELESS = 0.1  # seconds


@pytest.fixture
def policy() -> Policy:
    """Before anything is learned, an answer is hopeless after the ceiling."""
    return Policy(slow_ceiling=HOPELESS)


async def connected(made: Client, registry: Registry, upstream: Upstream) -> Client:
    """The client, with an open connection, so that a busy machine has less to do in HOPELESS."""
    upstream.answers("/connected", answer(200))
    registry.mode = Mode.OBSERVE  # nothing is cut off
    await made.get(f"{upstream.url}/connected")
    registry.mode = Mode.ENFORCE
    return made


def a_while(wire: object) -> None:
    """A step of an answer that takes longer than is hoped for."""
    threading.Event().wait(2.5 * HOPELESS)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_without_an_answer_ends_in_time_and_is_sent_once(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker, method: str
) -> None:
    upstream.answers("/", Gate())

    with pytest.raises(client.wire_error):
        await connect(cut_off=True).get(f"{upstream.url}/", method=method)

    assert votes(breaker.metrics()) == {"failures": 1}
    assert len(upstream.seen) == 1


async def test_a_request_without_a_time_out_ends_in_time_too(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", Gate())

    with pytest.raises(client.wire_error):
        await connect(cut_off=True, timeout=None).get(f"{upstream.url}/")

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_connection_that_does_not_come_about_ends_in_time(
    connect: Connect, client: Client, registry: Registry
) -> None:
    with unreachable() as port, pytest.raises(client.wire_error):
        await connect(cut_off=True).get(f"http://127.0.0.1:{port}/")

    assert votes(registry[f"127.0.0.1:{port}"].metrics()) == {"failures": 1}


async def test_a_shorter_time_out_of_the_users_stays(
    connect: Connect, client: Client, upstream: Upstream, clock: object
) -> None:
    upstream.answers("/", Gate())
    patient = Registry(Policy(slow_ceiling=LONG))

    with pytest.raises(client.wire_error):
        await connect(cut_off=True, timeout=SHORT, registry=patient).get(f"{upstream.url}/")


async def test_by_default_nothing_is_cut_off(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", a_while, answer(200, b"late"))

    assert await client.get(f"{upstream.url}/") == (200, b"late")
    assert votes(breaker.metrics()) == {"successes": 1}


async def test_a_breaker_that_only_observes_cuts_nothing_off(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry
) -> None:
    registry.mode = Mode.OBSERVE
    upstream.answers("/", a_while, answer(200, b"late"))

    assert await connect(cut_off=True).get(f"{upstream.url}/") == (200, b"late")


async def test_a_body_may_take_its_time(
    connect: Connect, registry: Registry, upstream: Upstream, breaker: Breaker
) -> None:
    slow_body = (head(200), chunk(b"so"), a_while, chunk(b" long"), LAST)
    upstream.answers("/", *slow_body)
    guarded = await connected(connect(cut_off=True), registry, upstream)

    assert await guarded.get(f"{upstream.url}/") == (200, b"so long")
    assert await guarded.get(f"{upstream.url}/") == (200, b"so long")  # on the same connection
    assert votes(breaker.metrics()) == {"successes": 3}


async def test_a_redirect_has_its_own_time(
    connect: Connect, registry: Registry, upstream: Upstream
) -> None:
    upstream.answers("/", answer(302, headers={"location": "/there"}))
    upstream.answers("/there", head(200), a_while, chunk(b"here"), LAST)
    guarded = await connected(connect(cut_off=True), registry, upstream)

    got = await guarded.get(f"{upstream.url}/", redirects=True)

    assert got == (200, b"here")


async def test_the_report_says_that_it_failed(
    connect: Connect, client: Client, upstream: Upstream
) -> None:
    upstream.answers("/", Gate())
    reports: list[CallReport] = []

    with pytest.raises(client.wire_error):
        await connect(cut_off=True, on_end=reports.append).get(f"{upstream.url}/")

    assert [(report.outcome, report.latency) for report in reports] == [(Outcome.FAILURE, None)]


@pytest.mark.parametrize("cut_off", [None, 1, 2.5, "yes"])
async def test_a_setting_of_another_type_is_named(
    connect: Connect, client: Client, cut_off: Any
) -> None:
    with pytest.raises(TypeError, match=r"^cut_off must be True or False, not "):
        connect(cut_off=cut_off).client  # noqa: B018 - aiohttp's is made when it is asked for


def test_it_is_told_whether_asyncio_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program has not imported asyncio, nothing imports it."""

    async def told() -> bool:
        return runs_asyncio()

    assert runs_asyncio() is False
    assert asyncio.run(told()) is True
    if find_spec("trio") is not None:
        import trio

        assert trio.run(told) is False
    monkeypatch.delitem(sys.modules, "asyncio")
    assert runs_asyncio() is False
    assert "asyncio" not in sys.modules
