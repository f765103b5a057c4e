"""Each way to put the middleware around an application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from tests.support.starlette_endpoints import PLACES

from recloser import Registry


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest) -> Callable[[Starlette, Registry], Any]:
    placed: Callable[[Starlette, Registry], Any] = request.param
    return placed
