"""Child processes that end with their parent, and servers on free ports.

A child's standard input is a pipe without data. The pipe closes when the parent ends, for any
reason, and the child then ends, too. The child writes events as lines of JSON to standard output.
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

START_WITHIN = 20.0  # seconds; the first imports on a machine are slow
STOP_WITHIN = 3.0

Event = Mapping[str, Any]


class ChildError(Exception):
    """A child did not start, or ended unexpectedly. The message has its last line of errors."""


class Child:
    """A Python module that runs in its own process.

    Args:
        module: Dotted name of the module.
        arguments: Its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Only the parent must get Ctrl-C: it ends the children in order.
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"reads {module}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield the events of the child, until none arrives for `timeout` seconds.

        Raises:
            ChildError: The child has ended.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                return
            if event is None:
                raise ChildError(f"{self._module} ended unexpectedly: {self._last_line()}")
            yield event

    def url(self) -> str:
        """Wait until the child serves, and return its URL.

        Raises:
            ChildError: The child ended instead, or took too long.
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
        self._errors.close()

    def _read(self) -> None:
        with self._process.stdout or open(os.devnull, "rb") as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _last_line(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote no error message"


def emit(event: Event) -> None:
    """Send an event to the parent."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """End this process when its standard input ends."""

    def watch() -> None:
        sys.stdin.buffer.read()
        # sys.exit would end only this thread. os._exit does not wait for calls that hang.
        os._exit(0)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()


def serve(app: Any) -> None:
    """Serve an ASGI app on a free port of the loopback interface; send the port to the parent."""
    end_with_parent()
    # The socket listens before the port is sent, so that no other process can take the port and no
    # first request is refused.
    # asyncio turns Nagle's algorithm off only if the socket's protocol is TCP. With the algorithm,
    # an answer of two packets waits 40 ms for the acknowledgement of the first one.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    emit({"port": listener.getsockname()[1]})
    # Idle connections are kept for longer than a run: closing one at the moment when the client uses
    # it would be a failure that the demo is not about.
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_keep_alive=120)
    uvicorn.Server(config).run(sockets=[listener])
