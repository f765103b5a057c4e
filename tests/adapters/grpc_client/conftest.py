"""A real server, and a client of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("grpc")

from tests.support.grpc_shop import SERVICE, AioClient, Client, Shop, SyncClient

from recloser import Breaker, Registry
from recloser.testing import ManualClock

KINDS: dict[str, Any] = {"sync": SyncClient, "aio": AioClient}


@pytest.fixture
def shop(clock: ManualClock) -> Iterator[Shop]:
    shop = Shop(clock)
    yield shop
    shop.stop()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """The class of a client."""
    return KINDS[request.param]


@pytest.fixture
def client(shop: Shop, registry: Registry, kind: Any) -> Iterator[Client]:
    client: Client = kind(shop.target, registry)
    yield client
    client.close()


@pytest.fixture
def breaker(registry: Registry, shop: Shop) -> Breaker:
    return registry[f"{shop.target} {SERVICE}"]
