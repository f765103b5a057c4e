"""An exception at any bytecode of the urllib3 adapter leaves no call in flight, and is not swallowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from tests.support.interrupts import Work
from tests.support.strikes import strike_everywhere

from recloser import Registry

urllib3: Any = pytest.importorskip("urllib3")

from recloser_adapters.urllib3 import wrap_pool

WITHIN = ("/_urllib3/guarded_pool", "/_urllib3/attempt", "/_urllib3/pool_request")
_struck: set[object] = set()


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def response(status: int, body: bytes = b"x", **headers: str) -> Any:
    return urllib3.HTTPResponse(
        BytesIO(body), headers=headers, status=status, preload_content=False
    )


ANSWERS: dict[str, Callable[[], Any]] = {
    "well": lambda: response(200),
    "badly": lambda: response(503),
    "asks to wait": lambda: response(429, b"try again in 20s"),
    "events": lambda: response(200, b"data: x\n\n" * 3, **{"content-type": "text/event-stream"}),
}


class Canned(urllib3.HTTPConnectionPool):  # type: ignore[misc]  # imported late
    """A pool that sends nothing."""

    answer: str

    def _make_request(self, *args: Any, **options: Any) -> Any:
        if self.answer == "not at all":
            raise urllib3.exceptions.ReadTimeoutError(self, "/", "m")
        return ANSWERS[self.answer]()


@pytest.mark.parametrize("name", [*ANSWERS, "not at all"])
def test_an_interrupted_request_leaves_nothing(name: str) -> None:
    def scenario(registry: Registry) -> Work:
        pool = Canned("callee.example")
        pool.answer = name
        wrap_pool(pool, registry, key="app", cut_off=True)

        def work() -> None:
            with suppress(urllib3.exceptions.HTTPError):
                pool.urlopen("GET", "/", retries=1)

        return work

    strike_everywhere(scenario, seen=_struck, within=WITHIN)
