"""The stores of the benchmark, and the trouble that each of them can have."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import valkey

from recloser.fleet import Store, store_at

End = Callable[[], None]
# Seconds that a trouble lasts, at least and at most.
Span = tuple[float, float]
AT_ONCE: Span = (0.0, 0.0)
DISK = "8m"  # the size of a disk that can be filled


@dataclass(frozen=True, slots=True)
class Trouble:
    """What can happen to a store.

    Attributes:
        name: What it is.
        lasts: Seconds, at least and at most.
        begin: Lets it begin; what it returns ends it.
        loses: Whether the store may show older epochs of the same life afterwards.
    """

    name: str
    lasts: Span
    begin: Callable[[], End]
    loses: bool = False


@dataclass
class Place:
    """A store that runs.

    Attributes:
        engine: Its kind.
        address: Where it is: the path of a file, or a URL.
        troubles: What can happen to it.
        server: The server; None for a file.
        namespace: The network namespace of a half of the workers; "" for none.
        far: The URL for those.
        left_out: What cannot happen here, and why.
    """

    engine: str
    address: str
    troubles: list[Trouble] = field(default_factory=list)
    server: valkey.Server | None = None
    namespace: str = ""
    far: str = ""
    left_out: list[str] = field(default_factory=list)

    def open(self) -> Store:
        """A store of its own there."""
        return store_at(self.address)

    def counts(self) -> Mapping[str, int]:
        """How often the server has executed each command; empty for a file."""
        if self.server is None:
            return {}
        lines = self.server.command("INFO", "commandstats").decode().splitlines()
        stats = [
            line.removeprefix("cmdstat_").split(":calls=") for line in lines if ":calls=" in line
        ]
        return {name: int(rest.split(",")[0]) for name, rest in stats}


def engines() -> list[str]:
    """The engines that can be started here."""
    return ["sqlite", *valkey.binaries()]


@contextlib.contextmanager
def started(engine: str, *, partitions: bool = False) -> Generator[Place, None, None]:
    """Start an engine; with `partitions`, half of the workers may get a network of their own."""
    with contextlib.ExitStack() as stack:
        if engine == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rc")))
            yield _file(folder, stack)
            return
        options: list[str] = []
        network = stack.enter_context(_network()) if partitions else None
        if network is not None:
            options = [
                "--port",
                str(network.port),
                "--bind",
                network.near,
                "--protected-mode",
                "no",
            ]
        binary = valkey.binaries()[engine]
        server = stack.enter_context(valkey.running(binary, *options))
        place = Place(engine, server.url, _server_troubles(server), server)
        if network is not None:
            place.namespace = network.name
            place.far = f"redis://{network.near}:{network.port}/0"
            place.troubles.append(Trouble("half of the workers cut off", (0.5, 5.0), network.cut))
        elif partitions:
            place.left_out.append("a partition, since network namespaces are not permitted")
        yield place


# A file


def _file(folder: Path, stack: contextlib.ExitStack) -> Place:
    disk = _small_disk(folder, stack)
    path = (folder if disk is None else disk) / "recloser.db"
    place = Place("sqlite", str(path))
    place.troubles = [
        Trouble("locked by another process", (0.1, 4.0), lambda: _lock(path)),
        Trouble("all files deleted", AT_ONCE, lambda: _delete(path, ("", "-wal", "-shm"))),
        Trouble("file deleted, its log not", AT_ONCE, lambda: _delete(path, ("",))),
        # What is left is an older state of the same life.
        Trouble("log deleted", AT_ONCE, lambda: _delete(path, ("-wal",)), loses=True),
        Trouble("bells deleted", AT_ONCE, lambda: _delete_bells(path)),
        Trouble("replaced by a folder", (0.3, 3.0), lambda: _replace(path)),
    ]
    if disk is None:
        place.left_out.append("a full disk, since it cannot mount one")
    else:
        place.troubles.append(Trouble("disk full", (0.5, 4.0), lambda: _fill(disk)))
    place.left_out.append("read-only: a mount that is in use cannot be made so")
    return place


def _small_disk(folder: Path, stack: contextlib.ExitStack) -> Path | None:
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)]
    with contextlib.suppress(OSError):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            unmount = ["umount", "-l", str(disk)]
            stack.callback(lambda: subprocess.run(unmount, capture_output=True, check=False))
            return disk
    return None


def _nothing() -> None:
    """End what has ended by itself."""


def _lock(path: Path) -> End:
    # Not by SQLite's URI with `mode=rw`: the file may be deleted at the moment.
    other = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        other.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        other.close()
        return _nothing
    return other.close


def _delete(path: Path, parts: tuple[str, ...]) -> End:
    for part in parts:
        Path(f"{path}{part}").unlink(missing_ok=True)
    return _nothing


def _delete_bells(path: Path) -> End:
    shutil.rmtree(f"{path}-bells", ignore_errors=True)
    return _nothing


def _replace(path: Path) -> End:
    _delete(path, ("", "-wal", "-shm"))
    path.mkdir()

    def end() -> None:
        with contextlib.suppress(OSError):
            path.rmdir()

    return end


def _fill(disk: Path) -> End:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    def end() -> None:
        filler.unlink(missing_ok=True)

    return end


# A server


def _server_troubles(server: valkey.Server) -> list[Trouble]:
    def said(*words: str) -> None:
        # A server that is dead or stopped does not hear it.
        with contextlib.suppress(OSError):
            server.command(*words)

    def at_once(*words: str) -> Callable[[], End]:
        def begin() -> End:
            said(*words)
            return _nothing

        return begin

    def until(first: tuple[str, ...], last: tuple[str, ...]) -> Callable[[], End]:
        def begin() -> End:
            said(*first)
            return lambda: said(*last)

        return begin

    def pause() -> End:
        server.pause()
        return server.resume

    def kill() -> End:
        server.kill()
        return server.start

    def fail_over() -> End:
        # What a replica has that lags behind: an older state of the same life.
        said("SAVE")

        def end() -> None:
            server.kill()
            server.start()
            (server.folder / "dump.rdb").unlink(missing_ok=True)

        return end

    return [
        Trouble("FLUSHALL", AT_ONCE, at_once("FLUSHALL")),
        Trouble("SCRIPT FLUSH", AT_ONCE, at_once("SCRIPT", "FLUSH")),
        Trouble("connections killed", AT_ONCE, at_once("CLIENT", "KILL", "TYPE", "normal")),
        Trouble("subscriptions killed", AT_ONCE, at_once("CLIENT", "KILL", "TYPE", "pubsub")),
        Trouble("server stopped", (0.1, 4.0), pause),
        Trouble("server killed", (0.0, 3.0), kill),
        Trouble("failover to a replica that lags", (0.5, 2.0), fail_over, loses=True),
        Trouble(
            "read-only",
            (0.3, 3.0),
            # Port 1: a master that never answers, so it keeps its data.
            until(("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ),
        Trouble(
            "out of memory",
            (0.3, 3.0),
            until(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        ),
    ]


# A network

# A program: it ends when the address answers. To refuse a connection is an answer, too.
_CONNECT = """
import socket, sys, time
deadline = time.monotonic() + 30.0
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.25).close()
    except ConnectionRefusedError:
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
    else:
        break
"""


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace, and the cable to it.

    Attributes:
        name: Of the namespace.
        cable: The end of the cable on our side.
        near: Our address.
        port: A free port there.
    """

    name: str
    cable: str
    near: str
    port: int

    def cut(self) -> End:
        """Lose all packets from now on, until what is returned has returned."""
        _run("ip", "link", "set", self.cable, "down")
        return self._mend

    def _mend(self) -> None:
        _run("ip", "link", "set", self.cable, "up")
        # The kernel looks at the link once a second, and repeats its address requests once a second. So
        # packets are lost for a second more.
        carries = [sys.executable, "-I", "-c", _CONNECT, self.near, str(self.port)]
        _run("ip", "netns", "exec", self.name, *carries)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True)


@contextlib.contextmanager
def _network() -> Generator[Network | None, None, None]:
    number = os.getpid() % 60_000
    name, cable, other = f"rc{number}", f"rc{number}a", f"rc{number}b"
    net = f"10.213.{number % 250}"
    try:
        _run("ip", "netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        try:
            _run("ip", "link", "add", cable, "type", "veth", "peer", "name", other, "netns", name)
            _run("ip", "addr", "add", f"{net}.1/30", "dev", cable)
            _run("ip", "link", "set", cable, "up")
            _run("ip", "-n", name, "addr", "add", f"{net}.2/30", "dev", other)
            _run("ip", "-n", name, "link", "set", other, "up")
            with socket.create_server((f"{net}.1", 0)) as free:
                port = free.getsockname()[1]
        except (OSError, subprocess.CalledProcessError):
            yield None
            return
        yield Network(name, cable, f"{net}.1", port)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", cable], capture_output=True, check=False)
