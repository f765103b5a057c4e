"""Starting and ending real servers, and talking to them over real sockets."""

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
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import until

# Seconds that anything may take on a loaded machine; far below the app's own 60.
DEADLINE = 20.0
TRIES = 3
HERE = Path(__file__).resolve().parent

COMMANDS: Mapping[str, list[str]] = {
    "uvicorn": ["uvicorn", "shop:asgi", "--host=127.0.0.1", "--port={port}", "--lifespan=off"],
    "hypercorn": ["hypercorn", "shop:asgi", "--bind=127.0.0.1:{port}"],
    "granian": ["granian", "shop:asgi", "--interface=asgi", "--host=127.0.0.1", "--port={port}"],
    "gunicorn-sync": ["gunicorn", "shop:wsgi", "--bind=127.0.0.1:{port}", "--worker-class=sync"],
    "gunicorn-gthread": [
        "gunicorn",
        "shop:wsgi",
        "--bind=127.0.0.1:{port}",
        "--worker-class=gthread",
        "--threads=24",
    ],
}
# Take one request at a time per worker: what goes on during a request cannot be seen by another.
ONE_AT_A_TIME = {"gunicorn-sync"}
ASGI = {"uvicorn", "hypercorn", "granian"}


def params(names: Collection[str]) -> list[Any]:
    """Return the servers as test parameters; those not installed are skipped, and seen to be."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(COMMANDS[name][0]) is None,
                reason=f"{COMMANDS[name][0]} is not installed",
            ),
        )
        for name in COMMANDS
        if name in names
    ]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with the shop in it.

    Attributes:
        name: One of `COMMANDS`.
        port: Where it listens.
        steering: The folder whose files steer the shop.
    """

    name: str
    port: int
    steering: Path

    def steer(self, name: str, mode: str) -> None:
        """Let `/work/<name>` be `healthy`, `failing`, `hanging`; `/stream/<name>` `holding`, `silent`."""
        # Replaced, not written: a reader must never see half of it.
        new = self.steering / f"{name}.new"
        new.write_text(mode)
        new.replace(self.steering / name)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that several requests may use."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, path: str, method: str = "GET") -> Answer:
        """Send a request on a connection of its own, and read the whole answer."""
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, path, method)

    def begin(self, path: str) -> socket.socket:
        """Send a request and leave the answer alone."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        return client

    def breaker(self, key: str) -> dict[str, Any]:
        """Return what the shop tells of a breaker."""
        found: dict[str, Any] = json.loads(self.ask("/breakers").body).get(key, {})
        return found

    def learn(self, name: str) -> None:
        """Let a breaker see enough good calls to know what is normal."""
        with contextlib.closing(self.connect()) as connection:
            for _ in range(40):
                assert ask(connection, f"/work/{name}").status == 200


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """Send a request on a connection that is kept, and read the whole answer."""
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, content)


@contextlib.contextmanager
def running(name: str, steering: Path) -> Generator[Server, None, None]:
    """Run a server until the block ends.

    Another process may take the port between its being found and its being bound: then the server
    ends at once, and another port is tried.
    """
    for _ in range(TRIES):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with _process(name, port, steering) as process:
            server = Server(name, port, steering)
            if _came_up(server, process):
                yield server
                return
    said = (steering / "said").read_text()
    raise AssertionError(f"{name} ended {TRIES} times before it served: {said[-2000:]}")


@contextlib.contextmanager
def _process(
    name: str, port: int, steering: Path
) -> Generator[subprocess.Popen[bytes], None, None]:
    arguments = [argument.format(port=port) for argument in COMMANDS[name]]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (steering / "said").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "PYTHONPATH": path, "SHOP_DIR": str(steering)},
            cwd=HERE,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Its workers too: the group is theirs alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _came_up(server: Server, process: subprocess.Popen[bytes]) -> bool:
    def decided() -> bool:
        if process.poll() is not None:
            return True
        try:
            return server.ask("/breakers").status == 200
        except (OSError, http.client.HTTPException):
            return False

    until(decided, f"{server.name} answers")
    return process.poll() is None
