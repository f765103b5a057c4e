"""The thread that exporters use: nobody waits for it, and it never fills the memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial

import pytest

from recloser_adapters._background import Background


class Faults(list[Exception]):
    """Keeps faults."""


def test_work_is_done_in_order_in_another_thread() -> None:
    done: list[tuple[int, int]] = []
    background = Background("test", Faults().append)

    def work(number: int) -> None:
        done.append((number, threading.get_ident()))

    for number in range(100):
        background.put(partial(work, number))

    assert background.flush(20)
    assert [number for number, _ in done] == [*range(100)]
    assert {thread for _, thread in done} != {threading.get_ident()}
    assert background.dropped == 0


def test_what_raises_is_a_fault_and_the_next_work_is_done() -> None:
    faults, done = Faults(), list[int]()
    background = Background("test", faults.append)
    background.put(lambda: 1 // 0)
    background.put(lambda: done.append(1))

    assert background.flush(20)
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
    assert done == [1]


def test_what_is_too_much_is_dropped_and_counted() -> None:
    faults, released, begun = Faults(), threading.Event(), threading.Event()
    background = Background("test", faults.append, size=3)

    def hang() -> None:
        begun.set()
        assert released.wait(60)

    background.put(hang)
    assert begun.wait(60)
    for _ in range(5):
        background.put(lambda: None)

    assert background.dropped == 2
    assert len(faults) == 2
    assert not background.flush(0.01)
    released.set()
    assert background.flush(20)


def test_work_may_hand_over_more_work() -> None:
    done: list[int] = []
    background = Background("test", Faults().append)
    background.put(lambda: background.put(lambda: done.append(1)))

    assert background.flush(20)
    assert done == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    """In an interpreter of its own: this one may have threads of other tests."""
    script = """
import os
from recloser_adapters._background import Background
background = Background("test", print)
background.put(lambda: None)
assert background.flush(20)
process = os.fork()
done = []
background.put(lambda: done.append(1))
right = background.flush(20) and done == [1]
if process == 0:
    os._exit(0 if right else 1)
assert right
assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
"""
    _run(script)


def test_the_end_of_the_process_waits_for_what_is_queued() -> None:
    script = """
import time
from recloser_adapters._background import Background
background = Background("test", print)
background.put(lambda: time.sleep(0.2))
background.put(lambda: print("done", flush=True))
"""
    assert _run(script) == "done\n"


def _run(script: str) -> str:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
    ).stdout
