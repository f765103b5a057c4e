"""A fake provider on a real socket that answers by script, byte by byte.

    upstream.answers("/chat", head(200, {"content-type": "text/event-stream"}), wait, chunk(b"hi"))

An answer is a sequence of steps. Bytes are sent; a callable is called with the socket. There are no
sleeps: a step may wait for an event, or advance a manual clock.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Self

Step = bytes | Callable[[socket.socket], object]

PATIENCE = 20.0
"""Seconds that a step or thread waits at most, so that an error in a test cannot hang it."""
LAST = b"0\r\n\r\n"
"""Ends a chunked body."""


def head(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Status line and headers. The body is chunked, unless a header says otherwise."""
    given = dict(headers or {})
    if not {"content-length", "transfer-encoding", "connection"} & {name.lower() for name in given}:
        given["transfer-encoding"] = "chunked"
    lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer in one piece."""
    return head(status, {"content-length": str(len(body)), **(headers or {})}) + body


def cut(wire: socket.socket) -> None:
    """End the connection with a reset, at any point of the answer."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise _WireClosedError


def hang_up(wire: socket.socket) -> None:
    """Close the connection normally, at any point of the answer."""
    raise _WireClosedError


class _WireClosedError(Exception):
    """A step ended the connection."""


@dataclass
class Seen:
    """A request that was received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Gate:
    """A step that waits until it is opened. `reached` is set when the waiting begins."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, wire: socket.socket) -> None:
        self.reached.set()
        if not self.opened.wait(PATIENCE):
            raise _WireClosedError

    def open(self) -> None:
        """Let the answer continue."""
        self.opened.set()


class Listening:
    """Listens on a free port of 127.0.0.1 while the block runs. Each connection has a thread.

    Attributes:
        port: The port.
        connections: Number of connections accepted so far.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._wires: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    @property
    def host(self) -> str:
        """`127.0.0.1:port`, which is also the key by host."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in list(self._wires):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)

    def serve(self, wire: socket.socket) -> None:
        """Answer on a connection, and close it."""
        raise NotImplementedError

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._wires.append(wire)
            self._spawn(self.serve, wire)


class Upstream(Listening):
    """The provider.

    Attributes:
        seen: The requests, in the order of their arrival.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self._answers: dict[str, list[tuple[Step, ...]]] = {}
        self._gates: list[Gate] = []
        self._lock = threading.Lock()

    def answers(self, path: str, *steps: Step) -> None:
        """Add an answer for a path. Answers are used in turn, the last one again and again."""
        self._answers.setdefault(path, []).append(steps)
        self._gates += [step for step in steps if isinstance(step, Gate)]

    def count(self, path: str) -> int:
        """Number of requests to a path so far."""
        return sum(each.target.partition("?")[0] == path for each in self.seen)

    def __exit__(self, *error: object) -> None:
        for gate in self._gates:
            gate.open()
        super().__exit__(*error)

    def serve(self, wire: socket.socket) -> None:
        """Answer requests by the script, until the client or a step ends the connection."""
        # A client that disconnects in the middle of its request leaves half a line.
        gone = contextlib.suppress(OSError, ValueError, _WireClosedError)
        with wire, gone, wire.makefile("rb") as lines:
            while (seen := _read_request(lines)) is not None:
                self.seen.append(seen)
                for step in self._next_answer(seen.target):
                    if isinstance(step, bytes):
                        wire.sendall(step)
                    else:
                        step(wire)

    def _next_answer(self, target: str) -> tuple[Step, ...]:
        # A request to a proxy has a whole URL.
        path = "/" + target.split("/", 3)[3] if target.startswith("http://") else target
        with self._lock:
            scripted = self._answers.get(path.partition("?")[0])
            if not scripted:
                return (answer(404, b"no such script"),)
            return scripted.pop(0) if len(scripted) > 1 else scripted[0]


def _read_request(lines: BufferedReader) -> Seen | None:
    """Read one request, or None at the end of the connection."""
    readline, read = lines.readline, lines.read
    first = readline()
    if not first.strip():
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while (size := int(readline(), 16)) > 0:
            body += read(size)
            readline()
        readline()
    else:
        body = read(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body)


@contextlib.contextmanager
def unreachable() -> Iterator[int]:
    """A port that neither accepts nor refuses a connection: a connection attempt hangs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        # Linux holds one connection more than the backlog, and does not answer further ones.
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port without a listener: a connection attempt is refused.

    The port stays bound. Otherwise another process could listen there, or a client could get it as
    its own port and connect to itself.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        yield port
