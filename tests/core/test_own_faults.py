"""A fault of our own: wherever it is raised, it refuses no call and keeps no permit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.support.bytecodes import not_measured

import recloser
from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener, no_jitter

pytestmark = not_measured

ROOMS = Path(recloser.__file__).parent
# `in_flight` is left out: its operations are single steps, which an exception cannot cut in two.
INTERNALS = {
    *(str(path) for path in (ROOMS / "_circuit").glob("*.py") if path.stem != "in_flight"),
    str(ROOMS / "_listeners.py"),
    str(ROOMS / "_stall.py"),
}
Line = tuple[str, int]


class Sabotage(Exception):  # noqa: N818  # what it is
    """A bug of ours."""


@contextmanager
def tracing(seen: set[Line], target: Line | None) -> Iterator[None]:
    """Note the lines of the internals that run, or raise at the first run of one of them.

    With a target, only its file is looked at, which takes two thirds of the time.
    """
    armed = True
    files = INTERNALS if target is None else {target[0]}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal armed
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            seen.add(line)
            if armed and line == target:
                armed = False
                raise Sabotage
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def serve_calls(
    breaker: Breaker, clock: ManualClock, calls: int, latency: float, way: str, waits: float = 0.05
) -> None:
    for _ in range(calls):
        closed = breaker.state is State.CLOSED
        permit = breaker.try_acquire()
        clock.advance(latency)
        # An opening is a decision; nothing else may refuse.
        if permit is None:
            assert not closed or breaker.state is not State.CLOSED
        else:
            getattr(permit, way)()
        clock.advance(waits)


def live_through_limits(breaker: Breaker, clock: ManualClock) -> None:
    """Calls are slow and fast again; slow and failing; hang, and come back; slow for good; overloaded."""
    serve = partial(serve_calls, breaker, clock)
    serve(60, 0.1, "success")
    serve(8, 0.3, "success")
    serve(40, 0.1, "success", waits=0.3)
    serve(8, 0.3, "success")
    serve(12, 0.1, "failure")
    serve(40, 0.1, "success", waits=0.3)
    hanging = []
    for _ in range(50):
        hanging.append(breaker.try_acquire())
        clock.advance(0.1)
    for permit in filter(None, hanging):
        permit.success()
    serve(20, 0.1, "success", waits=0.3)
    serve(110, 0.3, "success", waits=1.2)
    # So many at a time that some are refused, and the limit is halved to find out why.
    for _ in range(10):
        running = [breaker.try_acquire() for _ in range(12)]
        clock.advance(0.9)
        for permit in filter(None, running):
            permit.success()
    serve(20, 0.9, "success", waits=0.5)


def live_through(breaker: Breaker, clock: ManualClock) -> None:
    """Health, slowness, calls that hang, an outage, probes of all kinds, and recovery."""
    serve = partial(serve_calls, breaker, clock)
    serve(40, 0.1, "success")
    serve(3, 2.0, "success")
    serve(20, 0.1, "success")
    serve(1, 0.1, "ignore")
    serve(1, 3.0, "cancel")
    hanging = [breaker.try_acquire() for _ in range(3)]
    clock.advance(3.0)
    serve(1, 0.1, "success")
    for permit in hanging:
        if permit is not None:
            permit.success()
    serve(40, 0.1, "failure")
    serve(10, 0.1, "success", waits=1.0)
    serve(1, 0.1, "throttled")
    permit = breaker.try_acquire()
    if permit is not None:
        permit.throttled(5.0)
    serve(60, 0.1, "success", waits=1.0)


LIVES = [live_through, live_through_limits]


@pytest.mark.parametrize("live", LIVES)
def test_no_line_of_ours_that_fails_refuses_a_call_or_keeps_a_permit(
    live: Callable[[Breaker, ManualClock], None],
) -> None:
    lines: set[Line] = set()
    with tracing(lines, None):
        clock = ManualClock(100.0)
        live(Breaker("k", Policy(min_history=20), clock=clock, random=no_jitter), clock)
    assert len(lines) > 200

    for line in sorted(lines):
        clock = ManualClock(100.0)
        registry = Registry(Policy(min_history=20), clock=clock, random=no_jitter)
        registry.subscribe(RecordingListener())
        breaker = registry["k"]
        with tracing(set(), line):
            live(breaker, clock)

        # It goes on as if nothing had been: nothing in flight, and calls are served.
        for _ in range(200):
            clock.advance(1.0)
            if (permit := breaker.try_acquire()) is not None:
                permit.success()
        assert breaker.metrics().in_flight == 0, line
        assert breaker.state is State.CLOSED, line
        assert breaker.try_acquire() is not None, line


def test_these_lives_lead_through_every_state_and_most_lines_of_the_limit() -> None:
    lines: set[Line] = set()
    listener = RecordingListener()
    for live in LIVES:
        clock = ManualClock(100.0)
        registry = Registry(Policy(min_history=20), clock=clock, random=no_jitter)
        registry.subscribe(listener)
        with tracing(lines, None):
            live(registry["k"], clock)

    assert {each.after for each in listener.transitions} == {*State}
    rules = {each.reason.rule for each in listener.transitions}
    assert rules >= {"limited", "eased", "mute", "comes_back", "new_normal", "recovered"}
    for room, least in (("limit", 90), ("lifecycle", 90), ("load", 30), ("round", 20)):
        assert sum(Path(path).stem == room for path, _ in lines) >= least, room
