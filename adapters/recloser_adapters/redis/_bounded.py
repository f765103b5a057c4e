"""Bounded: the library's connections, with an end to all they do.

The time-outs of the libraries are for one step: one attempt to connect, one read. What takes many
steps may take many times as long, and to find the address of a name has no time-out at all. Here a
deadline holds for all steps together.
"""

from __future__ import annotations

import ipaddress
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from typing import Any

LIMIT = 0.25  # seconds; what `recloser.fleet.Store` allows for one operation
# Threads that connect and were given up: each ends with the time-out of the system's resolver.
_MAX_GIVEN_UP = 4


class BoundedSocket:
    """A socket whose every step ends by one deadline.

    Attributes:
        raw: The socket.
        until: The deadline, by `time.monotonic()`.
    """

    def __init__(self, raw: Any, until: float) -> None:
        self.raw = raw
        self.until = until
        self._timeout: float | None = raw.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def _limited(self) -> Any:
        left = self.until - time.monotonic()
        limits = [left] if self._timeout is None else [left, self._timeout]
        # A time-out of 0 takes what is there, and waits for nothing.
        if self._timeout != 0 and left <= 0:
            raise TimeoutError("timed out")
        self.raw.settimeout(max(0.0, min(limits)))
        return self.raw

    def recv(self, *args: Any) -> Any:
        return self._limited().recv(*args)

    def recv_into(self, *args: Any) -> Any:
        return self._limited().recv_into(*args)

    def send(self, *args: Any) -> Any:
        return self._limited().send(*args)

    def sendall(self, *args: Any) -> Any:
        return self._limited().sendall(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class _Bounded:
    """Stands before a connection class of the library, and takes hold of its socket."""

    until = float("inf")
    bounded: BoundedSocket | None = None

    def _connect(self) -> Any:
        library: Any = super()
        self.bounded = BoundedSocket(library._connect(), self.until)
        return self.bounded


@cache
def bounded_class(connection_class: type) -> Any:
    """A connection class of the library with deadlines."""
    return type(f"Bounded{connection_class.__name__}", (_Bounded, connection_class), {})


def set_deadline(connection: Any, until: float) -> None:
    """Let all that this connection does end by then."""
    connection.until = until
    if connection.bounded is not None:
        connection.bounded.until = until


def ask(connection: Any, *command: Any) -> Any:
    """Send one command and read its answer.

    Whatever happens in between, no later command gets this answer: it is read, or the connection is
    of no use any more.
    """
    try:
        connection.send_command(*command)
        return connection.read_response()
    except BaseException as error:
        if not is_answer(error):
            drop(connection)
        raise


def is_answer(error: BaseException) -> bool:
    """Whether the server has answered with an error, so that the connection is as good as before."""
    return any(each.__name__ == "ResponseError" for each in type(error).__mro__)


def drop(connection: Any) -> None:
    """Close a connection."""
    with suppress(Exception):
        connection.disconnect()


def abandon(connection: Any) -> None:
    """Close, in a forked child, our side of a connection of the parent, and send nothing."""
    with suppress(Exception):
        connection.bounded.raw.close()
    with suppress(Exception):
        connection.bounded = connection._sock = None


def connect(connection: Any, until: float) -> None:
    """Connect by then, or raise an error of the library or of the system."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no time left to connect")
    connection.until = until
    connection.socket_connect_timeout = seconds
    # The greeting tells our library and its version: two more round trips.
    for greeting in ("lib_name", "lib_version", "driver_info"):
        if hasattr(connection, greeting):
            setattr(connection, greeting, None)
    if _has_bounded_steps(connection) or _is_patched():
        connection.connect()
    else:
        _connect_in_thread(connection, seconds)


def _has_bounded_steps(connection: Any) -> bool:
    """Whether the deadline of the socket bounds all: no name to look up, no TLS to greet with."""
    if hasattr(connection, "path"):
        return True
    if any(each.__name__ == "SSLConnection" for each in type(connection).__mro__):
        return False
    try:
        ipaddress.ip_address(connection.host)
    except ValueError:
        return False
    return True


def _is_patched() -> bool:
    """Whether gevent has replaced the sockets: such a socket belongs to the thread that made it."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


_given_up: list[_Attempt] = []


class _Attempt(threading.Thread):
    def __init__(self, connection: Any) -> None:
        super().__init__(name="recloser-redis-connect", daemon=True)
        self.connection = connection
        self.error: BaseException | None = None
        self.too_late = False

    def run(self) -> None:
        try:
            self.connection.connect()
        except BaseException as error:
            self.error = error
        if self.too_late:
            drop(self.connection)


def _connect_in_thread(connection: Any, seconds: float) -> None:
    _given_up[:] = [each for each in _given_up if each.is_alive()]
    if len(_given_up) >= _MAX_GIVEN_UP:
        raise TimeoutError(f"{_MAX_GIVEN_UP} earlier attempts to connect have not ended")
    attempt = _Attempt(connection)
    attempt.start()
    attempt.join(seconds)
    if attempt.is_alive():
        attempt.too_late = True
        _given_up.append(attempt)
        raise TimeoutError("timed out while connecting")
    if attempt.error is not None:
        raise attempt.error


def forget_threads() -> None:
    """Forget, in a forked child, the threads of the parent."""
    _given_up.clear()
