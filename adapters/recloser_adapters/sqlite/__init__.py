"""SQLite: one file as the store of a fleet, for the workers of one host.

    from recloser_adapters.sqlite import SqliteStore

    store = SqliteStore("/var/lib/shop/recloser.db")

It needs the standard library only. The file holds what the workers have in common: it is no archive.
It may be deleted at any time; the workers then make a new one.

Beside `recloser.db` there are `recloser.db-wal` and `recloser.db-shm`, which belong to it, and the
folder `recloser.db-bells`, with a socket for each worker. All of them can be read and written by the
user of the processes only, so all workers must run as the same user. On macOS and Windows nobody
checks whether the file lies on a network file system: do not put it there.

One thing cannot be defended against: who shortens `recloser.db-shm` while it is in use kills the
processes that use it (SIGBUS), because SQLite maps this file into their memory.
"""

from __future__ import annotations

from recloser_adapters.sqlite._store import SqliteStore

__all__ = ["SqliteStore"]
