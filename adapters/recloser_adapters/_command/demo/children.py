"""Processes that live no longer than the one that started them, on ports that were free.

A child's standard input is a pipe that nobody writes to: it ends when the parent does, however
the parent ends, and the child then ends too. Its standard output is lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import uvicorn

START_WITHIN = 20.0  # seconds; a cold machine imports slowly
STOP_WITHIN = 3.0

Event = Mapping[str, Any]


class ChildError(Exception):
    """A child did not start, or ended on its own; the message carries what it said last."""


class Child:
    """A Python module run as a process of its own.

    Args:
        module: Dotted name of the module.
        arguments: Its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            # Ctrl-C is for the parent alone: it ends the children in order.
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"reads {module}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield the events that come until none came for so many seconds.

        Raises:
            ChildError: The child has ended.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                return
            if event is None:
                raise ChildError(f"{self._module} ended on its own: {self._last_words()}")
            yield event

    def url(self) -> str:
        """Wait until the child serves, and return where.

        Raises:
            ChildError: It ended instead, or took too long.
        """
        for event in self.events(START_WITHIN):
            return f"http://127.0.0.1:{event['port']}"
        raise ChildError(f"{self._module} did not start within {START_WITHIN:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self) -> None:
        with self._process.stdout or open(os.devnull, "rb") as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def tell(event: Event) -> None:
    """Send an event to the parent."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """End this process when its standard input does."""

    def watch() -> None:
        sys.stdin.buffer.read()
        # Not sys.exit: calls that hang, which is what this is about, must not hold us up.
        os._exit(0)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()


def serve(app: Any) -> None:
    """Serve an ASGI app on a free port of the loopback interface and tell the parent which."""
    end_with_parent()
    # Bound and listening before anyone is told: there is no moment at which another process
    # could take the port, or a first request be refused.
    # asyncio turns Nagle's algorithm off only where the socket says that it is TCP; with it on, an
    # answer of two packets waits 40 ms for the first one's acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    tell({"port": listener.getsockname()[1]})
    # Idle connections are kept for longer than a show: closing one just as the client uses it
    # would be a failure of no interest here.
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_keep_alive=120)
    uvicorn.Server(config).run(sockets=[listener])
