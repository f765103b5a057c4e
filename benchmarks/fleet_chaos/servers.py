"""Real servers with four workers each, with a store and without."""

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
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fleet_chaos.figures import load, verdict
from benchmarks.fleet_chaos.stores import Place, started
from recloser.fleet import StoreError, read_status

WORKERS = 4
MOST_STALL = 0.05  # seconds
# Seconds: for anything to happen, of a stopped store, and more that an end may take with a store.
_PATIENCE, _STOPPED, _MORE = 20.0, 1.5, 1.0
_GUNICORN = [
    "gunicorn", "benchmarks.fleet_chaos.app:wsgi", "--preload", "--bind=127.0.0.1:{port}",
    f"--workers={WORKERS}", "--graceful-timeout=2", "--worker-class",
]  # fmt: skip
KINDS: Mapping[str, list[str]] = {
    "gunicorn-sync": [*_GUNICORN, "sync"],
    "gunicorn-gthread": [*_GUNICORN, "gthread", "--threads=4"],
    "gunicorn-gevent": [*_GUNICORN, "gevent"],
    "uvicorn": [
        "uvicorn", "benchmarks.fleet_chaos.app:asgi", "--host=127.0.0.1", "--port={port}",
        f"--workers={WORKERS}", "--lifespan=off", "--log-level=warning",
    ],
}  # fmt: skip


def missing(kind: str) -> list[str]:
    """The packages that a server needs and that are not installed."""
    needed = [KINDS[kind][0], *(["gevent"] if kind.endswith("gevent") else [])]
    return [name for name in needed if importlib.util.find_spec(name) is None]


@dataclass
class Running:
    """A server that runs.

    Attributes:
        port: Where.
        folder: Whose files steer the app.
        process: Of the server.
    """

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str) -> tuple[int, bytes]:
        """Send a request on a connection of its own, so that any worker may take it."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        with contextlib.closing(client):
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read()

    def about(self, path: str = "/state") -> dict[str, Any]:
        """What a worker tells of itself."""
        told: dict[str, Any] = json.loads(self.ask(path)[1])
        return told

    def steer(self, dead: bool) -> None:
        """Let the callee fail, or not."""
        file = self.folder / "dead"
        file.touch() if dead else file.unlink(missing_ok=True)

    def end(self) -> float:
        """Ask it to end; return after how many seconds it has."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE)
        return time.monotonic() - begun


@contextlib.contextmanager
def running(kind: str, store: str) -> Generator[Running, None, None]:
    """A server that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="rc") as name:
        folder = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", *[each.format(port=port) for each in KINDS[kind]]],
                env={**os.environ, "CHAOS_STORE": store, "CHAOS_DIR": name},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        server = Running(port, folder, process)
        try:
            if not _until(lambda: _answers(server)):
                raise RuntimeError((folder / "said").read_text()[-2000:])
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(server: Running) -> bool:
    if server.process.poll() is not None:
        raise RuntimeError((server.folder / "said").read_text()[-2000:])
    with contextlib.suppress(OSError, http.client.HTTPException):
        return server.ask("/state")[0] == 200
    return False


def _until(happened: Callable[[], bool], seconds: float = _PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass
class Served:
    """What came of one server.

    Attributes:
        kind: The server.
        seen: How many workers the store knows of.
        left: How many it knows of still, after all have ended in order.
        opened: How many had opened soon after the outage.
        wasted: Calls that failed before.
        ended: Seconds that its end took.
        ended_alone: The same without a store.
        ended_hanging: The same while the store hangs; 0.0 if that was not tried.
        stall: The longest time that a loop stood still while the store hung; 0.0 if there is none.
        stall_before: The same just before.
        broken: What went wrong.
    """

    kind: str
    seen: int = 0
    left: int = 0
    opened: int = 0
    wasted: int = 0
    ended: float = 0.0
    ended_alone: float = 0.0
    ended_hanging: float = 0.0
    stall: float = 0.0
    stall_before: float = 0.0
    broken: list[str] = field(default_factory=list)


def measure(engine: str, kind: str) -> Served:
    """Serve with a store, have an outage, let the store hang, and end it; and end one without a store."""
    found = Served(kind)
    with running(kind, "") as server:
        _call(server, 20)
        found.ended_alone = server.end()
    with started(engine) as place:
        with running(kind, place.address) as server:
            _warm(server, place, set(), found)
            _outage(server, found)
            _note_faults(server, found)
            found.ended = server.end()
        left = _known(place)
        found.left, found.seen = len(left), 0
        with running(kind, place.address) as server:
            _warm(server, place, left, found)
            _hang(server, place, found)
    _judge(found)
    return found


def _call(server: Running, times: int) -> list[int]:
    return [server.ask("/call")[0] for _ in range(times)]


def _known(place: Place) -> set[str]:
    """The workers that the store knows of."""
    store = place.open()
    try:
        with contextlib.suppress(StoreError):
            return set(read_status(store).workers)
        return set()
    finally:
        store.close()


def _warm(server: Running, place: Place, left: set[str], found: Served) -> None:
    """Wait until all workers serve, and are in the store beside those that others have left there."""
    pids = set[int]()

    def has_all() -> bool:
        _call(server, 8)
        pids.add(server.about()["pid"])
        return len(pids) >= WORKERS and found.seen >= WORKERS

    def look() -> bool:
        found.seen = len(_known(place) - left)
        return has_all()

    if not _until(look):
        found.broken.append(f"{len(pids)} workers serve, {found.seen} are in the store")


def _outage(server: Running, found: Served) -> None:
    server.steer(dead=True)
    states: dict[int, str] = {}

    def all_refuse() -> bool:
        found.wasted += _call(server, 4).count(502)
        about = server.about()
        states[about["pid"]] = about["state"]
        return len(states) >= WORKERS and all(each != "closed" for each in states.values())

    _until(all_refuse)
    found.opened = sum(state != "closed" for state in states.values())
    server.steer(dead=False)

    def is_well() -> bool:
        statuses = _call(server, 8)
        about = server.about()
        states[about["pid"]] = about["state"]
        return statuses == [200] * 8 and all(each == "closed" for each in states.values())

    if not _until(is_well):
        found.broken.append(f"after the outage it does not recover: {states}")


def _note_faults(server: Running, found: Served) -> None:
    for _ in range(2 * WORKERS):
        about = server.about()
        if about["faults"]:
            found.broken.append(f"{about['name']} has {about['faults']} faults")


def _hang(server: Running, place: Place, found: Served) -> None:
    found.stall_before = _stall(server, _STOPPED / 2)
    if place.server is None:
        end = next(each for each in place.troubles if "locked" in each.name).begin()
    else:
        place.server.pause()
        end = place.server.resume
    try:
        found.stall = _stall(server, _STOPPED)
        _note_faults(server, found)
        found.ended_hanging = server.end()
    finally:
        end()


def _stall(server: Running, seconds: float) -> float:
    for _ in range(4 * WORKERS):
        server.about("/stalls")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _call(server, 4)
        time.sleep(0.02)
    stalls: list[float] = [server.about("/stalls")["stall"] for _ in range(4 * WORKERS)]
    return max(stalls)


def _judge(found: Served) -> None:
    if found.opened < WORKERS:
        found.broken.append(f"an outage has opened {found.opened} of {WORKERS} workers")
    for name, took in (("", found.ended), (" while the store hangs", found.ended_hanging)):
        if took > found.ended_alone + _MORE:
            found.broken.append(
                f"it ends after {took:.2f} s{name}, and without a store after {found.ended_alone:.2f} s"
            )
    if found.stall > max(MOST_STALL, 2.0 * found.stall_before):
        found.broken.append(f"a loop stood still for {1e3 * found.stall:.0f} ms")


def report(engine: str) -> bool:
    """Measure all servers that are installed, and print it; return whether all was well."""
    fine = True
    for kind in KINDS:
        if missing(kind):
            print(f"{engine:14} {kind}: not installed: {', '.join(missing(kind))}")
            continue
        found = measure(engine, kind)
        fine &= not found.broken
        print(
            f"{engine:14} {kind:17} {found.seen} workers seen, {found.opened} opened, "
            f"{found.wasted} calls wasted, {found.left} known after the end; ended after {found.ended:.2f} s "
            f"({found.ended_alone:.2f} s without a store, {found.ended_hanging:.2f} s while it hung); "
            f"loop stood still {1e3 * found.stall:.0f} ms "
            f"({1e3 * found.stall_before:.0f} ms before): {verdict(not found.broken)}; {load()}",
            flush=True,
        )
        for what in found.broken:
            print(f"  broken: {what}")
    return fine
