"""Real servers, and stores on them: Valkey through one library, Redis through the other."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.valkey import Server, binaries, running

from recloser_adapters.redis import RedisStore

LIBRARIES = [name for name in ("redis", "valkey") if importlib.util.find_spec(name)]
# Each server and each library, without every combination.
PAIRS = [
    pytest.param((binary, LIBRARIES[number % len(LIBRARIES)]), id=name)
    for number, (name, binary) in enumerate(binaries().items())
    if LIBRARIES
] or [pytest.param((None, None), marks=pytest.mark.skip("no server or no library is installed"))]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Path, str]:
    binary, library = request.param
    return binary, library


@pytest.fixture
def binary(pair: tuple[Path, str]) -> Path:
    return pair[0]


@pytest.fixture
def library(pair: tuple[Path, str]) -> Any:
    """The module of redis-py or valkey-py."""
    return importlib.import_module(pair[1])


@pytest.fixture
def server(binary: Path) -> Iterator[Server]:
    with running(binary) as started:
        yield started


@pytest.fixture
def client_of(library: Any) -> Callable[..., Any]:
    """Makes a client of the library, as users do."""

    def client_of(url: str, **settings: Any) -> Any:
        made = library.Redis if library.__name__ == "redis" else library.Valkey
        return made.from_url(url, **settings)

    return client_of


@pytest.fixture
def store_of(client_of: Callable[..., Any]) -> Iterator[Callable[..., RedisStore]]:
    """Makes stores that are closed in the end; of a URL with a client of the library."""
    with ExitStack() as stack:

        def store_of(where: Any, **settings: Any) -> RedisStore:
            store = RedisStore(client_of(where) if isinstance(where, str) else where, **settings)
            stack.callback(store.close)
            return store

        yield store_of


@pytest.fixture
def store(server: Server, store_of: Callable[..., RedisStore]) -> RedisStore:
    return store_of(server.url)


@pytest.fixture
def other(server: Server, store_of: Callable[..., RedisStore]) -> RedisStore:
    """The store of another worker on the same server."""
    return store_of(server.url)


@pytest.fixture
def never() -> Iterator[int]:
    """A file descriptor that has nothing to read."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)
