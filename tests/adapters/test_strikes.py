"""An exception at any bytecode of an adapter leaves no call in flight, and is not swallowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.interrupts import Work
from tests.support.strikes import strike_everywhere

from recloser import Failover, Provider, Registry

httpx = pytest.importorskip("httpx")

# The core is struck by a test of its own.
OUTBOUND = (
    "/_httpx/transports",
    "/_httpx/bodies",
    "/_httpx/failover",
    "/_failover/",
    "/_outbound/",
)
_struck: set[object] = set()


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def well(request: Any) -> Any:
    return httpx.Response(200, stream=Body([b"x", b"y"]))


def badly(request: Any) -> Any:
    return httpx.Response(503, headers={"retry-after": "3"}, stream=Body([b"x"]))


def asks_to_wait(request: Any) -> Any:
    return httpx.Response(429, stream=Body([b"try again in 20s"]))


def events(request: Any) -> Any:
    head = {"content-type": "text/event-stream"}
    return httpx.Response(200, headers=head, stream=Body([b"data: x\n\n"] * 3))


def not_at_all(request: Any) -> Any:
    raise httpx.ConnectError("down")


class Body(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks


@pytest.mark.parametrize("answer", [well, badly, asks_to_wait, events, not_at_all])
def test_an_interrupted_call_of_a_client_leaves_nothing(answer: Callable[[Any], Any]) -> None:
    from recloser_adapters.httpx import wrap_client

    def scenario(registry: Registry) -> Work:
        client = wrap_client(
            httpx.Client(transport=httpx.MockTransport(answer)), registry, key="app"
        )

        def work() -> None:
            with suppress(httpx.TransportError):
                client.get("http://callee.example/")

        return work

    strike_everywhere(scenario, seen=_struck, within=OUTBOUND)


def test_an_interrupted_failover_leaves_nothing() -> None:
    from recloser_adapters.httpx import ANY_PROVIDER, FailoverTransport

    answers = {"a.example": badly, "b.example": well}

    def scenario(registry: Registry) -> Work:
        providers = [Provider("app", "http://a.example"), Provider("other", "http://b.example")]
        inner = httpx.MockTransport(lambda request: answers[request.url.host](request))
        transport = FailoverTransport(inner, Failover(registry, providers))
        client = httpx.Client(transport=transport, base_url=ANY_PROVIDER)
        return lambda: client.get("/")

    strike_everywhere(scenario, seen=_struck, within=OUTBOUND)
