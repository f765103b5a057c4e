"""Runs each test on each client that is installed; those of httpx on asyncio and on trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.outbound_clients import ALL, HAS_TRIO, HTTPX, Client
from tests.support.scripted_upstream import Upstream

from recloser import Breaker, Registry

BACKENDS = ("asyncio", "trio")
# What a test may ask for, by the name of its argument.
GROUPS: dict[str, tuple[type[Client], ...]] = {
    "client": ALL,
    "kind": ALL,
    "async_client": tuple(kind for kind in ALL if kind.is_async),
    # aiohttp keeps a response alive for as long as its connection: there only the lease helps.
    "collected_client": tuple(kind for kind in ALL if kind.library != "aiohttp"),
    "httpx_client": HTTPX,
    "answering_client": tuple(kind for kind in ALL if kind.answers_refusals),
}

Connect = Callable[..., Any]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in GROUPS if name in metafunc.fixturenames]
    if not names:
        return
    # Every client fixture needs `kind`; the one that names a smaller group decides.
    members = min((GROUPS[name] for name in names), key=len)
    if "anyio_backend" not in metafunc.fixturenames:
        installed = [kind for kind in members if find_spec(kind.library) is not None]
        metafunc.parametrize("kind", installed, ids=[kind.__name__ for kind in installed])
        return
    metafunc.parametrize(
        ("kind", "anyio_backend"),
        [
            pytest.param(kind, backend, id=_name(kind, backend))
            for kind in members
            if find_spec(kind.library) is not None
            for backend in (BACKENDS if kind in HAS_TRIO else BACKENDS[:1])
        ],
    )


def _name(kind: type[Client], backend: str) -> str:
    flavour = f"async-{backend}" if kind.is_async else "sync"
    return f"{kind.library}-{flavour}"


@pytest.fixture
def breaker(registry: Registry, upstream: Upstream) -> Breaker:
    return registry[upstream.host]


@pytest.fixture
async def connect(kind: type[Client], registry: Registry) -> AsyncIterator[Connect]:
    """Makes a client with settings of the test's own; closed at the end."""
    async with AsyncExitStack() as stack:

        def connect(**settings: Any) -> Client:
            made = kind(settings.pop("registry", registry), **settings)
            stack.push_async_callback(made.aclose)
            return made

        yield connect


@pytest.fixture
async def client(connect: Connect) -> Client:
    made: Client = connect()
    return made


async_client = collected_client = httpx_client = answering_client = client
