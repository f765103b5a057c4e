"""A signal handler that raises, at each place in our code where Python may run one.

Python runs a signal handler where a Python function begins or goes on, after a call of a function
written in C, and where a loop jumps back. A profile function is called at the first two, and raises
there in place of the handler: in turn at each such place in our code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.training import record

import recloser
from recloser import Breaker, Permit, Refused, Registry
from recloser.testing import no_jitter

OURS = str(Path(recloser.__file__).parent)
# Calls that become single steps once code has run a few times: no handler runs after them.
STEPS = (isinstance, len)
# A clock that stands still. It is written in C, as the system's is: a handler may run after it.
CLOCK = (1000.0).conjugate


class Interrupt(BaseException):
    """What the signal handler raises."""


class Strike:
    """Counts the places where a handler may run, and raises at one of them.

    Args:
        place: Its number, from 0.

    Attributes:
        struck: Where it raised; empty if there are fewer places.
    """

    def __init__(self, place: int) -> None:
        self._left = place
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or argument in STEPS:
            return
        code = frame.f_code
        # What a finalizer raises reaches nobody.
        if not code.co_filename.startswith(OURS) or code.co_name == "__del__":
            return
        self._left -= 1
        if self._left == -1:
            where = Path(code.co_filename).relative_to(OURS)
            self.struck = f"{where}:{frame.f_lineno} {code.co_name}, {event} {argument}"
            raise Interrupt(self.struck)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)


Work = Callable[[], object]
Scenario = Callable[[Registry], Work]


def storm(scenario: Scenario, *, learned: bool) -> int:
    """Play a scenario again and again, struck at each place in turn; the number of places."""
    for place in range(1_000):
        registry = Registry(clock=CLOCK, random=no_jitter)
        if learned:
            record(registry["app"], 100, success=True)
            registry["app"].acquire().success()
        work, strike = scenario(registry), Strike(place)
        told = False
        try:
            with strike.awaited():
                work()
        except Interrupt:
            told = True
        if not strike.struck:
            return place
        assert told, f"swallowed: {strike.struck}"
        in_flight = {each.key: each.metrics().in_flight for each in registry}
        assert not any(in_flight.values()), f"leaked {in_flight}: {strike.struck}"
        assert_it_still_decides(registry["app"], strike.struck)
    raise AssertionError("it has no end")


def assert_it_still_decides(breaker: Breaker, struck: str) -> None:
    breaker.reset()
    failures = breaker.metrics().failures
    record(breaker, 10, success=False)
    assert isinstance(breaker.admit_strict(Permit), Refused), struck
    assert breaker.metrics().failures == failures + 10, struck


def interrupt_within(function: Callable[..., object], step: int, work: Work) -> bool:
    """Do some work, and raise before one bytecode of a function of ours that it calls.

    That is more than a signal handler can do: Python runs none between most bytecodes.

    Args:
        function: The function.
        step: How many of its bytecodes are done before, in all its calls.
        work: What calls it. What is raised ends it.

    Returns:
        Whether it came to that bytecode.
    """
    left, struck, code = step, False, function.__code__

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left, struck
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not struck:
            left -= 1
            if left < 0:
                struck = True
                raise Interrupt
        return trace

    before = sys.gettrace()
    # CPython 3.12 traces no bytecode unless that is wanted of the frame that begins to trace.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return struck


def drive(coroutine: Any) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    finally:
        coroutine.close()
