"""One process per server, shared by all its tests: each test uses a key of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .servers import Server, running


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running server; the parameter is its name."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started
