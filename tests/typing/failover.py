"""Failover keeps the types of targets, answers and chunks. Never run; read by both checkers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import httpx

from recloser import Attempt, Delivery, Failover, Outcome, Permit, Provider, Registry
from recloser_adapters.httpx import AsyncFailoverTransport, FailoverTransport, LLMEndpoint

urls = Failover(Registry(), [Provider("a", "https://a"), Provider("b", "https://b", weight=2)])
assert_type(urls, Failover[str])
assert_type(urls.providers, tuple[Provider[str], ...])


def length(attempt: Attempt[str]) -> int:
    assert_type(attempt.target, str)
    assert_type(attempt.permit, Permit)
    assert_type(attempt.timeout, float)
    return len(attempt.target)


async def alength(attempt: Attempt[str]) -> int:
    return length(attempt)


def letters(attempt: Attempt[str]) -> Iterator[str]:
    yield from attempt.target


async def aletters(attempt: Attempt[str]) -> AsyncIterator[str]:
    for letter in attempt.target:
        yield letter


async def opened(attempt: Attempt[str]) -> AsyncIterator[str]:
    return aletters(attempt)


async def calls() -> None:
    assert_type(urls.call(length, repeatable=True, prefer="a"), int)
    assert_type(urls.call(lambda attempt: attempt.target), str)
    assert_type(await urls.acall(alength), int)
    with urls.stream(letters) as chunks:
        assert_type(next(chunks), str)
    async with await urls.astream(aletters) as achunks:
        assert_type([chunk async for chunk in achunks], list[str])
    async for chunk in await urls.astream(opened):
        assert_type(chunk, str)


def by_hand() -> int:
    for attempt in urls.attempts(repeatable=True):
        with attempt:
            assert_type(attempt, Attempt[str])
            if attempt.moves_on(Outcome.FAILURE, error="HTTP 502", retry_after=2.0):
                continue
            return length(attempt)
    return 0


def told(delivery: Delivery) -> None:
    assert_type(delivery.served_by, str | None)
    assert_type(delivery.legs[0].duration, float)
    assert_type(delivery.answer.output_tokens, int | None)
    assert_type(delivery.wasted_sends, int)


def key() -> str:
    return "a key that expires"


async def akey() -> str:
    return key()


httpx.Client(transport=FailoverTransport(httpx.HTTPTransport(), urls))
httpx.AsyncClient(transport=AsyncFailoverTransport(httpx.AsyncHTTPTransport(), urls))
models = Failover(Registry(), [Provider("a", LLMEndpoint("https://a", "key"))], on_delivery=told)
FailoverTransport(httpx.HTTPTransport(), models, repeatable=lambda request: request.method == "GET")
LLMEndpoint("https://a", key)
LLMEndpoint("https://a", akey)
LLMEndpoint("https://a", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no key
urls.call(length, model="big", size=100, only="a")
numbers = Failover(Registry(), [Provider("a", 1)])
FailoverTransport(httpx.HTTPTransport(), numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no base URLs
Provider("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # needs a target
urls.call(length, repeatable="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # needs a bool
