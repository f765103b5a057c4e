"""The store: what its methods do, as statements of SQL."""

from __future__ import annotations

import math
import os
import secrets
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from recloser.fleet import MAX_EPOCH, Fact, News, StoreError
from recloser_adapters.sqlite import _sql
from recloser_adapters.sqlite._bell import Bell
from recloser_adapters.sqlite._connection import Connection, IncompleteError
from recloser_adapters.sqlite._file import UnusableError, checked
from recloser_adapters.sqlite._moment import moment
from recloser_adapters.sqlite._readable import readable

_MAX_TEXT = 1_000_000  # bytes
_MAX_MAIL = 2000  # texts in a box
_MAIL_TTL = 10.0  # seconds
_BOUND_EVERY = 64  # texts that one worker sends, until it looks how many a box has
_TIDY_EVERY = 10.0  # seconds
_POLL = 0.1  # seconds, where there is no bell


class SqliteStore:
    """One file that the workers of a host share: a `recloser.fleet.Store`.

    It is made in any thread, and used by one thread at a time, which must not be a greenlet: a locked
    file is waited for, up to a quarter of a second. A process that was forked may use it as well.

    What fails later raises `StoreError`, also where the file is deleted, replaced, full, locked or
    damaged, and works again as soon as that is mended.

    Args:
        path: The file, in a folder that exists, on a disk of this host. It is made if it is missing,
            for the user of this process only.
        namespace: Which workers share: those with the same one. Not empty.

    Raises:
        TypeError: The path or the namespace has another type.
        ValueError: The file cannot be a store, and the message says what to do: its folder is missing
            or lies on a network file system, this user may not write to it, it belongs to another
            program or another version of recloser, or it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, namespace: str = "recloser") -> None:
        if not isinstance(namespace, str):
            raise TypeError(f"namespace must be a str, not {namespace!r}")
        if not namespace:
            raise ValueError("namespace must not be empty: leave it out, or name your app")
        self._path = checked(path)
        self._namespace = namespace
        self._connection = Connection(self._path)
        self._bell = Bell(self._path, namespace)
        self._begin()
        _at_fork(self)
        try:
            with self._connection.use():
                pass
        except UnusableError as error:
            raise ValueError(str(error)) from error
        except StoreError:
            pass  # locked, full: that passes, and each method says it until then
        finally:
            # The process that makes the store may be one that only forks workers.
            self._connection.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._me = secrets.token_hex(8)
        self._opened = 0
        self._data_version: int | None = None
        self._polled: int | None = None
        self._news = News(0, (), "")
        self._sent = 0
        self._tidy_at = time.monotonic() + _TIDY_EVERY

    def __repr__(self) -> str:
        return f"SqliteStore({self._path!r}, namespace={self._namespace!r})"

    @property
    def place(self) -> str:
        """Where it is, such as `sqlite:/var/lib/shop/recloser.db`."""
        return f"sqlite:{self._path}"

    @contextmanager
    def _use(self) -> Generator[Connection, None, None]:
        if self._pid != os.getpid():
            self.after_fork()
        with self._connection.use() as connection:
            if connection.opened != self._opened:
                self._opened = connection.opened
                self._data_version = self._polled = None
            yield connection

    def _values(self, **values: Any) -> dict[str, Any]:
        return {"namespace": self._namespace, **moment(), **values}

    def news(self, since: int) -> News:
        """The facts that were changed loudly after a version; 0 for all.

        Where nobody has written, it costs some microseconds.
        """
        with self._use() as connection:
            # Before the rows are read: what is written in between is seen the next time.
            data_version = self._polled = connection.read(_sql.DATA_VERSION)[0][0]
            if data_version == self._data_version and since == self._news.version:
                return self._news
            rows = connection.read(_sql.NEWS, self._values(since=since))
            if not rows:
                raise IncompleteError(f"{self._path} has lost the row `life` of its table `meta`")
            life, version = rows[0][0], rows[0][1] or 0
            facts = tuple(_fact(row[2:]) for row in rows if row[2] is not None)
            self._data_version, self._news = data_version, News(version, (), life)
            return News(version, facts, life)

    def get(self, name: str) -> Fact | None:
        """One fact, loud or not; None if there is none, or its time is over."""
        with self._use() as connection:
            rows = connection.read(_sql.GET, self._values(name=name))
        return _fact(rows[0]) if rows else None

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        """Set a fact if its epoch in the store is `before`, or it has none; see `Store.swap`.

        A text has 1 MB at most.
        """
        if epoch <= before:
            raise StoreError(f"epoch must be greater than before={before!r}, not {epoch!r}")
        _check(text, ttl)
        if epoch > MAX_EPOCH:
            return False
        with self._use() as connection:
            values = self._values(
                name=name, before=before, epoch=epoch, text=text, ttl=float(ttl), loud=int(loud)
            )
            changed = connection.write(_sql.SWAP_LOUD if loud else _sql.SWAP_QUIET, values)
            if loud and changed:
                # SQLite tells only of what others have written.
                self._data_version = None
        if loud and changed:
            self.ring()
        return changed > 0

    def send(self, box: str, text: str) -> None:
        """Put a text into a box, where it lives for 10 s.

        A text has 1 MB at most, a box 2,000 texts: the oldest go first.
        """
        _check(text, _MAIL_TTL)
        with self._use() as connection:
            connection.write(_sql.SEND, self._values(box=box, text=text, ttl=_MAIL_TTL))
            self._sent += 1
            if self._sent % _BOUND_EVERY == 0:
                connection.write(_sql.BOUND, self._values(box=box, most=_MAX_MAIL))

    def receive(self, box: str) -> list[tuple[str, float]]:
        """Take all texts out of a box, the oldest first, each with its age in seconds."""
        with self._use() as connection:
            values = self._values(box=box, me=self._me)
            if not connection.read(_sql.ANY, values):
                return []
            connection.write(_sql.MARK, values)
            rows = connection.read(_sql.READ, values)
            connection.write(_sql.TAKE, values)
        return [(text, age) for text, age in rows[-_MAX_MAIL:] if isinstance(text, str)]

    def beat(self, worker: str, text: str, ttl: float) -> int:
        """Say that a worker is alive for `ttl` seconds; return how many are, itself included.

        It also deletes old rows, every 10 s.
        """
        _check(text, ttl)
        with self._use() as connection:
            values = self._values(worker=worker, text=text, ttl=float(ttl))
            connection.write(_sql.BEAT, values)
            alive: int = connection.read(_sql.ALIVE, values)[0][0]
            if time.monotonic() >= self._tidy_at:
                self._tidy_at = time.monotonic() + _TIDY_EVERY
                connection.tidy()
        return alive

    def leave(self, worker: str) -> None:
        """Say that a worker is gone."""
        with self._use() as connection:
            connection.write(_sql.LEAVE, self._values(worker=worker))

    def workers(self) -> dict[str, str]:
        """The workers that are alive, each with the text of its last beat."""
        with self._use() as connection:
            rows = connection.read(_sql.WORKERS, self._values())
        return {worker: text for worker, text in rows if isinstance(text, str)}

    def ring(self) -> None:
        """Ring the bell of all other workers. It does not raise."""
        if self._pid != os.getpid():
            self.after_fork()
        self._bell.ring()

    def wait(self, seconds: float, wake: int) -> bool:
        """Wait until the bell rings, `wake` can be read, or the time is over. It does not raise.

        Where there are no UNIX sockets, it looks each 0.1 s whether another process has written
        anything, and returns True if so.
        """
        if self._pid != os.getpid():
            self.after_fork()
        until = time.monotonic() + seconds
        bell = self._bell.listen()
        while True:
            left = max(0.0, until - time.monotonic())
            ready = readable(
                (wake, -1 if bell is None else bell), left if bell is not None else min(left, _POLL)
            )
            if bell in ready:
                if self._bell.rang():
                    return True
                bell = None
            if wake in ready:
                if _is_open(wake):
                    return False
                wake = -1
            if bell is None:
                changed, self._polled = self._connection.has_changed(self._polled)
                if changed:
                    return True
            if time.monotonic() >= until:
                return False

    def close(self) -> None:
        """Give back the connection and the bell. It may be called twice; further use opens anew."""
        if self._pid != os.getpid():
            self.after_fork()
        self._connection.close()
        self._bell.close()

    def after_fork(self) -> None:
        """Drop, in a forked child, what belongs to the parent; in the parent it does nothing."""
        if self._pid != os.getpid():
            self._connection.after_fork()
            self._bell.forget()
            self._begin()

    def _before_fork(self) -> None:
        self._connection.before_fork()

    def _after_fork_in_parent(self) -> None:
        self._connection.after_fork_in_parent()


def _fact(row: tuple[Any, ...]) -> Fact:
    name, epoch, text, age = row
    if not (isinstance(name, str) and isinstance(epoch, int) and isinstance(text, str)):
        raise StoreError(f"garbage in the table `facts`, at the name {name!r}: delete the row")
    return Fact(name, epoch, text, age)


def _check(text: str, ttl: float) -> None:
    if len(text) > _MAX_TEXT or len(text.encode("utf-8", "surrogatepass")) > _MAX_TEXT:
        raise StoreError(f"a text of more than {_MAX_TEXT} bytes is not kept")
    if not 0.0 < ttl < math.inf:
        raise StoreError(f"ttl must be > 0 and finite, in seconds, not {ttl!r}")


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _at_fork(store: SqliteStore) -> None:
    """Tell a store of forks, as long as it lives."""
    if not hasattr(os, "register_at_fork"):
        return
    this = weakref.ref(store)

    def telling(do: Callable[[SqliteStore], object]) -> Callable[[], None]:
        def tell() -> None:
            alive = this()
            if alive is not None:
                with suppress(Exception):
                    do(alive)

        return tell

    os.register_at_fork(
        before=telling(SqliteStore._before_fork),
        after_in_parent=telling(SqliteStore._after_fork_in_parent),
        after_in_child=telling(SqliteStore.after_fork),
    )
