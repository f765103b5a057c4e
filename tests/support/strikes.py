"""An exception before each bytecode of our code in turn.

That is the worst that a signal handler could do. CPython runs handlers between some bytecodes only
(`interrupts.py` has those); here it is any of them, so that nothing rests on where that is.
"""

from __future__ import annotations

import dis
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.support.bytecodes import trace_bytecodes
from tests.support.interrupts import CLOCK, Interrupt, Scenario
from tests.support.training import record

import recloser
from recloser import Breaker, Permit, Refused, Registry, State
from recloser._locks import owns
from recloser.testing import RecordingListener, no_jitter

_ROOT = Path(__file__).parents[2]
_OURS = tuple(
    f"{folder}/" for folder in (_ROOT / "middleware", _ROOT / "adapters", *recloser.__path__)
)
_known: dict[CodeType, bool] = {}


def is_ours(frame: FrameType) -> bool:
    """Whether it runs code of the core or of an adapter."""
    code = frame.f_code
    ours = _known.get(code)
    if ours is None:
        ours = _known[code] = code.co_filename.startswith(_OURS)
    return ours


class Strike:
    """Raises once, before a bytecode of ours that was not struck before.

    A bytecode is one of a function that was called by a certain other one, as some are called from
    many places.

    Args:
        before: The bytecodes that were struck before; the one that is struck is added.
        within: Only code in files whose path has one of these parts is struck.

    Attributes:
        struck: Where it raised; empty if all were struck before.
    """

    def __init__(self, before: set[object], within: tuple[str, ...] = ("",)) -> None:
        self._before = before
        self._within = within
        self.struck = ""

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not is_ours(frame):
            return None
        if not any(part in frame.f_code.co_filename for part in self._within):
            return None
        return trace_bytecodes(frame, self._trace_bytecode)

    def _trace_bytecode(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and not self.struck:
            around = frame.f_back
            place = frame.f_code, frame.f_lasti, around and around.f_code
            if place not in self._before and _can_be_struck(frame):
                self._before.add(place)
                self.struck = _named(frame)
                raise Interrupt(self.struck)
        return self._trace_bytecode

    @contextmanager
    def awaited(self) -> Iterator[None]:
        before = sys.gettrace()
        # CPython 3.12 traces no bytecode unless that is wanted of the frame that begins to trace.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)


def _bytecode(frame: FrameType) -> str:
    return dis.opname[frame.f_code.co_code[frame.f_lasti]]


def _can_be_struck(frame: FrameType) -> bool:
    """Whether what is raised before the next bytecode of a frame reaches those who called it."""
    name = _bytecode(frame)
    # No handler covers these. Raised there, the exception that is handled now would go on to be
    # handled for ever: CPython's own state, which no Python code could repair.
    if name == "PUSH_EXC_INFO" or (name == "NOP" and sys.exception() is not None):
        return False
    if frame.f_code.co_name == "<genexpr>" and name in ("CALL_INTRINSIC_1", "RERAISE"):
        return False  # it was not asked for its last item, and ends as garbage
    around: FrameType | None = frame
    while around is not None and is_ours(around):
        if around.f_code.co_name == "__del__":
            return False  # what a finalizer raises reaches nobody
        around = around.f_back
    return True


def _named(frame: FrameType) -> str:
    names = [frame.f_code.co_qualname]
    around = frame.f_back
    while around is not None and is_ours(around):
        names.append(around.f_code.co_name)
        around = around.f_back
    path = Path(frame.f_code.co_filename).name
    return f"{path}:{frame.f_lineno} {_bytecode(frame)} in {' < '.join(names)}"


def stop() -> None:
    """Strike no more: from here on, it is the scenario that acts."""
    sys.settrace(None)


def strike_everywhere(
    scenario: Scenario,
    *,
    learned: bool = True,
    max_keys: int = 1000,
    seen: set[object] | None = None,
    within: tuple[str, ...] = ("",),
) -> int:
    """Play a scenario again and again, and strike another bytecode each time.

    After each time, nothing may be left: no call in flight, no lock held, nothing set, and the
    exception has reached the caller. Then calls are made and counted, and events delivered, as ever.

    Args:
        scenario: Prepares a registry, and returns what is struck.
        learned: Whether the breaker "app" knows what is normal.
        max_keys: Of the registry.
        seen: Bytecodes that need not be struck; those that are struck are added.
        within: Only code in files whose path has one of these parts is struck.

    Returns:
        The number of bytecodes.
    """
    before: set[object] = set() if seen is None else seen
    gc.collect()
    gc.freeze()  # what was there before need not be looked through again and again
    try:
        return _play_all(scenario, learned, max_keys, before, within)
    finally:
        gc.unfreeze()


def _play_all(
    scenario: Scenario,
    learned: bool,
    max_keys: int,
    before: set[object],
    within: tuple[str, ...],
) -> int:
    for number in range(100_000):
        play = _Play(scenario, learned, max_keys, Strike(before, within))
        thread = threading.Thread(target=play)
        thread.start()
        thread.join()
        if play.wrong is not None:
            # Without its frames: pytest cannot show one that was struck between two lines.
            raise AssertionError(f"{play.wrong!r}, struck at {play.strike.struck}")
        if not play.strike.struck:
            return number
    raise AssertionError("it has no end")


class _Play:
    """One play, in a thread of its own.

    Struck at a bytecode that ends an `except` block, CPython goes on for ever to handle that exception,
    and keeps all its frames: `sys.exception()` is not None any more. That is over when the thread is.
    """

    def __init__(self, scenario: Scenario, learned: bool, max_keys: int, strike: Strike) -> None:
        self.scenario, self.learned, self.max_keys, self.strike = (
            scenario,
            learned,
            max_keys,
            strike,
        )
        self.wrong: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._play()
        except BaseException as error:
            self.wrong = error

    def _play(self) -> None:
        registry = Registry(clock=CLOCK, random=no_jitter, max_keys=self.max_keys)
        heard = RecordingListener()
        registry.subscribe(heard)
        if self.learned:
            record(registry["app"], 100, success=True)
            registry["app"].acquire().success()
        work, strike = self.scenario(registry), self.strike
        told = False
        try:
            with strike.awaited():
                work()
        except Interrupt:
            told = True
        del work
        if not strike.struck or sys.exception() is not None:
            return
        assert told, f"swallowed: {strike.struck}"
        for breaker in registry.breakers():
            _assert_nothing_is_left(breaker, registry, strike.struck)
            _assert_it_still_decides(breaker, heard, strike.struck)


def _assert_nothing_is_left(breaker: Breaker, registry: Registry, struck: str) -> None:
    assert not owns(registry._lock), struck
    assert not owns(breaker._lock), struck
    assert not breaker._deciding, struck
    circuit, calls = breaker._circuit, breaker._calls
    if breaker.metrics().in_flight:
        gc.collect()
    assert breaker.metrics().in_flight == 0, struck
    assert not calls.dropped, struck
    assert circuit.limit is None or not circuit.limit._in_flight, struck
    assert calls.streams is None or not calls.streams.by_token, struck
    assert circuit.explained is None or not circuit.explained.kinds, struck
    assert (circuit.state is State.CLOSED) is (circuit.recovery is None), struck
    assert (circuit.state is State.LIMITED) is (circuit.limit is not None), struck
    assert breaker.explain(), struck
    assert breaker.retry_after >= 0.0, struck


def _assert_it_still_decides(breaker: Breaker, heard: RecordingListener, struck: str) -> None:
    breaker.open()
    breaker.reset()
    assert not breaker._circuit.events, struck
    events = [each for each in heard.transitions if each.key == breaker.key]
    assert events[-1].after is State.CLOSED, struck
    # One event at most is lost, if listeners were being told of it.
    broken = [late for early, late in pairwise(events) if early.after is not late.before]
    assert len(broken) <= 1, struck
    failures = breaker.metrics().failures
    record(breaker, 10, success=False)
    assert isinstance(breaker.admit_strict(Permit), Refused), struck
    assert breaker.metrics().failures == failures + 10, struck
    breaker.reset()
    successes = breaker.metrics().successes
    breaker.acquire().success()
    assert breaker.metrics().successes == successes + 1, struck
    assert breaker.metrics().in_flight == 0, struck
