"""A real server, and a client of each kind.

gRPC is imported by the fixtures: without it, the modules here skip themselves, and a conftest cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from recloser import Breaker, Registry
from recloser.testing import ManualClock

if TYPE_CHECKING:
    from tests.support.grpc_shop import Client, Shop


@pytest.fixture
def shop(clock: ManualClock) -> Iterator[Shop]:
    from tests.support.grpc_shop import Shop

    shop = Shop(clock)
    yield shop
    shop.stop()


@pytest.fixture(params=["SyncClient", "AioClient"])
def kind(request: pytest.FixtureRequest) -> Any:
    """The class of a client."""
    from tests.support import grpc_shop

    return getattr(grpc_shop, request.param)


@pytest.fixture
def client(shop: Shop, registry: Registry, kind: Any) -> Iterator[Client]:
    client: Client = kind(shop.target, registry)
    yield client
    client.close()


@pytest.fixture
def breaker(registry: Registry, shop: Shop) -> Breaker:
    from tests.support.grpc_shop import SERVICE

    return registry[f"{shop.target} {SERVICE}"]
