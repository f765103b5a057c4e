"""Fork: the child's breakers work at once, whatever the parent's threads were at."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from tests.support.limits import fill, limit

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock, RecordingListener

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # From 3.12 on: a fork beside threads is what this is about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def in_child(work: Callable[[], bool]) -> bool:
    """Do something in a forked child; whether it succeeded, within ten seconds."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    for _ in range(1_000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)  # no clock of ours: another process
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


class Holder:
    """A thread that holds a lock until told to let go."""

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._let_go = threading.Event()
        held = threading.Event()

        def hold() -> None:
            with lock:
                held.set()
                self._let_go.wait(30.0)

        self._thread = threading.Thread(target=hold)
        self._thread.start()
        held.wait(10.0)

    def release(self) -> None:
        self._let_go.set()
        self._thread.join()


@pytest.mark.parametrize("where", ["registry", "alone", "evicted"])
def test_a_lock_that_another_thread_held_is_free_in_the_child(where: str) -> None:
    registry = Registry(max_keys=1)
    breaker = Breaker("alone") if where == "alone" else registry["k"]
    if where == "evicted":
        assert registry["other"] is not breaker
    holder = Holder(breaker._lock)

    def calls() -> bool:
        breaker.acquire().success()
        return breaker.metrics().successes == 1

    try:
        assert in_child(calls)
    finally:
        holder.release()


def test_a_registrys_lock_that_another_thread_held_is_free_in_the_child() -> None:
    registry = Registry()
    holder = Holder(registry._lock)

    try:
        assert in_child(lambda: registry["new"].try_acquire() is not None)
    finally:
        holder.release()


def test_calls_of_the_parents_threads_are_none_of_the_childs(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Nobody would end them there, and they would all be overdue."""
    permits = [breaker.acquire() for _ in range(50)]

    def starts_anew() -> bool:
        if breaker.metrics().in_flight:
            return False
        clock.advance(3_600.0)
        breaker.acquire().success()
        permits[0].success()
        return breaker.state is State.CLOSED and breaker.metrics().successes == 1

    assert in_child(starts_anew)
    assert breaker.metrics().in_flight == 50


def test_what_was_learned_and_decided_goes_on_in_the_child(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(100):
        breaker.record(0.1, success=True)
    breaker.open(for_=60.0)

    def knows() -> bool:
        refused = breaker.try_acquire() is None
        clock.advance(61.0)
        return refused and breaker.metrics().p50 > 0.0 and breaker.try_acquire() is not None

    assert in_child(knows)


def test_a_limit_goes_on_in_the_child_without_the_calls_of_the_parent(
    breaker: Breaker, clock: ManualClock
) -> None:
    """They would fill it: nobody would end them there. And a silence would look like an outage."""
    limit(breaker, clock)
    running = fill(breaker)

    def goes_on() -> bool:
        free = breaker.state is State.LIMITED and breaker.metrics().in_flight == 0
        clock.advance(3_600.0)
        as_many = len(kept := fill(breaker)) == len(running)
        still = breaker.state is State.LIMITED
        for permit in kept:
            permit.cancel()
        for _ in range(400):
            permit = breaker.acquire()
            clock.advance(0.1)
            permit.success()
        return free and as_many and still and breaker.state is State.CLOSED

    assert in_child(goes_on)
    assert breaker.metrics().in_flight == len(running)


def test_events_are_told_in_the_child_though_a_listener_ran_at_the_fork() -> None:
    registry = Registry()
    results: list[bool] = []

    class Forking:
        def on_transition(self, transition: object) -> None:
            def hears() -> bool:
                listener = RecordingListener()
                registry.subscribe(listener)
                registry["k"].reset()
                return [each.after for each in listener.transitions] == [State.CLOSED]

            if not results:
                results.append(in_child(hears))

    registry.subscribe(Forking())
    registry["k"].open()

    assert results == [True]


# Observing: real time on a loaded machine may well look like an outage.
BUSY = """
import os, threading
from recloser import Registry

registry = Registry(mode="observe")
stop = threading.Event()

def busy(index):
    while not stop.is_set():
        with registry[f"k{index % 3}"]:
            pass

threads = [threading.Thread(target=busy, args=(index,)) for index in range(4)]
for thread in threads:
    thread.start()
try:
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0 if all(registry[f"k{n}"].try_acquire() for n in range(4)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
finally:
    stop.set()
"""


def test_a_child_of_a_busy_process_never_hangs() -> None:
    # In a process that is not measured: coverage has a lock of its own, which a fork freezes.
    subprocess.run([sys.executable, "-W", "ignore", "-c", BUSY], check=True, timeout=60)
