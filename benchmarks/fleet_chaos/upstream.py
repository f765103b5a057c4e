"""The callee: a server in a process of its own that can fail or hang, and knows what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

WELL, FAILS, HANGS = 0, 1, 2
TAKES = 0.005  # seconds
TIMEOUT = 0.5  # seconds that a caller waits


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe as the callee saw it.

    Attributes:
        worker: Who sent it.
        kind: `f` of the fleet, `a` of a worker that decides alone.
        allowed: How many may be in flight at a time, as its worker was told by the fleet.
        acquired: When it was admitted, by the worker; monotonic seconds.
        begun: When it came in.
        ended: When it was answered, or its caller left.
    """

    worker: int
    kind: str
    allowed: int
    acquired: float
    begun: float
    ended: float


class Upstream:
    """The process of the callee."""

    def __init__(self, path: str) -> None:
        context = multiprocessing.get_context("forkserver")
        self.path = path
        self._mode = context.RawValue("i", WELL)
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(path, self._mode, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.probes: list[Probe] = []
        assert self._pipe.poll(20), "the callee does not start"
        self._pipe.recv()

    @property
    def mode(self) -> int:
        """What it does."""
        mode: int = self._mode.value
        return mode

    def become(self, mode: int) -> None:
        """Do something else with all calls from now on, and those that hang."""
        self._mode.value = mode

    def read(self) -> None:
        """Take over what it has seen."""
        while self._pipe.poll():
            self.probes.append(Probe(*self._pipe.recv()))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


@contextlib.contextmanager
def running() -> Generator[Upstream, None, None]:
    """A callee that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="rc") as folder:
        upstream = Upstream(os.path.join(folder, "u"))
        try:
            yield upstream
        finally:
            upstream.close()


def ask(path: str, worker: int, kind: str, allowed: int, acquired: float) -> bool:
    """Call it; return whether it was well. It raises `OSError`, such as `TimeoutError`."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(path)
        client.sendall(json.dumps([worker, kind, allowed, acquired]).encode() + b"\n")
        return client.recv(1) == b"1"


def _serve(path: str, mode: Any, pipe: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            line = await reader.readline()
            begun = time.monotonic()
            worker, kind, allowed, acquired = json.loads(line)
            try:
                await asyncio.sleep(TAKES)
                while mode.value == HANGS and not reader.at_eof():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 0.02)
                writer.write(b"%d" % (mode.value == WELL))
            finally:
                if kind in "fa":
                    pipe.send((worker, kind, allowed, acquired, begun, time.monotonic()))
                writer.close()

    async def serve() -> None:
        server = await asyncio.start_unix_server(answer, path, backlog=200)
        pipe.send(())
        await server.serve_forever()

    asyncio.run(serve())
