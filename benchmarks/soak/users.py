"""Clients that do nothing wrong, and know what they must be answered."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.soak import work
from benchmarks.soak.servers import TIMEOUT

_BOUNDARY = "user"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a user."""

    method: str
    path: str
    body: bytes = b""
    kind: str = ""
    chunked: bool = False

    @property
    def route(self) -> str:
        """What is asked for, without the app and the argument."""
        return self.path.split("/")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a user is answered. Headers that differ from time to time are left out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def is_refusal(self) -> bool:
        """Whether a breaker gave it: no handler here answers 503."""
        return self.status == 503


_VARYING = {"date", "connection", "keep-alive"}


class User:
    """Sends one request after another on a connection that is kept where the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, request: Request) -> Answer:
        """Send a request and read the whole answer.

        A server may close a kept connection at any time, so the first try on one may fail.
        """
        if self._connection is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self._ask(self._connection, request)
            self.leave()
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        return self._ask(self._connection, request)

    def leave(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, connection: http.client.HTTPConnection, request: Request) -> Answer:
        headers = {"Content-Type": request.kind} if request.kind else {}
        body: object = request.body or None
        if request.chunked:
            half = len(request.body) // 2
            body = iter([request.body[:half], request.body[half:]])
        connection.request(
            request.method,
            request.path,
            body,  # type: ignore[arg-type]  # an iterator of bytes is one of the kinds
            headers,
            encode_chunked=request.chunked,
        )
        response = connection.getresponse()
        content = response.read()
        kept = sorted(
            (name.lower(), value)
            for name, value in response.getheaders()
            if name.lower() not in _VARYING
        )
        return Answer(response.status, tuple(kept), content)


def post_form(app: str) -> Request:
    """A form with a file."""
    body = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nuser\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body += b"file" * 500 + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return Request("POST", f"/{app}/form", body, f"multipart/form-data; boundary={_BOUNDARY}")


def request_of(app: str, chance: random.Random, *, faults: bool = False) -> Request:
    """A request to one of the routes that an app has.

    Args:
        app: Its name.
        chance: Decides which.
        faults: Whether requests to `/faulty` and `/outage` are among them.
    """
    routes = ["upload", "upload", "json", "item", "item", "item", "big", "stream"]
    routes += ["form"] if app != "plain" else []
    routes += ["faulty", "faulty", "outage"] if faults else []
    route = chance.choice(routes)
    if route == "upload":
        size = chance.choice([10, 1000, 100_000])
        return Request(
            "POST",
            f"/{app}/upload",
            chance.randbytes(size),
            "application/octet-stream",
            # Under WSGI, these two do not take a body without a length.
            chunked=app not in {"django", "bottle"} and chance.random() < 0.3,
        )
    if route == "json":
        return Request("POST", f"/{app}/json", b"[1, 2, 3]", "application/json")
    if route == "form":
        return post_form(app)
    if route == "outage":
        return Request("POST", f"/{app}/outage", b"user", "application/octet-stream")
    if route in {"item", "faulty"}:
        return Request("GET", f"/{app}/{route}/{chance.randrange(1_000_000)}")
    return Request("GET", f"/{app}/{route}")


def expected(request: Request) -> bytes:
    """The body that a healthy route answers."""
    if request.route == "upload":
        return work.digest(request.body)
    if request.route == "json":
        return work.total([1, 2, 3])
    if request.route == "form":
        return work.fields({"name": "user"}, b"file" * 500)
    if request.route == "item":
        return work.item(int(request.path.rpartition("/")[2]))
    return work.big()  # whole or as a stream, and at the end of an outage


@dataclass(slots=True)
class Tally:
    """What became of the requests of users.

    Attributes:
        asked: How many there were.
        refused: How many of them a breaker refused.
        wrong: How often another answer than the right one came, by what it was.
    """

    asked: int = 0
    refused: int = 0
    wrong: Counter[str] = field(default_factory=Counter)


def ask_many(port: int, requests: Iterator[Request], count: int, users: int = 4) -> Tally:
    """Let several users send `count` requests in total, and compare the answers with `expected`."""
    tally, lock = Tally(), threading.Lock()

    def use(user: User) -> None:
        while True:
            with lock:
                if tally.asked >= count:
                    break
                tally.asked += 1
                request = next(requests)
            try:
                answer = user.ask(request)
                said = f"{answer.status}" if answer.status != 200 else ""
                if not said and answer.body != expected(request):
                    said = f"{len(answer.body)} other bytes"
            except (OSError, http.client.HTTPException) as error:
                user.leave()
                answer, said = None, f"{error!r}"
            with lock:
                tally.refused += answer is not None and answer.is_refusal
                if said:
                    tally.wrong[f"{request.method} {request.path.rpartition('/')[0]}: {said}"] += 1
        user.leave()

    _together([lambda: use(User(port))] * users)
    return tally


def _together(tasks: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
