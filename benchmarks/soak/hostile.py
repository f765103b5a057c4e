"""Clients that break the protocol, leave, or are slow on purpose. None of them may harm another one.

Each attack is bounded: it lasts a little longer than `Target.patience`, and leaves no socket open.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_BOUNDARY = "attack"


@dataclass(frozen=True, slots=True)
class Target:
    """A server under attack.

    Attributes:
        port: Where it listens, on loopback.
        apps: The apps that it serves, by the first part of their paths.
        patience: For how long a slow client keeps a connection, in seconds.
        spared: Attacks that are not made, since the server itself cannot bear them.
    """

    port: int
    apps: tuple[str, ...]
    patience: float = 1.0
    spared: tuple[str, ...] = ()


Attack = Callable[[Target, str, random.Random], None]
ATTACKS: dict[str, Attack] = {}


def _attack(function: Attack) -> Attack:
    ATTACKS[function.__name__] = function
    return function


@contextlib.contextmanager
def _connected(target: Target, buffer: int = 0) -> Iterator[socket.socket]:
    client = socket.socket()
    try:
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(5.0)
        client.connect(("127.0.0.1", target.port))
        yield client
    finally:
        client.close()


def _reset(client: socket.socket) -> None:
    """Let close() send RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read(client: socket.socket, seconds: float) -> bytes:
    """Read what comes, for so long at most."""
    received = b""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0.0:
        client.settimeout(left)
        try:
            piece = client.recv(65536)
        except OSError:
            break
        if not piece:
            break
        received += piece
    return received


def _head(method: str, path: str, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: soak", *headers, "", ""]
    return "\r\n".join(lines).encode()


def _post(app: str, route: str, *headers: str, version: str = "1.1") -> bytes:
    kind = {
        "json": "application/json",
        "form": f"multipart/form-data; boundary={_BOUNDARY}",
    }.get(route, "application/octet-stream")
    return _head("POST", f"/{app}/{route}", f"Content-Type: {kind}", *headers, version=version)


def _begun(route: str) -> bytes:
    """The beginning of a body."""
    if route == "json":
        return b"[1, 2, 3"
    if route == "form":
        return (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n'
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
            "Content-Type: application/octet-stream\r\n\r\nabc"
        ).encode()
    return b"abc"


def _route(chance: random.Random) -> str:
    return chance.choice(["upload", "json", "form"])


# Malformed


@_attack
def bad_chunk_size(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        route = _route(chance)
        sent = b"%x\r\n%b\r\n" % (len(_begun(route)), _begun(route))
        bad = chance.choice([b"ZZZ\r\n", b"-5\r\n", b"\r\n\r\n", b"5;" + b"x" * 9000])
        client.sendall(_post(app, route, "Transfer-Encoding: chunked") + sent + bad)
        _read(client, 0.1)


@_attack
def huge_chunk(target: Target, app: str, chance: random.Random) -> None:
    """Announce a chunk of 16 EiB, and leave."""
    with _connected(target) as client:
        route = _route(chance)
        sent = b"%x\r\n%b\r\n" % (len(_begun(route)), _begun(route))
        head = _post(app, route, "Transfer-Encoding: chunked")
        client.sendall(head + sent + b"ffffffffffffffff\r\n")
        _read(client, 0.1)


@_attack
def bad_chunk_end(target: Target, app: str, chance: random.Random) -> None:
    """A chunk that is longer than it said."""
    with _connected(target) as client:
        head = _post(app, _route(chance), "Transfer-Encoding: chunked")
        client.sendall(head + b"3\r\nabcdef\r\n0\r\n\r\n")
        _read(client, 0.1)


@_attack
def bad_trailer(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        head = _post(app, "upload", "Transfer-Encoding: chunked")
        client.sendall(head + b"3\r\nabc\r\n0\r\n" + b"\x00bad trailer\r\n" * 3 + b"\r\n")
        _read(client, 0.1)


@_attack
def bad_request(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        bad = chance.choice(
            [
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS to a plain port
                b"GET\r\n\r\n",
                f"GET /{app}/item/1 HTTP/9.9\r\n\r\n".encode(),
                _post(app, "upload", "Content-Length: -1"),
                _post(app, "upload", "Content-Length: 3", "Transfer-Encoding: chunked") + b"abc",
                _post(app, "upload", "Content-Length: 3", "Content-Length: 4") + b"abcd",
                _post(app, "upload", "Content-Length: 3x") + b"abc",
                _head("GET", f"/{app}/item/1", "X: " + "y" * 100_000),
                _head("GET", f"/{app}/item/1", "Bad\x00Name: 1"),
            ]
        )
        with contextlib.suppress(OSError):  # it may hang up before it has all
            client.sendall(bad)
        _read(client, 0.1)


# Cut


@_attack
def cut_body(target: Target, app: str, chance: random.Random) -> None:
    """Less than the announced length, then the end, or a reset."""
    with _connected(target) as client:
        route = _route(chance)
        client.sendall(_post(app, route, "Content-Length: 99999") + _begun(route))
        time.sleep(0.02)
        if chance.random() < 0.5:
            _reset(client)


@_attack
def cut_chunks(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        route = _route(chance)
        head = _post(app, route, "Transfer-Encoding: chunked")
        client.sendall(head + b"fff\r\n" + _begun(route))
        time.sleep(0.02)
        if chance.random() < 0.5:
            _reset(client)


@_attack
def cut_head(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        head = _post(app, "upload", "Content-Length: 5")
        client.sendall(head[: chance.randrange(1, len(head))])
        if chance.random() < 0.5:
            _reset(client)


@_attack
def half_closed(target: Target, app: str, chance: random.Random) -> None:
    """The end of a body that is too short; the client still reads."""
    with _connected(target) as client:
        route = _route(chance)
        if chance.random() < 0.5:
            client.sendall(_post(app, route, "Content-Length: 99999") + _begun(route))
        else:
            client.sendall(
                _post(app, route, "Transfer-Encoding: chunked") + b"fff\r\n" + _begun(route)
            )
        client.shutdown(socket.SHUT_WR)
        _read(client, 0.2)


@_attack
def old_http(target: Target, app: str, chance: random.Random) -> None:
    """HTTP/1.0, with a body that is too short, or without any length."""
    with _connected(target) as client:
        if chance.random() < 0.5:
            route = _route(chance)
            head = _post(app, route, "Content-Length: 99999", version="1.0")
            client.sendall(head + _begun(route))
        else:
            client.sendall(_post(app, "upload", version="1.0") + b"abc")
        client.shutdown(socket.SHUT_WR)
        _read(client, 0.2)


@_attack
def expects(target: Target, app: str, chance: random.Random) -> None:
    """Ask to be told to go on, and do not go on."""
    with _connected(target) as client:
        head = _post(app, _route(chance), "Content-Length: 99999", "Expect: 100-continue")
        client.sendall(head)
        _read(client, target.patience * chance.random())
        if chance.random() < 0.5:
            _reset(client)


# Vanishing


@_attack
def resets_at_once(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        route = chance.choice(["item/7", "big", "stream"])
        client.sendall(_head("GET", f"/{app}/{route}"))
        time.sleep(chance.choice([0.0, 0.001, 0.01]))
        _reset(client)


@_attack
def vanishes_in_the_answer(target: Target, app: str, chance: random.Random) -> None:
    """Read a part of a long answer, then leave."""
    with _connected(target, buffer=4096) as client:
        client.sendall(_head("GET", f"/{app}/{chance.choice(['big', 'stream', 'write'])}"))
        with contextlib.suppress(OSError):
            client.recv(chance.randrange(1, 20_000))
        if chance.random() < 0.5:
            _reset(client)


@_attack
def half_closed_answer(target: Target, app: str, chance: random.Random) -> None:
    """A whole request, then FIN: the client reads on, and a server may take it for gone."""
    with _connected(target) as client:
        client.sendall(
            _head("GET", f"/{app}/{chance.choice(['item/7', 'big', 'stream', 'write'])}")
        )
        client.shutdown(socket.SHUT_WR)
        _read(client, 0.2)


# Pipelined


@_attack
def pipelined(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        paths = [f"/{app}/{chance.choice(['item/7', 'big', 'stream', 'write'])}" for _ in range(20)]
        client.sendall(b"".join(_head("GET", path) for path in paths))
        time.sleep(chance.choice([0.0, 0.01, 0.05]))
        _reset(client)


@_attack
def pipelined_uploads(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client:
        whole = _post(app, "upload", "Content-Length: 3") + b"abc"
        client.sendall(whole * 10 + _post(app, "upload", "Content-Length: 9") + b"abc")
        time.sleep(chance.choice([0.0, 0.01, 0.05]))
        _reset(client)


@_attack
def pipelined_and_slow(target: Target, app: str, chance: random.Random) -> None:
    """Several long answers, read slowly: the next handler waits until the last answer is taken."""
    with _connected(target, buffer=4096) as client:
        path = f"/{app}/{chance.choice(['big', 'stream', 'write'])}"
        client.sendall(_head("GET", path) * 4)
        _sip(client, target.patience, 16_384)
        _reset(client)


# Slow


def _sip(client: socket.socket, seconds: float, size: int = 512) -> None:
    until = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while time.monotonic() < until and client.recv(size):
            time.sleep(0.01)


@_attack
def slow_download(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target, buffer=4096) as client:
        client.sendall(_head("GET", f"/{app}/{chance.choice(['big', 'stream', 'write'])}"))
        _sip(client, target.patience)
        if chance.random() < 0.5:
            _reset(client)


@_attack
def slow_upload(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client, contextlib.suppress(OSError):
        route = _route(chance)
        body = _begun(route)
        client.sendall(_post(app, route, f"Content-Length: {len(body) + 2}"))
        for byte in body:
            client.sendall(bytes([byte]))
            time.sleep(target.patience / len(body))


@_attack
def slow_chunks(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client, contextlib.suppress(OSError):
        client.sendall(_post(app, "upload", "Transfer-Encoding: chunked"))
        for _ in range(10):
            client.sendall(b"1\r\nx\r\n")
            time.sleep(target.patience / 10)
        client.sendall(b"0\r\n\r\n")
        _read(client, 0.2)


@_attack
def slow_head(target: Target, app: str, chance: random.Random) -> None:
    with _connected(target) as client, contextlib.suppress(OSError):
        client.sendall(f"GET /{app}/item/7 HTTP/1.1\r\nHost: soak\r\n".encode())
        for number in range(10):
            client.sendall(f"X-{number}: slow\r\n".encode())
            time.sleep(target.patience / 10)


@_attack
def holds_an_upload(target: Target, app: str, chance: random.Random) -> None:
    """Announce a body, send nothing, and leave late."""
    with _connected(target) as client:
        client.sendall(_post(app, _route(chance), "Content-Length: 5"))
        time.sleep(target.patience)
        if chance.random() < 0.5:
            _reset(client)


@_attack
def takes_a_probe(target: Target, app: str, chance: random.Random) -> None:
    """Be slow on a route that has an outage now and then: send slowly, send nothing, read slowly."""
    with _connected(target, buffer=4096) as client, contextlib.suppress(OSError):
        head = _post(app, "outage", "Content-Length: 5")
        how = chance.choice(["holds", "drips", "sips"])
        client.sendall(head + (b"probe" if how == "sips" else b""))
        if how == "sips":
            _sip(client, target.patience)
        for _ in range(4):
            if how == "drips":
                client.sendall(b"p")
            if how != "sips":
                time.sleep(target.patience / 4)


class Attackers:
    """Several hostile clients, each one attack after another, while the block runs.

    Args:
        target: The server.
        count: How many clients.
        seed: Which attacks, in which order.
        names: Which attacks; all by default. Those that the target is spared are left out.

    Attributes:
        made: How many attacks were made, by name.
    """

    def __init__(
        self, target: Target, count: int = 10, seed: int = 1, names: tuple[str, ...] = ()
    ) -> None:
        chosen = [name for name in names or ATTACKS if name not in target.spared]
        self.made: dict[str, int] = dict.fromkeys(chosen, 0)
        self._target = target
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._run, args=(random.Random(f"{seed} {number}"),), daemon=True
            )
            for number in range(count)
        ]

    def __enter__(self) -> Mapping[str, int]:
        for thread in self._threads:
            thread.start()
        return self.made

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random) -> None:
        while not self._over.is_set():
            names = [*self.made]
            chance.shuffle(names)
            for name in names:
                if self._over.is_set():
                    return
                # What goes wrong on the way is the attacker's own business.
                with contextlib.suppress(OSError):
                    ATTACKS[name](self._target, chance.choice(self._target.apps), chance)
                with self._lock:
                    self.made[name] += 1
