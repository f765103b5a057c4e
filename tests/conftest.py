"""What every test here shares."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import pytest
from hypothesis import HealthCheck, settings
from tests.support.scripted_upstream import Upstream

from recloser import Policy, Registry
from recloser.testing import ManualClock, no_jitter

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# No test is judged by the clock on the wall.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout: tests of the README, the examples and the import rules read it."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def clock() -> ManualClock:
    # Not zero: there a point in time looks like a duration.
    return ManualClock(1000.0)


@pytest.fixture
def policy() -> Policy:
    """Of the `registry`, and in the core of the `breaker`; a test may want another one."""
    return Policy()


@pytest.fixture
def registry(clock: ManualClock, policy: Policy) -> Registry:
    return Registry(policy, clock=clock, random=no_jitter)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


class _Leaping(selectors.DefaultSelector):
    """Does not wait: it moves a manual clock on instead."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._manual = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if timeout > 0.0:
            self._manual.advance(timeout)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a manual clock: when all wait, time leaps to the next timer."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Leaping(clock))
        self._manual = clock

    def time(self) -> float:
        return self._manual()

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Do it here and now: a thread takes real time, in which the loop would see nothing to do."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


@pytest.fixture
def run(clock: ManualClock) -> Callable[[Awaitable[Any]], Any]:
    """Runs a coroutine to its end in the virtual time of the test's `clock`."""

    async def finished(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    def run(awaitable: Awaitable[Any]) -> Any:
        loop = _VirtualLoop(clock)
        try:
            return loop.run_until_complete(finished(awaitable))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run
