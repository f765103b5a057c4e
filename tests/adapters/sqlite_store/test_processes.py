"""Forks at any moment, and threads of gevent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support import stores
from tests.support.stores import ENGINES, Place, Worker
from tests.support.waiting import PATIENCE

from recloser_adapters.sqlite import SqliteStore, _connect, _patience

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
[ENGINE] = [engine for engine in ENGINES if engine.name == "sqlite"]


@pytest.fixture
def place(path: Path) -> Place:
    [place] = ENGINE.start(path.parent)
    return place


@pytest.mark.parametrize("moment", range(12))
def test_two_workers_may_make_the_file_at_the_same_time(
    path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The second one does all of it between two statements of the first."""
    execute, done, lives = _patience.execute, list[str](), list[str]()

    def interrupted(db: Any, sql: str, *arguments: Any) -> Any:
        if len(done) == moment and not lives:
            lives.append("")  # not while the second one is at it
            second = SqliteStore(path)
            lives[:] = [second.news(0).life]
            second.swap("name", 0, 1, "text", 60.0)
            second.close()
        done.append(sql)
        return execute(db, sql, *arguments)

    monkeypatch.setattr(_connect, "execute", interrupted)
    first = SqliteStore(path)

    fact = first.get("name")
    assert [first.news(0).life] == lives
    assert fact is not None
    first.close()


def test_eight_processes_start_in_an_empty_folder(tmp_path: Path) -> None:
    workers = [Worker() for _ in range(8)]
    try:
        for number in range(5):
            folder = tmp_path / str(number)
            folder.mkdir()
            [place] = ENGINE.start(folder)
            for each, worker in enumerate(workers):
                worker.start(place, stores.send_all, "box", each, 1)
            for worker in workers:
                worker.result()
            store = place.open()
            assert len(store.receive("box")) == 8
            store.close()
    finally:
        for worker in workers:
            worker.end()


@needs_fork
def test_a_fork_in_mid_operation_harms_neither_child_nor_parent(
    place: Place, store: SqliteStore, worker: Worker
) -> None:
    assert worker.do(place, stores.fork_in_mid_operation, 20) == [0] * 20

    facts = {fact.name: fact.epoch for fact in store.news(0).facts}
    assert facts.pop("of the thread") > 0
    assert facts == {f"child {number}": 5 for number in range(20)}


@needs_fork
@pytest.mark.parametrize(("is_in_use", "code"), [(False, 0), (True, 3)])
def test_a_fork_that_python_was_not_told_of_is_noticed(
    place: Place, store: SqliteStore, worker: Worker, is_in_use: bool, code: int
) -> None:
    assert worker.do(place, stores.fork_without_hooks, is_in_use) == code

    facts = {fact.name: fact.epoch for fact in store.news(0).facts}
    assert facts == {"parent": 2} | ({} if is_in_use else {"child": 1})


GEVENT = """
import sys
from recloser_adapters.sqlite import SqliteStore, _connect, _patience
if sys.argv[2] == "made before":
    store = SqliteStore(sys.argv[1])
from gevent import monkey
monkey.patch_all()
import gevent, os, time
if sys.argv[2] == "made after":
    store = SqliteStore(sys.argv[1])
reader, writer = os.pipe()
other = SqliteStore(sys.argv[1])
done = []

def work():
    try:
        assert other.swap("name", 0, 1, "text", 60.0)
        done.append("waits")
        assert other.wait(20.0, reader)
        done.append("rang")
        while other.wait(20.0, reader):  # it was rung more than once
            pass
    except BaseException as error:
        done.append(repr(error))
    done.append("ended")

monkey.get_original("_thread", "start_new_thread")(work, ())
until = time.monotonic() + 20.0

def turn(word):
    # If the thread blocked the hub, this would not go on.
    while word not in done and time.monotonic() < until:
        gevent.sleep(0.01)
        if word == "rang":
            store.ring()

turn("waits")
turn("rang")
os.write(writer, b"x")
turn("ended")
assert store.get("name").text == "text"
print(*done)
store.close()
other.close()
"""


@pytest.mark.parametrize("made", ["made before", "made after"])
def test_a_native_thread_under_gevent_waits_for_no_hub(path: Path, made: str) -> None:
    pytest.importorskip("gevent")

    ran = subprocess.run(
        [sys.executable, "-c", GEVENT, str(path), made],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )

    assert ran.stdout == "waits rang ended\n", ran.stderr


def test_gevent_is_not_imported_for_it(path: Path) -> None:
    script = (
        "import sys; from recloser_adapters.sqlite import SqliteStore;"
        " SqliteStore(sys.argv[1]).news(0); assert 'gevent' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=3 * PATIENCE)
