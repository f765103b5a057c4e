"""Connect: opens the file, and makes our tables in an empty one."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress

from recloser.fleet import StoreError
from recloser_adapters.sqlite import _sql
from recloser_adapters.sqlite._file import UnusableError
from recloser_adapters.sqlite._moment import moment
from recloser_adapters.sqlite._native import native

# SQLite's codes for a file that is none of its own, and for one that is damaged.
_BROKEN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_LOG_KEPT = 4 * 2**20  # bytes of the log that stay on the disk after a checkpoint


def code_of(error: BaseException) -> int:
    """The primary result code of an error of SQLite; 0 if it has none."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0


def connect(path: str, deadline: float) -> tuple[sqlite3.Connection, str]:
    """A connection to a store, and the life of its data.

    Args:
        path: Of the file, which exists.
        deadline: When to give up, by the monotonic clock.

    Raises:
        UnusableError: It is no store of ours that this version understands.
        sqlite3.Error: It cannot be opened now.
    """
    patience = max(0.0, deadline - time.monotonic())
    db = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        life = _prepared(db, path, deadline)
    except BaseException as error:
        with suppress(sqlite3.Error):
            db.close()
        if code_of(error) in _BROKEN:
            raise UnusableError(
                f"{path} is damaged or is no SQLite file ({error}): delete it if it is a store,"
                " else name another path"
            ) from error
        raise
    return db, life


def _prepared(db: sqlite3.Connection, path: str, deadline: float) -> str:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    schema = db.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in db.execute(_sql.OBJECTS)}
    if application != _sql.APPLICATION and (application or schema or tables):
        raise UnusableError(
            f"{path} is the SQLite file of another program: name another path for the store"
        )
    if tables and schema != _sql.SCHEMA:
        raise UnusableError(
            f"{path} has version {schema} of the tables of a store, and this version of recloser"
            f" knows {_sql.SCHEMA}: run one version of recloser in all workers, or delete the file"
        )
    _set_wal(db, path, deadline)
    # NORMAL: after a power cut the last commits may be missing, and the file is whole.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT}")
    db.execute("PRAGMA mmap_size = 0")  # who shortened a file that is mapped would kill us
    db.execute("PRAGMA trusted_schema = OFF")
    if not tables.issuperset(_sql.TABLES) or db.execute(_sql.LIFE).fetchone() is None:
        db.executescript(_sql.CREATE)
    now = moment()
    if db.execute(_sql.STRANGE, now).fetchone() is not None:
        for statement in _sql.ADOPT:
            db.execute(statement, now)
    life = db.execute(_sql.LIFE).fetchone()[0]
    if not isinstance(life, str):
        raise StoreError(f"{path} has garbage in its table `meta`: delete the file")
    return life


def _set_wal(db: sqlite3.Connection, path: str, deadline: float) -> None:
    """Write-ahead log: who reads and who writes do not wait for each other.

    SQLite does not wait here for others that do the same, whatever its time-out says: 9 of 240
    starts were told that the file is locked.
    """
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode = wal").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            native("time", "sleep")(0.002)
    if mode != "wal":
        raise UnusableError(
            f"{path}: the file system cannot share memory between processes, so SQLite has no"
            " write-ahead log there: name a path on a local disk"
        )
