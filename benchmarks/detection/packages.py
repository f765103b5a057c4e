"""Peers that are Python packages, used through their own public API on virtual time.

Coroutines of the asynchronous ones are stepped by hand, and only the simulator completes what they
await. So thousands of calls overlap without an event loop. A package that is not installed is left
out, and the report says so.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self

from benchmarks.detection.simulator import Clock, Ending

_EPOCH = 1.8e9  # virtual time zero as wall-clock time, for packages that read the wall clock


class CallFailedError(Exception):
    """The error of a simulated call that fails."""


class _CallerError(Exception):
    """The caller's own mistake, for the packages that can exclude errors."""


class _ClientGone(BaseException):
    """Replaces asyncio.CancelledError, which is not an `Exception` since Python 3.8."""


class _Answer:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def _call() -> None:
    await _Answer()


def _started() -> Generator[None, None, None]:
    yield


class Stepped:
    """A package's own wrapper around a call, stepped by hand.

    Args:
        clock: Virtual time.
        begin: Starts one guarded call: a coroutine or generator that stops at its answer.
        refusal: The error that the package raises for a refusal.
        is_open: Whether the breaker is open now.
    """

    def __init__(
        self,
        clock: Clock,
        begin: Callable[[], Coroutine[Any, Any, None] | Generator[Any, Any, None]],
        refusal: type[BaseException],
        is_open: Callable[[], bool],
    ) -> None:
        self.openings: list[float] = []
        self.alarms: list[float] = []
        self._clock = clock
        self._begin = begin
        self._refusal = refusal
        self._is_open = is_open
        self._tripped = False
        self._was_open = False

    def acquire(self) -> object | None:
        try:
            guarded = self._begin()
            guarded.send(None)
        except self._refusal:
            return None
        self._was_open = False
        return guarded

    def end(self, permit: Any, ending: Ending, took: float, wait: float) -> None:
        try:
            if ending in (Ending.FAILED, Ending.THROTTLED):
                permit.throw(CallFailedError())
            elif ending is Ending.CANCELLED:
                permit.throw(_ClientGone())
            elif ending is Ending.CALLER_ERROR:
                permit.throw(_CallerError())
            else:
                permit.send(None)
        except (CallFailedError, _CallerError, _ClientGone, StopIteration, self._refusal):
            pass
        is_open = self._is_open()
        if is_open and not self._was_open:
            self.alarms.append(self._clock.now)
        self._was_open = is_open
        # An opening after a failed probe is not a new opening.
        if is_open and not self._tripped:
            self.openings.append(self._clock.now)
            self._tripped = True
        elif not is_open and ending is Ending.OK:
            self._tripped = False


def installed(package: str) -> bool:
    """Whether a package can be imported here."""
    return find_spec(package) is not None


def pybreaker(clock: Clock, failures: int = 5, open_for: float = 60.0) -> Stepped:
    """Return pybreaker. Only its generator protocol allows calls to overlap."""
    package: Any = import_module("pybreaker")

    class WallClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Self:
            return cls.fromtimestamp(_EPOCH + clock.now, UTC)

    package.datetime = WallClock
    breaker = package.CircuitBreaker(
        fail_max=failures,
        reset_timeout=open_for,
        exclude=[_CallerError],
        throw_new_error_on_trip=False,
    )
    return Stepped(
        clock,
        lambda: breaker.call(_started),
        package.CircuitBreakerError,
        lambda: breaker.current_state == "open",
    )


def circuitbreaker(clock: Clock, failures: int = 5, open_for: float = 30.0) -> Stepped:
    """Return circuitbreaker, used through its decorator for coroutines."""
    package: Any = import_module("circuitbreaker")
    package.monotonic = clock
    breaker = package.CircuitBreaker(failures, open_for, CallFailedError)
    return Stepped(clock, breaker(_call), package.CircuitBreakerError, lambda: bool(breaker.opened))


def interlock(clock: Clock, **settings: Any) -> Stepped:
    """Return interlock, with its default settings or others."""
    package: Any = import_module("interlock")
    name_space = types.SimpleNamespace(monotonic=clock)
    breaker = package.CircuitBreaker(
        name="service",
        config=package.Config(**settings),
        clock=name_space,
        classifier=_CountsFailures(),
    )
    opened = package.State.OPEN
    return Stepped(
        clock,
        lambda: breaker.call_async(_call),
        package.CircuitOpenError,
        lambda: breaker.state is opened,
    )


class _CountsFailures:
    def is_failure(self, *, result: object, exception: BaseException | None) -> bool:
        return isinstance(exception, CallFailedError)


def purgatory(clock: Clock, failures: int = 5, open_for: float = 30.0) -> Stepped:
    """Return purgatory, used through its asynchronous factory."""
    package: Any = import_module("purgatory")
    model: Any = import_module("purgatory.domain.model")
    model.time = types.SimpleNamespace(time=clock)
    factory = package.AsyncCircuitBreakerFactory(failures, open_for, exclude=[_CallerError])
    breaker = _run(factory.get_breaker("service"))

    async def guarded() -> None:
        async with breaker:
            await _call()

    return Stepped(clock, guarded, model.OpenedState, lambda: breaker.context.state == "opened")


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it awaited something that nobody completes")
