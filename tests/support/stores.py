"""The engines of a fleet's store, and processes that use one: each engine is one line in `ENGINES`."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE

from recloser.fleet import Store, StoreError


@dataclass(frozen=True)
class Place:
    """Where a store is, in a form that can be sent to another process.

    Attributes:
        open_at: Opens it: called with the address and the namespace.
        address: Such as a path or a URL.
    """

    open_at: Callable[[str, str], Store]
    address: str

    def open(self, namespace: str = "recloser") -> Store:
        return self.open_at(self.address, namespace)


@dataclass(frozen=True)
class Engine:
    """One kind of store.

    Attributes:
        name: Of the engine.
        start: Starts what is needed, in an empty folder, and ends it afterwards.
        between_processes: Whether other processes can open the same place.
    """

    name: str
    start: Callable[[Path], Iterator[Place]]
    between_processes: bool = True

    @contextmanager
    def started(self, folder: Path) -> Generator[Place, None, None]:
        yield from self.start(folder)


def _open_sqlite(address: str, namespace: str) -> Store:
    from recloser_adapters.sqlite import SqliteStore

    return SqliteStore(address, namespace=namespace)


def _sqlite(folder: Path) -> Iterator[Place]:
    yield Place(_open_sqlite, str(folder / "recloser.db"))


ENGINES = [Engine("sqlite", _sqlite)]


# Other processes


def _serve(pipe: Connection) -> None:
    while True:
        try:
            place, function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            store = place.open()
            try:
                result, error = function(store, *arguments), ""
            finally:
                store.close()
        except BaseException:
            result, error = None, traceback.format_exc()
        pipe.send((result, error))


class Worker:
    """A process that was not forked, and does one thing after another with a store of its own."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def start(self, place: Place, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin to call a function of a module with a store of that place, and the arguments."""
        self._pipe.send((place, function, arguments))

    def has_ended(self) -> bool:
        return self._pipe.poll(0)

    def result(self) -> Any:
        """What the function has returned."""
        assert self._pipe.poll(PATIENCE), "the process does not answer"
        result, error = self._pipe.recv()
        assert not error, error
        return result

    def do(self, place: Place, function: Callable[..., Any], *arguments: Any) -> Any:
        self.start(place, function, *arguments)
        return self.result()

    def end(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


# What workers do


def race(store: Store, name: str, rounds: int, loud: bool) -> list[int]:
    """Raise the epoch of a fact by 1 as often as wanted; return the epochs that were won."""
    won: list[int] = []
    seen = 0
    while len(won) < rounds:
        fact = store.get(name)
        known = fact.epoch if fact is not None else 0
        assert known >= seen, f"epoch {known} after {seen}"
        seen = known
        if store.swap(name, known, known + 1, f"of {os.getpid()}", 60.0, loud=loud):
            won.append(known + 1)
    return won


def send_all(store: Store, box: str, sender: int, texts: int) -> None:
    for number in range(texts):
        store.send(box, f"{sender} {number}")


def receive_for(store: Store, box: str, last: str) -> list[str]:
    """Empty a box until a text comes that ends it; return all, that one included if it came here."""
    texts: list[str] = []
    deadline = time.monotonic() + PATIENCE
    while last not in texts and store.get(last) is None:
        assert time.monotonic() < deadline
        texts += [text for text, _ in store.receive(box)]
    if last in texts:
        store.swap(last, 0, 1, "", 60.0)
    return texts


def wait_for_ring(store: Store, seconds: float) -> bool:
    reader, writer = os.pipe()
    try:
        return store.wait(seconds, reader)
    finally:
        os.close(reader)
        os.close(writer)


def fork_while_open(store: Store) -> tuple[int, bool, bool]:
    """Use a store, fork, and use it in both; return the child's exit code and what the parent did."""
    assert store.swap("parent", 0, 1, "before", 60.0)
    store.beat("parent", "", 60.0)
    wait_for_ring(store, 0.0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.after_fork()
            fact = store.get("parent")
            assert fact is not None
            assert fact.text == "before"
            assert store.swap("child", 0, 1, "of the child", 60.0)
            assert store.beat("child", "", 60.0) == 2
            assert not wait_for_ring(store, 0.0)
            store.close()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    rang = wait_for_ring(store, PATIENCE)
    return os.waitstatus_to_exitcode(status), rang, store.get("child") is not None


def make_anew(store: Store, name: str, others: int) -> str:
    """Say that one is there whenever the store has lost all; return the life in which all are."""
    known = store.news(0).life
    deadline = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < deadline, "the workers do not meet"
        try:
            store.swap(name, 0, 1, "", 60.0)
            news = store.news(0)
        except StoreError:
            continue
        if news.life != known and len(news.facts) == others:
            return news.life


def fill_the_disk(store: Store) -> tuple[int, str, bool]:
    """Let files grow no more; return how much was written, what was said, and whether it mended."""
    import resource

    assert store.swap("before", 0, 1, "text", 60.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    written, said = 0, ""
    try:
        while written < 1000 and not said:
            try:
                store.send("box", "x" * 10_000)
                written += 1
            except StoreError as error:
                said = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.send("box", "at last")
    received = [text for text, _ in store.receive("box")]
    return written, said, len(received) == written + 1 and store.get("before") is not None


def fork_in_mid_operation(store: Store, forks: int) -> list[int]:
    """Fork while another thread uses the store all the time; return the children's exit codes."""
    ended, faults = threading.Event(), list[BaseException]()

    def work() -> None:
        epoch = 0
        try:
            while not ended.is_set():
                assert store.swap("of the thread", epoch, epoch + 1, "text", 60.0)
                epoch += 1
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    codes: list[int] = []
    for number in range(forks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for epoch in range(5):
                    assert store.swap(f"child {number}", epoch, epoch + 1, "text", 60.0)
                assert store.get("of the thread") is not None
                store.close()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        codes.append(os.waitstatus_to_exitcode(status))
    ended.set()
    thread.join()
    assert not faults, faults
    return codes


def fork_without_hooks(store: Store, is_in_use: bool) -> int:
    """Fork as C code does, of which Python is not told; return the child's exit code.

    It is 0 if the child could use the store, and 3 if it got a `StoreError`.
    """
    import ctypes

    assert store.swap("parent", 0, 1, "text", 60.0)
    fork = ctypes.PyDLL(None).fork
    with ExitStack() as stack:
        if is_in_use:
            stack.enter_context(store._connection.use())  # type: ignore[attr-defined]
        child = fork()
        if child == 0:
            code = 1
            try:
                code = 0 if store.swap("child", 0, 1, "text", 60.0) else 2
            except StoreError:
                code = 3
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert store.swap("parent", 1, 2, "text", 60.0)
    return os.waitstatus_to_exitcode(status)
