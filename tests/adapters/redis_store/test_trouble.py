"""A server in trouble: `StoreError` in time, nothing else, and all is well again when it is mended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.valkey import Server, running

from recloser.fleet import StoreError
from recloser_adapters.redis import RedisStore

# An operation takes 0.25 s at most. The rest is for a busy machine, and far below the 6.7 s that the
# library's own time-outs and retries add up to.
PATIENCE = 1.0

USES: dict[str, Callable[[RedisStore], object]] = {
    "news": lambda store: store.news(0),
    "get": lambda store: store.get("a"),
    "swap": lambda store: store.swap("a", 0, 1, "a", 60),
    "send": lambda store: store.send("box", "a"),
    "receive": lambda store: store.receive("box"),
    "beat": lambda store: store.beat("me", "a", 60),
    "leave": lambda store: store.leave("me"),
    "workers": lambda store: store.workers(),
    "ring": lambda store: store.ring(),
}


def trouble(use: Callable[[], object]) -> str:
    """What the store says; it says it in time."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        use()
    assert time.monotonic() - began < PATIENCE
    return str(caught.value)


@pytest.mark.parametrize("name", USES)
def test_no_operation_waits_for_a_server_that_hangs(
    server: Server, store: RedisStore, name: str
) -> None:
    USES[name](store)
    server.pause()

    # First on a connection, then while connecting.
    for _ in range(2):
        assert "no answer within 0.25 s" in trouble(lambda: USES[name](store))

    server.resume()
    USES[name](store)


@pytest.mark.parametrize("name", USES)
def test_each_operation_fails_where_there_is_no_server_and_works_on_the_next(
    server: Server, store: RedisStore, name: str
) -> None:
    USES[name](store)
    server.kill()
    trouble(lambda: USES[name](store))
    trouble(lambda: USES[name](store))
    server.start()

    USES[name](store)


def test_a_restart_between_two_calls_is_not_even_seen(server: Server, store: RedisStore) -> None:
    before = store.news(0)
    server.restart()

    assert store.news(0).life != before.life
    assert store.swap("a", 0, 1, "a", 60)


def test_paused_clients_are_a_server_that_hangs(server: Server, store: RedisStore) -> None:
    store.news(0)
    server.command("CLIENT", "PAUSE", "700")

    assert "no answer" in trouble(lambda: store.news(0))

    works_in_the_end(store)


def works_in_the_end(store: RedisStore) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            store.swap("mended", 0, 1, "a", 60)
        except StoreError:
            assert time.monotonic() < until
        else:
            return


def test_a_waiting_worker_is_not_delayed_by_a_server_that_hangs(
    server: Server, store: RedisStore, never: int
) -> None:
    store.news(0)
    server.pause()
    trouble(lambda: store.news(0))
    began = time.monotonic()

    for _ in range(10):
        assert store.wait(0.001, never) is False

    # It does not try to subscribe: a command has just failed.
    assert time.monotonic() - began < 0.2


def test_scripts_that_the_server_forgot_are_sent_again(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    server.command("SCRIPT", "FLUSH")

    for use in USES.values():
        use(store)
    assert store.get("a") is not None


def test_a_replica_cannot_be_written(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    server.command("REPLICAOF", "127.0.0.1", "1")

    assert "replica, which cannot be written" in trouble(lambda: store.swap("a", 1, 2, "b", 60))
    server.command("REPLICAOF", "NO", "ONE")

    assert store.swap("a", 1, 2, "b", 60)


def test_full_memory_is_told(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    server.command("CONFIG", "SET", "maxmemory", "1")

    assert "memory is full" in trouble(lambda: store.swap("a", 1, 2, "b", 60))
    assert "memory is full" in trouble(lambda: store.send("box", "b"))
    server.command("CONFIG", "SET", "maxmemory", "0")

    assert store.swap("a", 1, 2, "b", 60)


def test_a_server_that_evicts_has_lost_what_it_had(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    before = store.news(0)
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    server.command("CONFIG", "SET", "maxmemory", "1")
    # Any command lets it evict; this one is refused if nothing is left.
    server.command("SET", "theirs", "x")
    server.command("CONFIG", "SET", "maxmemory", "0")

    after = store.news(1)

    assert (after.version, after.facts) == (0, ())
    assert after.life != before.life


def test_a_server_that_cannot_save_refuses_writes(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    obstacle = server.folder / "dump.rdb"
    obstacle.mkdir()
    server.command("CONFIG", "SET", "save", "3600 1")
    save(server, "err")

    assert "MISCONF" in trouble(lambda: store.swap("a", 1, 2, "b", 60))
    obstacle.rmdir()
    save(server, "ok")

    assert store.swap("a", 1, 2, "b", 60)


def save(server: Server, status: str) -> None:
    server.command("BGSAVE")
    until = time.monotonic() + 10
    while f"rdb_last_bgsave_status:{status}".encode() not in server.command("INFO", "persistence"):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_server_that_is_loading_its_data_is_told(
    binary: Path, store_of: Callable[..., RedisStore]
) -> None:
    # Debugging options of the server: half a second for a hundred keys.
    slowly = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running(binary, *slowly))
        except RuntimeError as error:
            if "Bad directive" not in str(error):
                raise
            pytest.skip("this server has no such option")
        store = store_of(server.url)
        store.news(0)
        for number in range(100):
            server.command("SET", f"theirs {number}", "x" * 2000)
        server.command("CONFIG", "SET", "rdbcompression", "no")
        server.command("SAVE")
        server.restart()

        assert "still loading its data" in trouble(lambda: store.swap("a", 0, 1, "a", 60))
        works_in_the_end(store)


def test_a_wrong_password_is_told_and_not_shown(
    binary: Path, store_of: Callable[..., RedisStore]
) -> None:
    with running(binary, "--requirepass", "right") as server:
        store = store_of(server.url.replace("unix://", "unix://:mistaken@"))

        for _ in range(2):
            said = trouble(lambda: store.news(0))
            assert "refuses the user or the password" in said
            assert "mistaken" not in said
        without = store_of(server.url)
        assert "refuses the user or the password" in trouble(lambda: without.news(0))

        right = store_of(server.url.replace("unix://", "unix://:right@"))
        assert right.swap("a", 0, 1, "a", 60)


def test_a_busy_server_is_told(server: Server, store: RedisStore) -> None:
    """Somebody's script never ends: after `lua-time-limit` the server says so."""
    store.news(0)
    server.command("CONFIG", "SET", "lua-time-limit", "10")
    endless = threading.Thread(target=lambda: server.command("EVAL", "while true do end", "0"))
    with suppressed_in(endless):
        until = time.monotonic() + 10
        while "BUSY" not in trouble(lambda: store.news(0)):
            assert time.monotonic() < until
        server.command("SCRIPT", "KILL")

    works_in_the_end(store)


@contextmanager
def suppressed_in(thread: threading.Thread) -> Iterator[None]:
    """Run a thread that may end with an error."""
    run = thread.run

    def quietly() -> None:
        with suppress(OSError):
            run()

    thread.run = quietly  # type: ignore[method-assign] # its errors are of no interest
    thread.start()
    time.sleep(0.05)
    yield
    thread.join(10)


class Trickle:
    """A server between the store and the real one, which lets the answers through byte by byte."""

    def __init__(self, server: Server, pause: float) -> None:
        self._server = server
        self._pause = pause
        self.pauses = True
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(str(self._server.socket))
                self._open += [client, upstream]
                for pair in ((client, upstream, 0), (upstream, client, 1)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket, slowly: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                for at in range(len(data)):
                    if slowly and self.pauses:
                        time.sleep(self._pause)
                        other.sendall(data[at : at + 1])
                    else:
                        other.sendall(data[at:])
                        break

    def close(self) -> None:
        for each in self._open:
            each.close()


def test_a_server_that_sends_byte_by_byte_has_no_more_time_than_another(
    server: Server, store_of: Callable[..., RedisStore]
) -> None:
    trickle = Trickle(server, 0.05)
    try:
        store = store_of(f"redis://127.0.0.1:{trickle.port}/1")
        assert "no answer" in trouble(lambda: store.news(0))
        trickle.pauses = False
        works_in_the_end(store)
        trickle.pauses = True
        assert "no answer" in trouble(lambda: store.news(0))
    finally:
        trickle.close()


def test_a_name_that_is_looked_up_for_long_has_no_more_time_than_another(
    monkeypatch: pytest.MonkeyPatch, store_of: Callable[..., RedisStore]
) -> None:
    """The system's resolver has no time-out that a program could set."""
    found = threading.Event()
    lookups: list[Any] = []

    def look_up(*args: Any, **_: Any) -> list[Any]:
        lookups.append(args)
        found.wait(30)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    store = store_of("redis://cache.invalid")
    try:
        for _ in range(6):
            trouble(lambda: store.news(0))
        # What hangs is given up, and not more and more of it.
        assert len(lookups) <= 4
    finally:
        found.set()
    assert "no such name" in trouble_in_the_end(store)


def trouble_in_the_end(store: RedisStore) -> str:
    until = time.monotonic() + 10
    while "earlier attempts" in (said := trouble(lambda: store.news(0))):
        assert time.monotonic() < until
    return said
