"""Processes: what all workers of one app tell, whichever of them is scraped.

Prometheus asks one port, and some worker answers. So each process keeps its figures in a file of the
folder that PROMETHEUS_MULTIPROC_DIR names, and the worker that is asked reads them all. A thread of each
process writes the file every two seconds, and once more at its end; the request path does nothing for it.

prometheus-client has values of its own in such files. They cannot be used: a label that was written
there never goes away, and keys do.

- Whether a process lives is told by a lock on its file (`flock`), which the system frees however the
  process ends. No hook of the server is needed, and a process number that is used again does no harm.
- What Prometheus has seen must never fall, or it takes the fall for a restart and counts all calls
  again. So the counts of a process that is gone, and of a breaker that was dropped, are kept in a file
  of their own, as long as some process has the key.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
import time
import uuid
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from recloser import Registry
from recloser_adapters._forks import in_forked_process
from recloser_adapters.prometheus._snapshot import Snapshot
from recloser_adapters.prometheus._source import Source, Told

WRITE_EVERY = 2.0  # seconds; Prometheus asks every 15 s or so
_PATIENCE = 2.0  # seconds that a process waits for another one that reads or adds counts
_PREFIX = "recloser_"


_of_folder: dict[Path, Processes] = {}


def processes_of(folder: Path, registries: Sequence[Registry]) -> Processes:
    """The processes that share a folder. This one is one of them, however many exporters it has.

    Args:
        folder: The folder.
        registries: What this process tells, with what it told already.
    """
    found = _of_folder.get(folder)
    if found is None:
        found = _of_folder[folder] = Processes(Source(registries), folder)
    else:
        found.source.add(registries)
    return found


class Processes:
    """The figures of this process and of the others that share a folder.

    Args:
        source: What this process tells.
        folder: The folder. Empty it when the app starts, as prometheus-client asks.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self._folder = folder
        self._ended_file = folder / f"{_PREFIX}ended.json"
        self._begin()
        in_forked_process(self, Processes._forked)
        atexit.register(_write_at_exit, weakref.ref(self))

    def _begin(self) -> None:
        name = f"{_PREFIX}{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self._file = self._folder / f"{name}.json"
        self._mutex = threading.Lock()
        self._told = Told()
        self._last = Snapshot()
        self._lock: IO[bytes] | None = None
        this = weakref.ref(self)
        threading.Thread(
            target=_write_often, args=(this, os.getpid()), name="recloser-prometheus", daemon=True
        ).start()

    def _forked(self) -> None:
        if self._lock is not None:
            self._lock.close()  # the parent has it still
        self.source.forked()
        self._begin()

    def write(self) -> Snapshot:
        """Write the figures of this process, and return them."""
        with self._mutex:
            told = Told()
            snapshot = self.source.read(told)
            gone = self._gone(snapshot, told)
            if gone.rows or gone.changes:
                # Under the lock of all: who reads in between would count these calls twice.
                with self._ended() as ended:
                    ended.end(gone)
                    self._replace(self._ended_file, ended)
                    self._keep(snapshot)
            else:
                self._keep(snapshot)
            self._last, self._told = snapshot, told
            return snapshot

    def _keep(self, snapshot: Snapshot) -> None:
        if self._lock is None and not snapshot.is_idle:
            # A process in which nothing is called, such as the parent of the workers, tells nothing.
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._file.with_suffix(".lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._lock is not None:
            self._replace(self._file, snapshot)

    def _gone(self, snapshot: Snapshot, told: Told) -> Snapshot:
        """The last figures of breakers that were dropped since, and changes of keys that are gone."""
        gone = Snapshot()
        for breaker, (label, row) in self._told.items():
            if breaker not in told:
                gone.end(Snapshot({label: row}))
        for change, count in self._last.changes.items():
            if change not in snapshot.changes:
                gone.changes[change] = count
        return gone

    def read(self) -> Snapshot:
        """The figures of all processes together, by what each of them wrote last."""
        own = self.write()
        with self._ended() as ended:
            alive, dead = [own], list[Path]()
            for file in self._folder.glob(f"{_PREFIX}*_*.json"):
                if file == self._file:
                    continue
                if not _is_locked(file.with_suffix(".lock")):
                    dead.append(file)
                else:
                    alive.append(_read(file))
            whole = Snapshot.together(alive)
            for file in dead:
                ended.end(_read(file))
                file.unlink()
                file.with_suffix(".lock").unlink(missing_ok=True)
            # Of keys that no process has, nothing is kept: the number of series stays bounded.
            if ended.keep(whole.rows) or dead:
                self._replace(self._ended_file, ended)
        whole.add_ended(ended)
        return whole

    @contextmanager
    def _ended(self) -> Generator[Snapshot, None, None]:
        """The counts of what is gone. One process at a time may read or change them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._ended_file.with_suffix(".lock").open("wb") as lock:
            _lock(lock)
            try:
                yield _read(self._ended_file)
            finally:
                # Not by closing it alone: a process that was forked meanwhile has it, too.
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _replace(self, file: Path, snapshot: Snapshot) -> None:
        """Write a file as a whole: who reads it meanwhile gets the one before."""
        written = file.with_suffix(f".{os.getpid()}_{threading.get_ident()}.tmp")
        written.write_text(snapshot.to_json())
        written.replace(file)


def _write_at_exit(this: weakref.ref[Processes]) -> None:
    processes = this()
    if processes is not None:
        with suppress(Exception):  # the folder may be gone by now
            processes.write()


def _write_often(this: weakref.ref[Processes], process: int) -> None:
    wait = threading.Event()
    while not wait.wait(WRITE_EVERY) and os.getpid() == process:
        processes = this()
        if processes is None:
            return
        try:
            processes.write()
        except Exception as error:
            processes.source.fault(error)
        del processes


def _lock(file: IO[bytes]) -> None:
    """Lock a file.

    Raises:
        TimeoutError: Another process had it for seconds: it was stopped, perhaps.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(f"{file.name} is locked by another process") from None
        time.sleep(0.005)


def _is_locked(file: Path) -> bool:
    """Whether a process that lives has locked a file."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _read(file: Path) -> Snapshot:
    try:
        return Snapshot.from_json(file.read_text())
    except (OSError, ValueError):
        return Snapshot()
