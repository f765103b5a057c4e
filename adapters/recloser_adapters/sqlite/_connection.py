"""Connection: the open file of one worker, which it opens again whenever that is needed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from recloser.fleet import StoreError
from recloser_adapters.sqlite import _sql
from recloser_adapters.sqlite._connect import NOTHING, connect
from recloser_adapters.sqlite._file import Identity, identity, mend_modes, provide
from recloser_adapters.sqlite._moment import moment
from recloser_adapters.sqlite._native import native
from recloser_adapters.sqlite._patience import code_of, execute

# Seconds that one method may wait for the locks of other processes, and of other threads. What it
# does beside that takes some milliseconds.
_LONGEST = 0.2

# Bytes of the log above which nothing more is written: it can grow while a process that was stopped
# holds an old state of the file, and only then.
MAX_LOG = 64 * 2**20

# After these errors the connection is still good. After any other the file is opened anew.
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


class IncompleteError(StoreError):
    """A row is missing that opening the file makes: the file is opened anew, which makes it again."""


class Connection:
    """A connection that survives: other files at its path, errors, threads and forks.

    Args:
        path: Of the file, absolute and without symbolic links.

    Attributes:
        life: Names the life of the data; empty before the first connection.
        opened: How many connections there were.
    """

    def __init__(self, path: str) -> None:
        self.life = ""
        self.opened = 0
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._deadline = 0.0
        self._is_swollen = False
        self._lost: sqlite3.Connection | None = None
        # Not a lock that gevent has replaced: a thread of the operating system waits for it.
        self._lock: Any = native("_thread", "allocate_lock")()
        self._forking: int | None = None

    @contextmanager
    def use(self) -> Generator[Connection, None, None]:
        """Hold the open connection for one method; any exception becomes a `StoreError`."""
        lock = self._lock
        if not lock.acquire(timeout=_LONGEST):
            raise StoreError(f"{self._path} is in use by another thread")
        try:
            self._deadline = time.monotonic() + _LONGEST
            self._ready()
            yield self
        except IncompleteError:
            # A table that is missing is an error of SQLite, and so is handled below.
            self._drop()
            raise
        except StoreError:
            raise
        except Exception as error:
            if isinstance(error, OSError | sqlite3.Error) and code_of(error) not in _PASSING:
                self._drop()
            raise StoreError(f"{self._path}: {type(error).__name__}: {error}") from error
        finally:
            lock.release()

    def _ready(self) -> None:
        if self._lost is not None:
            raise StoreError(
                "this process was forked while its parent used the store, so it cannot use it"
            )
        found = identity(self._path)
        if self._db is not None and found == self._identity:
            return
        # Before the old one is closed: a new log might get its number, and would be removed for it.
        provide(self._path, self._identity if self._db is not None else None, self._deadline)
        self._drop()
        self._identity = None
        while not self._open():
            if time.monotonic() >= self._deadline:
                raise StoreError(f"{self._path} is deleted or replaced all the time")

    def _open(self) -> bool:
        """Open the file; return False if it became another one meanwhile.

        SQLite opens first the file and then its log. Who writes to the log of another file destroys
        that file.
        """
        provide(self._path, None, self._deadline)
        mend_modes(self._path)
        file, log = identity(self._path)
        db, life = connect(self._path, self._deadline)
        now = identity(self._path)
        if now[0] != file or now[1] is None or (log is not None and now[1] != log):
            db.close()
            return False
        self._db, self.life, self._identity = db, life, now
        self.opened += 1
        return True

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def read(self, sql: str, values: Mapping[str, Any] = NOTHING) -> list[Any]:
        """All rows of a statement that only reads."""
        assert self._db is not None
        return execute(self._db, sql, values, self._deadline).fetchall()

    def write(self, sql: str, values: Mapping[str, Any]) -> int:
        """Execute a statement that writes; return how many rows it has changed.

        Raises:
            StoreError: The log has grown too long.
        """
        assert self._db is not None
        if self._is_swollen and self._swollen(self._db):
            raise StoreError(
                f"the log {self._path}-wal has more than {MAX_LOG >> 20} MB and cannot be shortened:"
                " a process that uses the store hangs or was stopped"
            )
        return execute(self._db, sql, values, self._deadline).rowcount

    def tidy(self) -> None:
        """Delete what nobody wants any more, and shorten the log; where that fails, do it later."""
        assert self._db is not None
        now = moment()
        with suppress(sqlite3.OperationalError):
            for statement in _sql.CLEAN:
                execute(self._db, statement, now, self._deadline)
            self._is_swollen = self._swollen(self._db)

    def _swollen(self, db: sqlite3.Connection) -> bool:
        log = f"{self._path}-wal"
        if os.stat(log).st_size <= MAX_LOG:
            return False
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return os.stat(log).st_size > MAX_LOG

    def has_changed(self, version: int | None) -> tuple[bool, int | None]:
        """Whether others have written since a version of the data, and which version it is now.

        It does not raise.
        """
        lock = self._lock
        if not lock.acquire(False):
            return False, version
        try:
            if self._db is None:
                return False, version
            now: int = self._db.execute(_sql.DATA_VERSION).fetchone()[0]
            return version is not None and now != version, now
        except sqlite3.Error:
            return False, version
        finally:
            lock.release()

    def close(self) -> None:
        """Close it; the next use opens it again."""
        held = self._lock.acquire(timeout=2 * _LONGEST)
        try:
            if held and self._lost is None:
                self._drop()
                self._identity = None
        finally:
            if held:
                self._lock.release()

    def before_fork(self) -> None:
        """Close it in the parent, and keep the others out until the child is there.

        A child that opens the file while it has a connection of its parent ends on a log that was
        deleted: SQLite believes that the locks of the parent are its own.
        """
        if self._lock.acquire(timeout=2 * _LONGEST):
            self._forking = native("_thread", "get_ident")()
            with suppress(Exception):
                self._drop()

    def after_fork_in_parent(self) -> None:
        """Let the others in again."""
        # A lock that another thread holds was not ours to take.
        if self._forking == native("_thread", "get_ident")():
            self._forking = None
            self._lock.release()

    def after_fork(self) -> None:
        """Drop, in a child, what belongs to the parent."""
        is_free = self._forking is not None or not self._lock.locked()
        self._forking = None
        self._lock = native("_thread", "allocate_lock")()
        self._identity = None
        if self._db is None:
            return
        if is_free:
            # Nobody used it, so its locks are open. To close it does not disturb the parent, whose
            # locks on the file tell SQLite that others are still connected.
            self._drop()
        else:
            self._lost, self._db = self._db, None
            _keep(self._lost)


def _keep(db: sqlite3.Connection) -> None:
    """Never close a connection: a thread that does not exist here holds its locks for ever."""
    with suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
