"""The failover client of each library, sync and async."""

from __future__ import annotations

import pytest
from tests.support.httpx_failover_client import LIBRARIES, Run, World

from recloser import Registry
from recloser.testing import ManualClock


@pytest.fixture(
    params=[(library, kind) for library in LIBRARIES for kind in ("sync", "async")],
    ids=lambda param: "-".join(param),
)
def world(
    request: pytest.FixtureRequest, registry: Registry, clock: ManualClock, run: Run
) -> World:
    library, kind = request.param
    return World(library, asynchronous=kind == "async", registry=registry, clock=clock, run=run)


@pytest.fixture(params=LIBRARIES)
def async_world(
    request: pytest.FixtureRequest, registry: Registry, clock: ManualClock, run: Run
) -> World:
    return World(request.param, asynchronous=True, registry=registry, clock=clock, run=run)
