"""A file in trouble: a `StoreError` and nothing else, and all is well once it is mended."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.sqlite_store.conftest import Holder
from tests.support import stores
from tests.support.stores import ENGINES, Worker
from tests.support.waiting import until

from recloser.fleet import MAX_EPOCH, Store, StoreError
from recloser_adapters.sqlite import SqliteStore, _connect, _connection, _file, _patience, _store

[ENGINE] = [engine for engine in ENGINES if engine.name == "sqlite"]

METHODS: list[Callable[[Store], object]] = [
    lambda store: store.news(0),
    lambda store: store.get("name"),
    lambda store: store.swap("name", 0, 1, "text", 60.0),
    lambda store: store.swap("name", 0, 1, "text", 60.0, loud=False),
    lambda store: store.send("box", "text"),
    lambda store: store.receive("box"),
    lambda store: store.beat("worker", "text", 60.0),
    lambda store: store.leave("worker"),
    lambda store: store.workers(),
]


def outcomes(store: Store) -> list[bool]:
    """Whether each method works. Any exception but a `StoreError` is raised here."""
    works: list[bool] = []
    for method in METHODS:
        try:
            method(store)
        except StoreError:
            works.append(False)
        else:
            works.append(True)
    return works


def meet(one: Store, another: Store) -> bool:
    """Whether two workers see what the other one does, in both directions."""
    try:
        for store, reader in ((one, another), (another, one)):
            known = store.get("meeting")
            epoch = known.epoch if known is not None else 0
            assert store.swap("meeting", epoch, epoch + 1, "text", 60.0)
            fact = reader.get("meeting")
            if fact is None or fact.epoch != epoch + 1:
                return False
        return one.news(0).version == another.news(0).version
    except StoreError:
        return False


def remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        Path(f"{path}{suffix}").unlink()


# Deleted and replaced


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal"), ("", "-shm"), ("", "-wal", "-shm")])
def test_a_deleted_file_is_made_anew_and_all_meet_in_it(
    path: Path, store: SqliteStore, other: SqliteStore, suffixes: tuple[str, ...]
) -> None:
    store.swap("old", 0, 1, "text", 60.0)
    before = store.news(0)
    assert other.news(0).life == before.life

    remove(path, *suffixes)

    after = other.news(before.version)
    assert after.life != before.life
    assert (after.version, after.facts) == (0, ())
    assert store.news(0).life == after.life
    assert store.get("old") is None
    assert meet(store, other)


@pytest.mark.parametrize("moment", range(4))
def test_a_file_that_is_made_anew_while_it_is_opened_is_opened_again(
    path: Path,
    store: SqliteStore,
    other: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    """SQLite would take the log of the new file for that of the old one."""
    store.swap("old", 0, 1, "text", 60.0)
    other.swap("old", 1, 2, "text", 60.0)
    store.close()
    execute, calls = _patience.execute, list[str]()

    def interrupted(db: Any, sql: str, *arguments: Any) -> Any:
        calls.append(sql)
        if len(calls) == moment + 1:
            remove(path, "", "-wal", "-shm")
            other.swap("new", 0, 1, "text", 60.0)
        return execute(db, sql, *arguments)

    monkeypatch.setattr(_connect, "execute", interrupted)
    until(lambda: all(outcomes(store)), "it works again")

    assert store.get("new") is not None
    assert meet(store, other)


def test_the_old_log_is_removed_before_its_number_is_free(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new log can get the number of one that is closed, and would be removed in its place."""
    store.swap("old", 0, 1, "text", 60.0)
    provide, held = _file.provide, list[bool]()

    def noted(*arguments: Any) -> None:
        held.append(store._connection._db is not None)
        provide(*arguments)

    monkeypatch.setattr(_connection, "provide", noted)
    remove(path, "")
    store.news(0)

    assert held[0]


def test_eight_workers_make_a_deleted_file_anew_and_meet(path: Path, store: SqliteStore) -> None:
    workers = [Worker() for _ in range(8)]
    try:
        with ENGINE.started(path.parent) as place:
            for _ in range(3):
                store.swap("ready", 0, 1, "", 60.0)
                for number, worker in enumerate(workers):
                    worker.start(place, stores.make_anew, f"worker {number}", len(workers))
                until(lambda: len(store.news(0).facts) == 9, "all are there")
                remove(path, "")
                lives = {worker.result() for worker in workers}
                assert lives == {store.news(0).life}
                remove(path, "")
    finally:
        for worker in workers:
            worker.end()


def test_a_file_that_was_replaced_is_the_store_from_now_on(
    path: Path, store: SqliteStore, other: SqliteStore
) -> None:
    replacement = SqliteStore(path.parent / "another.db")
    replacement.swap("new", 0, 7, "text", 60.0)
    life = replacement.news(0).life
    replacement.close()
    store.swap("old", 0, 1, "text", 60.0)
    other.swap("old", 1, 2, "text", 60.0)

    os.replace(path.parent / "another.db", path)

    assert [store.news(0).life, other.news(0).life] == [life, life]
    assert [fact.name for fact in other.news(0).facts] == ["new"]
    assert store.get("old") is None
    assert meet(store, other)


def test_a_deleted_log_is_an_error_until_all_have_noticed(
    path: Path, store: SqliteStore, other: SqliteStore
) -> None:
    store.swap("name", 0, 1, "text", 60.0)
    other.swap("name", 1, 2, "text", 60.0)

    remove(path, "-wal")

    until(lambda: [outcomes(each) for each in (store, other)] == [[True] * 9] * 2, "both work")
    assert meet(store, other)


def test_a_deleted_folder_is_an_error_until_it_is_back(path: Path, store: SqliteStore) -> None:
    outcomes(store)
    shutil.rmtree(path.parent)

    assert outcomes(store) == [False] * 9
    path.parent.mkdir()

    assert outcomes(store) == [True] * 9


def test_a_file_of_another_program_in_its_place_is_an_error(
    path: Path, store: SqliteStore, sql: Callable[..., list[Any]]
) -> None:
    outcomes(store)
    store.close()
    path.unlink()
    sql("CREATE TABLE orders (id INTEGER)")

    assert outcomes(store) == [False] * 9
    with pytest.raises(StoreError, match="of another program"):
        store.news(0)
    path.unlink()

    assert outcomes(store) == [True] * 9


# Damaged


@pytest.mark.parametrize(("begin", "length"), [(0, 4096), (0, 65536), (4096, 65536), (100, 8)])
def test_a_damaged_file_is_an_error_until_it_is_deleted(
    path: Path, store: SqliteStore, overwrite: Callable[[int, int], None], begin: int, length: int
) -> None:
    outcomes(store)
    store.close()
    overwrite(begin, length)

    assert not all(outcomes(store))
    assert not all(outcomes(store))
    remove(path, "")

    assert outcomes(store) == [True] * 9


def test_a_file_that_is_damaged_while_it_is_open_raises_nothing_else(
    path: Path, store: SqliteStore, overwrite: Callable[[int, int], None]
) -> None:
    outcomes(store)
    overwrite(0, 65536)

    for _ in range(5):
        outcomes(store)
    remove(path, "")

    assert outcomes(store) == [True] * 9


GARBAGE = [
    "UPDATE facts SET epoch = 'x'",
    "UPDATE facts SET epoch = 1.5",
    "UPDATE facts SET text = x'00ff'",
    "UPDATE facts SET text = CAST(x'ff' AS TEXT)",
    "UPDATE facts SET name = CAST(x'ff' AS TEXT)",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_a_fact_is_an_error_until_it_is_deleted(
    store: SqliteStore, sql: Callable[..., list[Any]], garbage: str
) -> None:
    store.swap("name", 0, 1, "text", 60.0)
    version = store.news(0).version

    sql("PRAGMA ignore_check_constraints = ON", garbage)

    with pytest.raises(StoreError):
        store.news(0)
    assert store.news(version).facts == ()
    sql("DELETE FROM facts")
    assert outcomes(store) == [True] * 9


@pytest.mark.parametrize(
    "garbage",
    [
        "UPDATE facts SET ttl = 'x', written = 'y', loud = 'z'",
        "UPDATE facts SET written = 1e300",
        "UPDATE facts SET written = 9e999, boot = 7, wall = 9e999",
        "UPDATE facts SET written = -9e999",
        "UPDATE facts SET ttl = -9e999",
        "UPDATE facts SET boot = x'ff'",
        "UPDATE mail SET text = x'ff'",
        "UPDATE mail SET taken = x'ff'",
        "UPDATE mail SET written = 'x'",
        "UPDATE workers SET text = x'ff'",
        "UPDATE workers SET text = 7, ttl = 'x'",
    ],
)
def test_other_garbage_is_as_good_as_nothing(
    store: SqliteStore, sql: Callable[..., list[Any]], garbage: str
) -> None:
    store.swap("name", 0, 1, "text", 60.0)
    store.send("box", "text")
    store.beat("worker", "text", 60.0)

    sql("PRAGMA ignore_check_constraints = ON", garbage)

    fact = store.get("name")
    assert fact is None or 0.0 <= fact.age < 60.0
    assert outcomes(store) == [True] * 9
    assert store.workers() == {}  # METHODS has ended it
    assert store.beat("worker", "text", 60.0) == 1


@pytest.mark.parametrize("loud", [True, False])
@pytest.mark.parametrize("epoch", [MAX_EPOCH + 1, 2**63 - 1])
def test_an_epoch_that_is_garbage_is_told_and_written_over(
    store: SqliteStore, sql: Callable[..., list[Any]], epoch: int, loud: bool
) -> None:
    store.swap("name", 0, 1, "text", 60.0)

    sql(f"UPDATE facts SET epoch = {epoch}")

    assert [fact.epoch for fact in store.news(0).facts] == [epoch]
    assert store.get("name") is None
    assert store.swap("name", 6, 7, "mended", 60.0, loud=loud)
    fact = store.get("name")
    assert fact is not None
    assert (fact.epoch, fact.text) == (7, "mended")


@pytest.mark.parametrize("table", ["facts", "mail", "workers", "meta"])
def test_a_table_that_was_dropped_is_made_anew(
    store: SqliteStore, sql: Callable[..., list[Any]], table: str
) -> None:
    outcomes(store)
    life = store.news(0).life
    sql(f"DROP TABLE {table}")

    outcomes(store)

    assert outcomes(store) == [True] * 9
    assert (store.news(0).life != life) == (table in {"facts", "meta"})


@pytest.mark.parametrize("deleted", ["meta", "facts", "mail", "workers", "sqlite_sequence"])
def test_rows_that_were_deleted_are_made_anew_as_far_as_opening_makes_them(
    store: SqliteStore, other: SqliteStore, sql: Callable[..., list[Any]], deleted: str
) -> None:
    outcomes(store)
    outcomes(other)
    life = store.news(0).life
    sql(f"DELETE FROM {deleted}")

    outcomes(store)

    assert outcomes(store) == [True] * 9
    assert outcomes(other) == [True] * 9
    assert (store.news(0).life != life) == (deleted == "meta")
    assert meet(store, other)


def test_a_version_that_comes_while_it_is_open_is_an_error(
    store: SqliteStore, opened: Callable[[], SqliteStore], sql: Callable[..., list[Any]]
) -> None:
    late = opened()
    sql("PRAGMA user_version = 9")

    with pytest.raises(StoreError, match="has version 9 of the tables"):
        late.news(0)


# Full and locked


def test_a_full_disk_is_an_error_until_there_is_room(path: Path, worker: Worker) -> None:
    with ENGINE.started(path.parent) as place:
        written, said, mended = worker.do(place, stores.fill_the_disk)

    assert written > 0
    assert "disk" in said
    assert mended


WRITES = [True, True, False, False, False, True, False, False, True]


@pytest.mark.parametrize("mend", [Holder.kill, Holder.release])
def test_a_process_that_was_stopped_while_it_writes_stops_no_reader(
    store: SqliteStore, hold: Callable[..., Holder], mend: Callable[[Holder], None]
) -> None:
    store.swap("before", 0, 1, "text", 60.0)
    holder = hold("BEGIN IMMEDIATE", "DELETE FROM facts")
    os.kill(holder.process.pid, signal.SIGSTOP)

    assert outcomes(store) == WRITES
    assert store.get("before") is not None
    os.kill(holder.process.pid, signal.SIGCONT)
    mend(holder)

    assert outcomes(store) == [True] * 9
    assert store.get("before") is not None


def test_mail_that_could_not_be_taken_is_not_lost(
    store: SqliteStore, hold: Callable[..., Holder]
) -> None:
    store.send("box", "text")
    holder = hold("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="locked"):
        store.receive("box")
    holder.release()

    assert [text for text, _ in store.receive("box")] == ["text"]


def test_the_log_does_not_grow_without_end_while_a_reader_is_stopped(
    path: Path,
    store: SqliteStore,
    hold: Callable[..., Holder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_connection, "MAX_LOG", 2**20)
    monkeypatch.setattr(_store, "_TIDY_EVERY", 0.0)
    store.beat("worker", "text", 60.0)
    holder = hold("BEGIN", "SELECT * FROM facts")
    os.kill(holder.process.pid, signal.SIGSTOP)

    def write_much() -> None:
        for number in range(200):
            store.send("box", "x" * 50_000)
            store.beat("worker", str(number), 60.0)

    with monkeypatch.context() as patched:
        patched.setattr(_store, "_BOUND_EVERY", 10**9)
        store._tidy_at = 0.0
        with pytest.raises(StoreError, match="cannot be shortened"):
            write_much()
    assert Path(f"{path}-wal").stat().st_size < 2 * 2**20
    assert store.workers().keys() == {"worker"}
    holder.kill()

    store.beat("worker", "text", 60.0)
    assert Path(f"{path}-wal").stat().st_size < 2**20
