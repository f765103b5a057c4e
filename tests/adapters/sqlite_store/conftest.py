"""A store in a folder of its own, and what disturbs it from outside."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Worker

from recloser_adapters.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recloser.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], SqliteStore]]:
    """Opens the store once more, as another worker does."""
    with ExitStack() as stack:

        def open_one() -> SqliteStore:
            store = SqliteStore(path)
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(opened: Callable[[], SqliteStore]) -> SqliteStore:
    return opened()


@pytest.fixture
def other(opened: Callable[[], SqliteStore]) -> SqliteStore:
    return opened()


@pytest.fixture
def sql(path: Path) -> Callable[..., list[Any]]:
    """Executes SQL in the file, as a stranger does."""

    def sql(*statements: str) -> list[Any]:
        rows: list[Any] = []
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            for statement in statements:
                rows = db.execute(statement).fetchall()
        return rows

    return sql


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.end()


@pytest.fixture
def wake() -> Iterator[int]:
    """A file descriptor that cannot be read."""
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


# Reads SQL from its arguments, says that it is done, and keeps its transaction open.
HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.readline()
db.rollback()
print("released", flush=True)
"""


class Holder:
    """Another process in a transaction."""

    def __init__(self, path: Path, *statements: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), *statements],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._says("held")

    def _says(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._says("released")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[..., Holder]]:
    """Starts another process that executes statements and keeps its transaction open."""
    with ExitStack() as stack:

        def hold(*statements: str) -> Holder:
            holder = Holder(path, *statements)
            stack.callback(holder.kill)
            return holder

        yield hold


@pytest.fixture
def overwrite(path: Path) -> Callable[[int, int], None]:
    """Writes noise over a part of the file, in another process.

    In this one, closing the file would give up the locks that SQLite has on it.
    """

    def overwrite(begin: int, length: int) -> None:
        script = (
            "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY);"
            " os.pwrite(fd, b'noise!!!' * (int(sys.argv[3]) // 8), int(sys.argv[2]))"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(path), str(begin), str(length)], check=True
        )

    return overwrite
