"""The thread of a fleet: when it begins, what wakes it, and how it ends."""

from __future__ import annotations

import _thread
import gc
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path

import pytest
from tests.support.waiting import until

from recloser import Mode
from recloser._fleet import runner as runner_module
from recloser._fleet.member import Member
from recloser._fleet.places import store_at
from recloser._fleet.runner import Runner
from recloser._overrides import Override
from recloser.fleet import MemoryData, MemoryStore


class WaitingStore(MemoryStore):
    """A store in memory that does wait.

    Attributes:
        least: It waits for so many seconds at least, unless it is woken.
        closed: How often it was closed.
    """

    least = 0.0
    closed = 0

    def wait(self, seconds: float, wake: int) -> bool:
        select.select([wake], [], [], max(seconds, self.least))
        return False

    def close(self) -> None:
        self.closed += 1
        super().close()


class Breakers:
    """A registry without breakers."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.warnings: list[str] = []
        self.clock = time.monotonic

    def get(self, key: str) -> None:
        return None

    def fault(self, where: str, error: BaseException) -> None:
        self.faults.append(error)

    def warn(self, about: str, sentence: str) -> None:
        self.warnings.append(sentence)


@pytest.fixture
def breakers() -> Breakers:
    return Breakers()


@pytest.fixture
def store() -> WaitingStore:
    return WaitingStore(MemoryData(time.monotonic))


def begun(runner: Runner, store: WaitingStore) -> None:
    """Start it, and wait for its first turn."""
    runner.start()
    until(lambda: bool(store.workers()), "the first turn")


def is_open(end: int) -> bool:
    try:
        os.fstat(end)
    except OSError:
        return False
    return True


class SlowTurn:
    """A turn that a runner is in until it is told to go on."""

    def __init__(self, runner: Runner, last: Callable[[], None] = lambda: None) -> None:
        self.goes_on, self._last, begins = threading.Event(), last, threading.Event()

        def turn(now: float) -> float:
            begins.set()
            self.goes_on.wait(60)
            self._last()
            return 1.0

        runner._member.turn = turn  # type: ignore[method-assign]
        runner.wake()
        assert begins.wait(60)


@pytest.fixture
def runner(breakers: Breakers, store: WaitingStore) -> Iterator[Runner]:
    numbers = iter(range(1000))
    member = Member(breakers, store, lambda: f"host/{next(numbers)}/x", lambda: 0.5)
    runner = Runner(member, breakers.clock, breakers.fault)
    yield runner
    runner.stop()


def test_it_begins_once_when_it_is_told_to(runner: Runner, store: WaitingStore) -> None:
    assert not runner.is_running

    runner.start()
    runner.start()

    until(lambda: len(store.workers()) == 1, "the first turn")
    assert runner.is_running


def test_it_keeps_no_process_from_ending(runner: Runner) -> None:
    """It is no thread that Python knows of: the end of the program does not wait for it."""
    before = threading.active_count()

    runner.start()

    assert threading.active_count() == before


def test_to_wake_it_takes_no_thread_and_raises_nothing(runner: Runner) -> None:
    runner.wake()

    assert not runner.is_running


def test_who_wakes_it_gets_a_turn_at_once(runner: Runner, store: WaitingStore) -> None:
    store.least = 3600.0
    begun(runner, store)
    turn, turns = runner._member.turn, list[float]()

    def counted(now: float) -> float:
        turns.append(now)
        return turn(now)

    runner._member.turn = counted  # type: ignore[method-assign]
    runner.wake()

    until(lambda: bool(turns), "a turn")


@pytest.mark.parametrize("missing", ["file descriptors", "threads"])
def test_where_it_cannot_begin_it_tries_again_later(
    runner: Runner,
    breakers: Breakers,
    store: WaitingStore,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    tries = list[int]()

    def refuse(*args: object) -> None:
        tries.append(1)
        raise OSError(f"no more {missing}")

    def native(module: str, name: str) -> object:
        return refuse if name == "start_new_thread" else getattr(_thread, name)

    with monkeypatch.context() as patch:
        if missing == "threads":
            patch.setattr(runner_module, "_native", native)
        else:
            patch.setattr(os, "pipe", refuse)
        for _ in range(10):
            runner.start()

    assert len(tries) == 1  # not with each call
    assert not runner.is_running
    assert f"no more {missing}" in runner._member.last_failure
    assert f"no more {missing}" in breakers.warnings[0]
    assert runner._pipe is None

    runner._start_at = -inf
    begun(runner, store)
    assert runner.is_running
    until(lambda: runner._member.is_connected, "it is in its fleet")


def test_a_thread_that_has_not_begun_leaves_no_pipe_open(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[int]()
    pipe = os.pipe

    def counted() -> tuple[int, int]:
        made.extend(ends := pipe())
        return ends

    def refuse(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "pipe", counted)
    monkeypatch.setattr(
        runner_module,
        "_native",
        lambda module, name: refuse if name == "start_new_thread" else getattr(_thread, name),
    )

    runner.start()

    gc.collect()
    for end in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_who_was_stopped_has_no_number_of_a_file_any_more(
    runner: Runner, store: WaitingStore
) -> None:
    """The process gives the numbers to other files: to wake it, or to fork, must not touch them."""
    begun(runner, store)
    pipe = runner._pipe
    assert pipe is not None
    ends = pipe.ends

    runner.stop(timeout=5.0)
    del pipe
    until(lambda: not any(map(is_open, ends)), "the pipe is closed")
    others = [os.open(os.devnull, os.O_RDONLY) for _ in ends]
    while not {*ends} <= {*others}:
        others.append(os.open(os.devnull, os.O_RDONLY))

    runner._signalled = False
    runner.wake()
    runner.after_fork()

    for each in others:
        os.close(each)  # it raises where it was closed already


def test_the_end_of_the_process_waits_for_all_of_them_together(
    breakers: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_runners", weakref.WeakSet[Runner]())
    runners, slow = list[Runner](), list[SlowTurn]()
    for _ in range(6):
        store = WaitingStore(MemoryData(time.monotonic))
        member = Member(breakers, store, lambda: "host/1/x", lambda: 0.5)
        runners.append(Runner(member, breakers.clock, breakers.fault))
        begun(runners[-1], store)
        slow.append(SlowTurn(runners[-1]))
    begins = time.monotonic()

    runner_module._at_exit()

    took = time.monotonic() - begins
    assert took < 3 * runner_module._LEAVES_WITHIN
    assert all(each.is_stopped for each in runners)
    for turn in slow:
        turn.goes_on.set()


def test_a_fault_of_our_own_is_counted_and_the_thread_goes_on(
    runner: Runner, breakers: Breakers
) -> None:
    def broken(now: float) -> float:
        raise RuntimeError("a fault of our own")

    runner._member.turn = broken  # type: ignore[method-assign]

    assert runner.turn() == 1.0
    assert [str(each) for each in breakers.faults] == ["a fault of our own"]


def test_between_two_turns_is_no_more_than_a_second(runner: Runner) -> None:
    runner._member.turn = lambda now: 1e9  # type: ignore[method-assign]

    assert runner.turn() == 1.0


def test_to_stop_it_leaves_the_fleet_and_closes_the_store(
    runner: Runner, store: WaitingStore
) -> None:
    begun(runner, store)

    runner.stop(timeout=5.0)

    assert store.workers() == {}
    assert store.closed == 1
    runner.start()  # once stopped, it does not begin again
    assert store.workers() == {}


def test_who_has_left_is_no_worker_until_it_is_started_again(
    runner: Runner, store: WaitingStore
) -> None:
    begun(runner, store)

    runner.leave(timeout=5.0)

    assert store.workers() == {}
    assert store.closed == 0
    assert not runner.is_running
    assert runner.turn() == 1.0  # nothing is done meanwhile
    assert store.workers() == {}
    runner.leave(timeout=5.0)  # it has left already

    runner.start()
    until(lambda: bool(store.workers()), "the next turn")
    assert runner.is_running


def test_what_comes_while_it_leaves_is_told(runner: Runner, store: WaitingStore) -> None:
    begun(runner, store)
    leave = runner._member.leave

    def slow_leave(now: float) -> None:
        leave(now)
        runner._member.note_override("k", Override(since=0.0, mode=Mode.OBSERVE), False)

    runner._member.leave = slow_leave  # type: ignore[method-assign]

    runner.leave(timeout=5.0)

    until(lambda: store.get("mode k") is not None, "it is told")
    assert runner.is_running


def test_to_stop_it_lets_go_who_waits_for_it_to_leave(runner: Runner, store: WaitingStore) -> None:
    begun(runner, store)
    slow = SlowTurn(runner, lambda: setattr(runner, "_stopped", True))
    waiting = threading.Thread(target=runner.leave, args=(3600.0,))
    waiting.start()
    until(lambda: runner._left is not None, "it waits")
    slow.goes_on.set()

    waiting.join(60)

    assert not waiting.is_alive()


@pytest.mark.parametrize("timeout", [-1.0, nan, 0.0])
def test_who_does_not_wait_lets_it_leave_all_the_same(
    runner: Runner, store: WaitingStore, timeout: float
) -> None:
    begun(runner, store)

    runner.leave(timeout)

    until(lambda: not runner.is_running, "it leaves")
    assert store.workers() == {}


def test_who_has_left_can_be_stopped(runner: Runner, store: WaitingStore) -> None:
    runner.start()
    runner.leave(timeout=5.0)

    runner.stop(timeout=5.0)

    assert store.closed == 1
    runner.start()
    assert not runner.is_running


def test_to_leave_waits_no_longer_than_it_is_told_to(runner: Runner, store: WaitingStore) -> None:
    runner.leave(timeout=3600.0)  # it has not begun
    begun(runner, store)
    slow = SlowTurn(runner)

    runner.leave(timeout=0.01)

    assert runner.is_running
    slow.goes_on.set()
    until(lambda: not runner.is_running, "the thread leaves")


def test_it_keeps_no_registry_alive_and_ends_with_it(store: WaitingStore) -> None:
    breakers = Breakers()
    runner = Runner(
        Member(breakers, store, lambda: "host/1/x", lambda: 0.5), breakers.clock, breakers.fault
    )
    begun(runner, store)
    gone = weakref.ref(runner)

    del runner
    gc.collect()

    until(lambda: gone() is None, "nobody needs it")
    until(lambda: store.closed == 1, "the thread ends")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_is_another_worker_and_begins_its_own_thread(tmp_path: Path) -> None:
    script = """
import os, sys, time
from recloser import Registry, State

def until(done):
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)

registry = Registry(store=sys.argv[1])
fleet = registry.fleet
with registry["k"]:
    pass
until(lambda: fleet.is_connected)
name = fleet.name
child = os.fork()
if child == 0:
    code = 1
    try:
        assert fleet.name != name
        assert not fleet.is_connected
        registry["k"].metrics()
        until(lambda: fleet.is_connected and fleet.workers == 2)
        registry["k"].open(by="the child")
        until(lambda: "k" in fleet.status().keys)
        code = 0
    finally:
        os._exit(code)
_, status = os.waitpid(child, 0)
assert status == 0, status
until(lambda: registry["k"].state is State.OPEN)
assert fleet.name == name
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "recloser.db")],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stdout.strip() == "done", done.stderr


def test_what_was_learned_is_kept_at_the_end_of_the_process(tmp_path: Path) -> None:
    script = """
import sys, time
from recloser import Registry
registry = Registry(store=sys.argv[1])
for _ in range(100):
    registry["k"].record(0.1, success=True)
deadline = time.monotonic() + 30
while not registry.fleet.is_connected and time.monotonic() < deadline:
    time.sleep(0.01)
print(registry["k"].slow_threshold)
"""
    read = """
import sys, time
from recloser import Registry
registry = Registry(store=sys.argv[1])
breaker = registry["k"]
deadline = time.monotonic() + 30
while breaker.slow_threshold > 1.0 and time.monotonic() < deadline:
    time.sleep(0.01)
print(breaker.slow_threshold)
"""
    thresholds = [
        float(
            subprocess.run(
                [sys.executable, "-c", each, str(tmp_path / "recloser.db")],
                check=True,
                capture_output=True,
                text=True,
                timeout=100,
            ).stdout
        )
        for each in (script, read)
    ]

    assert thresholds[1] == pytest.approx(thresholds[0], rel=0.1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_what_was_learned_is_kept_at_the_end_of_a_forked_process_of_multiprocessing(
    tmp_path: Path,
) -> None:
    """Such a process runs nothing of `atexit`."""
    script = """
import multiprocessing, sys, time
from recloser import Registry

def learn():
    registry = Registry(store=sys.argv[1])
    for _ in range(100):
        registry["k"].record(0.1, success=True)
    deadline = time.monotonic() + 30
    while not registry.fleet.is_connected and time.monotonic() < deadline:
        time.sleep(0.01)

process = multiprocessing.get_context("fork").Process(target=learn)
process.start()
process.join(60)
print(process.exitcode)
"""
    path = str(tmp_path / "recloser.db")
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.stdout.strip() == "0", done.stderr
    store = store_at(path)
    assert store.get("learned k") is not None
    assert store.workers() == {}
    store.close()
