"""The servers of the soak, each in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 20.0  # seconds for a server to start, or to answer
TRIES = 3
_ASGI, _WSGI = "benchmarks.soak.asgi_apps:app", "benchmarks.soak.wsgi_apps:app"
_UVICORN = ["uvicorn", _ASGI, "--host=127.0.0.1", "--port={port}", "--lifespan=off"]
_GUNICORN = ["gunicorn", _WSGI, "--bind=127.0.0.1:{port}"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a server is started, and what it needs.

    Attributes:
        command: Module and arguments.
        needs: Modules that must be installed.
        overlaps: Whether it serves several requests at a time.
        spared: Attacks that it cannot bear, whatever app it serves.
    """

    command: list[str]
    needs: tuple[str, ...]
    overlaps: bool = True
    spared: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "uvicorn-h11": Kind(
        [*_UVICORN, "--http=h11", "--loop=asyncio", "--no-access-log"], ("uvicorn", "h11")
    ),
    "uvicorn-httptools": Kind(
        [*_UVICORN, "--http=httptools", "--loop=uvloop", "--no-access-log"],
        ("uvicorn", "httptools", "uvloop"),
    ),
    "hypercorn": Kind(["hypercorn", _ASGI, "--bind=127.0.0.1:{port}"], ("hypercorn",)),
    "granian": Kind(
        ["granian", _ASGI, "--interface=asgi", "--host=127.0.0.1", "--port={port}"], ("granian",)
    ),
    "daphne": Kind(["daphne", _ASGI, "-b", "127.0.0.1", "-p", "{port}"], ("daphne",)),
    "gunicorn-sync": Kind([*_GUNICORN, "--worker-class=sync"], ("gunicorn",), overlaps=False),
    "gunicorn-gthread": Kind([*_GUNICORN, "--worker-class=gthread", "--threads=32"], ("gunicorn",)),
    "gunicorn-gevent": Kind([*_GUNICORN, "--worker-class=gevent"], ("gunicorn", "gevent")),
    "granian-wsgi": Kind(
        [
            "granian",
            _WSGI,
            "--interface=wsgi",
            "--host=127.0.0.1",
            "--port={port}",
            "--blocking-threads=32",
        ],
        ("granian",),
    ),
    "waitress": Kind(
        ["waitress", "--listen=127.0.0.1:{port}", "--threads=32", _WSGI], ("waitress",)
    ),
    # Its handler of a huge chunk that is cut never ends: `read()` goes on for ever at the end of the
    # connection, with all of a core, and fills the memory.
    "werkzeug": Kind(
        ["benchmarks.soak.development_server", "{port}"], ("werkzeug",), spared=("huge_chunk",)
    ),
}


def missing(kind: str) -> list[str]:
    """What is not installed of what a server needs."""
    return [name for name in KINDS[kind].needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    place: Path

    def ask(self, path: str) -> bytes:
        """The body of what it answers to a GET on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    @property
    def apps(self) -> tuple[str, ...]:
        """The apps in it, by the first part of their paths."""
        return tuple(json.loads(self.ask("/apps")))

    def described(self) -> dict[str, Any]:
        """What its breakers have counted, by key, with the number of faults of ours."""
        found: dict[str, Any] = json.loads(self.ask("/breakers"))
        return found

    def break_down(self, broken: bool) -> None:
        """Begin or end the outage of the route `/outage`."""
        switch = self.place / "outage"
        switch.touch() if broken else switch.unlink(missing_ok=True)

    def said(self) -> str:
        """The end of what it has printed."""
        return (self.place / "said").read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def running(kind: str, place: Path, *, guarded: bool = True, seed: int = 1) -> Iterator[Running]:
    """Run a server until the block ends.

    Args:
        kind: One of `KINDS`.
        place: A folder of its own.
        guarded: Whether its apps have breakers.
        seed: Which requests to `/faulty` have a fault.
    """
    for _ in range(TRIES):
        # Another process may take the port before the server does. Then it ends at once.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with _process(kind, port, place, guarded, seed) as server:
            if _came_up(server):
                yield server
                return
            said = server.said()
    raise RuntimeError(f"{kind} ended {TRIES} times before it served: {said}")


@contextlib.contextmanager
def _process(kind: str, port: int, place: Path, guarded: bool, seed: int) -> Iterator[Running]:
    arguments = [each.format(port=port) for each in KINDS[kind].command]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with (place / "said").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={
                **os.environ,
                "PYTHONPATH": path.rstrip(os.pathsep),
                "SOAK_DIR": str(place),
                "SOAK_GUARDED": "1" if guarded else "0",
                "SOAK_SEED": str(seed),
            },
            cwd=ROOT,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Running(kind, port, process, place)
    finally:
        # Its workers too: the group is theirs alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _came_up(server: Running) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            return bool(server.ask("/breakers"))
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    return False
