"""Latency that models, efforts and sizes explain is no trouble."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.llm_calls import CHAT, ask, asked
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

from recloser import Registry, State
from recloser.testing import ManualClock

from .conftest import Connect

pytestmark = pytest.mark.anyio

JSON_TYPE = {"content-type": "application/json"}


async def test_a_mixture_of_efforts_on_one_key_opens_nothing(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    guarded: Client = connect(key="llm")
    url = f"{upstream.url}{CHAT}"
    upstream.answers(CHAT, lambda wire: clock.advance(takes), answer(200, b"{}"))
    for number in range(300):
        slow = number % 40 >= 30  # in runs of ten
        takes = 9.0 if slow else 0.6
        body = asked("o3" if slow else "mini", reasoning_effort="high" if slow else "low")
        assert (await guarded.get(url, method="POST", body=body))[0] == 200
        clock.advance(0.5)

    assert registry["llm"].metrics().refused == 0
    assert registry["llm"].state is State.CLOSED


async def test_longer_prompts_are_explained_by_their_size(
    client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    url = f"{upstream.url}{CHAT}"
    upstream.answers(CHAT, lambda wire: clock.advance(takes), answer(200, b"{}"))
    for number in range(240):
        longer = number >= 120
        takes = 4.0 if longer else 0.5
        body = asked("m", user="x" * (40_000 if longer else 400))
        assert (await client.get(url, method="POST", body=body))[0] == 200
        clock.advance(0.05)

    assert registry[f"{upstream.host} m"].metrics().refused == 0


async def test_the_most_tokens_of_an_answer_explain_its_latency(
    client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    url = f"{upstream.url}{CHAT}"
    upstream.answers(CHAT, lambda wire: clock.advance(takes), answer(200, b"{}"))
    for number in range(300):
        long = number // 30 % 2 == 1
        takes = 12.0 if long else 0.3
        body = asked("m", max_tokens=4000 if long else 16)
        assert (await client.get(url, method="POST", body=body))[0] == 200
        clock.advance(0.5)

    assert registry[f"{upstream.host} m"].metrics().refused == 0


@pytest.mark.parametrize("long", [b"", b"x" * 20_000], ids=["whole", "only its end"])
async def test_the_tokens_of_the_answer_explain_its_latency(
    client: Client, upstream: Upstream, registry: Registry, clock: ManualClock, long: bytes
) -> None:
    def said(tokens: int) -> bytes:
        usage = b'"usage": {"prompt_tokens": 7, "completion_tokens": %d}' % tokens
        return b'{"choices": [{"text": "%s"}], %s}' % (long, usage)

    breaker = registry[f"{upstream.host} m"]
    url, body = f"{upstream.url}{CHAT}", asked("m")
    takes, refused = 0.0, 0

    def answering(wire: Any) -> None:
        clock.advance(takes)

    for number in range(600):
        tokens = 3000 if number // 60 % 2 else 30
        takes = 0.3 + tokens / 200.0
        upstream.answers(CHAT, answering, answer(200, said(tokens), JSON_TYPE))
        try:
            assert (await client.get(url, method="POST", body=body))[0] == 200
        except client.refusal:
            refused += 1
        clock.advance(0.5)
        if number == 200:
            known, refused = breaker.metrics().generation, 0

    assert refused == 0
    assert breaker.metrics().generation == known


async def test_a_mixture_of_models_on_one_key_is_not_cut_off(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    guarded: Client = connect(key="llm", cut_off=True)
    breaker = registry["llm"]
    limits: list[float] = []

    def answering(wire: Any) -> None:
        (token,) = breaker._calls.voting
        limits.append(breaker.timeout_of(token))
        clock.advance(takes)

    upstream.answers(CHAT, answering, answer(200, b"{}"))
    for number in range(200):
        takes = 12.0 if number % 40 >= 30 else 0.6
        await ask(guarded, upstream, "o3" if number % 40 >= 30 else "mini")
        if takes > 1.0:
            assert limits[-1] > 1.5 * takes
        clock.advance(0.5)

    assert min(limits) < 12.0


async def test_a_label_by_the_user_explains_latency(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    upstream.answers("/export", lambda wire: clock.advance(5.0), answer(200, b"ok"))
    upstream.answers("/", lambda wire: clock.advance(0.1), answer(200, b"ok"))
    guarded: Client = connect(label_by=lambda request: str(request.url).rpartition("/")[2])
    for number in range(200):
        where = "export" if number % 50 >= 40 else ""
        assert (await guarded.get(f"{upstream.url}/{where}"))[0] == 200
        clock.advance(0.5)

    assert registry[upstream.host].metrics().refused == 0


@pytest.mark.parametrize("junk", [b"label", object(), -1.0, LookupError])
async def test_a_label_that_is_none_is_a_fault_and_refuses_nobody(
    connect: Connect, client: Client, upstream: Upstream, registry: Registry, junk: Any
) -> None:
    def label_by(request: Any) -> Any:
        if junk is LookupError:
            raise LookupError
        return junk

    upstream.answers("/", answer(200, b"ok"))

    assert await connect(label_by=label_by).get(f"{upstream.url}/") == (200, b"ok")

    assert registry.faults == 1
    assert votes(registry[upstream.host].metrics()) == {"successes": 1}
