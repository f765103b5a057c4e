"""One client to drive: its name, its package, and how it is built and guarded."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from recloser import Registry

KEY = "provider"
"""The key of every guarded client."""
GUARD = "# guard"
"""How a line of a builder ends that a user adds to guard the client."""

Call = Callable[[], Any]

_runner = asyncio.Runner()


def awaited(call: Callable[[], Awaitable[Any]]) -> Call:
    """A plain function for a call that is to be awaited; all run in one event loop."""

    async def run() -> Any:
        return await call()

    return lambda: _runner.run(run())


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and how it is guarded.

    Attributes:
        name: Its name in the table.
        package: The distribution that it is in, with an extra in brackets if it needs one.
        build: Makes the guarded client from the URL of the provider and a registry; it returns a
            function that makes one call.
        own_error: A status with which its provider answers a mistake of the caller.
        beside: Further distributions that the builder imports.
    """

    name: str
    package: str
    build: Callable[[str, Registry], Call]
    own_error: int = 400
    beside: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The installed version; None if it is not installed."""
        try:
            return importlib.metadata.version(self.package.partition("[")[0])
        except importlib.metadata.PackageNotFoundError:
            return None

    @property
    def lines(self) -> int:
        """How many lines a user adds or changes."""
        source = inspect.getsource(self.build)
        return sum(line.rstrip().endswith(GUARD) for line in source.splitlines())
