"""Starlette: an endpoint that no breaker guards is called as if there were no breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from recloser import Mode, Registry
from recloser_adapters.starlette import dependency, protect


@pytest.fixture
def registry() -> Registry:
    """A registry that guards nothing, because it is disabled."""
    return Registry(mode=Mode.DISABLED)


def _request() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def _numbers() -> Iterator[str]:
    yield from ("1", "2")


def _counted(registry: Registry) -> int:
    metrics = registry["payments"].metrics()
    return metrics.calls + metrics.in_flight


@pytest.mark.parametrize(
    "result",
    [
        PlainTextResponse("down", 503),
        StreamingResponse(iter(["1", "2"])),
        _numbers(),
        {"plain": "value"},
    ],
    ids=lambda result: type(result).__name__,
)
def test_what_it_returns_is_passed_on_untouched(registry: Registry, result: Any) -> None:
    before = dict(vars(result)) if isinstance(result, StreamingResponse) else None

    @protect(registry, "payments")
    def endpoint(request: Request) -> Any:
        return result

    @protect(registry, "payments")
    async def endpoint_async(request: Request) -> Any:
        return result

    assert endpoint(_request()) is result
    assert asyncio.run(endpoint_async(_request())) is result
    assert before is None or vars(result) == before
    assert _counted(registry) == 0


def test_what_it_raises_is_passed_on_and_not_counted(registry: Registry) -> None:
    @protect(registry, "payments")
    def endpoint(request: Request) -> Any:
        raise LookupError("not there")

    for _ in range(30):
        with pytest.raises(LookupError, match="not there"):
            endpoint(_request())

    assert _counted(registry) == 0


def test_a_dependency_lets_it_through_and_counts_nothing(registry: Registry) -> None:
    guard = asynccontextmanager(dependency(registry, "payments"))

    async def call() -> None:
        async with guard(_request()):
            raise LookupError("not there")

    for _ in range(30):
        with pytest.raises(LookupError, match="not there"):
            asyncio.run(call())

    assert _counted(registry) == 0


def test_where_it_would_refuse_and_only_observes_the_answer_is_the_same_and_is_counted() -> None:
    registry = Registry(mode=Mode.OBSERVE)
    registry["payments"].open()
    answers = [PlainTextResponse("well"), PlainTextResponse("down", 503)]

    @protect(registry, "payments")
    def endpoint(request: Request) -> PlainTextResponse:
        return answers[0]

    @protect(registry, "payments")
    def numbers(request: Request) -> Iterator[str]:
        return _numbers()

    assert endpoint(_request()) is answers[0]
    assert list(numbers(_request())) == ["1", "2"]
    answers.pop(0)
    assert endpoint(_request()) is answers[0]

    metrics = registry["payments"].metrics()
    assert (metrics.refused, metrics.spared, metrics.spared_good) == (3, 3, 2)
    assert (metrics.successes, metrics.failures, metrics.in_flight) == (0, 0, 0)
