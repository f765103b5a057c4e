"""What the tests of all engines of a fleet's store share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.stores import CREW, ENGINES, Engine, Place, Worker

from recloser.fleet import Store


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Iterator[Place]:
    with engine.started(tmp_path) as place:
        yield place


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    store = place.open()
    yield store
    store.close()


@pytest.fixture
def other(place: Place) -> Iterator[Store]:
    """The store of another worker."""
    store = place.open()
    yield store
    store.close()


@pytest.fixture(scope="package")
def processes() -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = [Worker() for _ in range(CREW)]
        for worker in workers:
            stack.callback(worker.end)
        yield workers


@pytest.fixture
def crew(engine: Engine, processes: list[Worker]) -> list[Worker]:
    if not engine.between_processes:
        pytest.skip("an engine for one process")
    return processes


@pytest.fixture
def wake() -> Iterator[int]:
    """A file descriptor that cannot be read."""
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)
