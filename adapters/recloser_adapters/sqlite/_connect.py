"""Connect: opens the file, and makes our tables in an empty one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from recloser.fleet import StoreError
from recloser_adapters.sqlite import _sql
from recloser_adapters.sqlite._file import UnusableError
from recloser_adapters.sqlite._moment import moment
from recloser_adapters.sqlite._patience import code_of, execute, patiently

# SQLite's codes for a file that is none of its own, and for one that is damaged.
_BROKEN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
NOTHING: dict[str, Any] = {}
_LOG_KEPT = 4 * 2**20  # bytes of the log that stay on the disk after a checkpoint


def connect(path: str, deadline: float) -> tuple[sqlite3.Connection, str]:
    """A connection to a store, and the life of its data.

    Args:
        path: Of the file, which exists.
        deadline: When to give up, by the monotonic clock.

    Raises:
        UnusableError: It is no store of ours that this version understands.
        sqlite3.Error: It cannot be opened now.
    """
    db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
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
    def rows(sql: str, values: Mapping[str, Any] = NOTHING) -> list[Any]:
        return execute(db, sql, values, deadline).fetchall()

    # In this order, because another worker may make them meanwhile: who has seen any of it sees
    # that it is ours.
    tables = {row[0] for row in rows(_sql.OBJECTS)}
    schema = rows("PRAGMA user_version")[0][0]
    application = rows("PRAGMA application_id")[0][0]
    if application != _sql.APPLICATION and (application or schema or tables):
        raise UnusableError(
            f"{path} is the SQLite file of another program: name another path for the store"
        )
    if tables and schema != _sql.SCHEMA:
        raise UnusableError(
            f"{path} has version {schema} of the tables of a store, and this version of recloser"
            f" knows {_sql.SCHEMA}: run one version of recloser in all workers, or delete the file"
        )
    # Write-ahead log: who reads and who writes do not wait for each other. SQLite itself does not
    # wait here for others that do the same: 9 of 240 starts were told that the file is locked.
    if rows("PRAGMA journal_mode = wal")[0][0] != "wal":
        raise UnusableError(
            f"{path}: the file system cannot share memory between processes, so SQLite has no"
            " write-ahead log there: name a path on a local disk"
        )
    # NORMAL: after a power cut the last commits may be missing, and the file is whole.
    rows("PRAGMA synchronous = NORMAL")
    rows(f"PRAGMA journal_size_limit = {_LOG_KEPT}")
    rows("PRAGMA mmap_size = 0")  # who shortened a file that is mapped would kill us
    rows("PRAGMA trusted_schema = OFF")
    if not tables.issuperset(_sql.TABLES) or not rows(_sql.LIFE):
        patiently(lambda: db.executescript(_sql.CREATE), deadline)
    now = moment()
    if rows(_sql.STRANGE, now):
        for statement in _sql.ADOPT:
            rows(statement, now)
    [(life,)] = rows(_sql.LIFE)
    if not isinstance(life, str):
        raise StoreError(f"{path} has garbage in its table `meta`: delete the file")
    return life
