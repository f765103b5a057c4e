"""Floors: for each goal of speed, the least plain Python that still keeps what cannot be given up.

A floor has no classes of errors, no settings, no suspicion, no probes and no callbacks, and catches
no fault of its own. All that it does is written into as few functions as possible. It is no breaker
that anybody could use. It answers one question: can the goal be reached in pure Python at all?

- The floor misses the goal: the goal is out of reach.
- The floor meets it: what lies between floor and goal is the room for all other promises.

Closures instead of the classes with slots below cost twice as much: a function that refers to itself
is a reference cycle, which the garbage collector has to find.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from math import ceil, inf
from typing import Any, Self

FLOOR = "floor"
FLOOR_REFUSED = "floor, refused"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

START, BODY = "http.response.start", "http.response.body"
MOST_PATHS = 2048  # clients choose paths
REFUSAL_BODY = b'{"status":503}'

_clock = time.perf_counter
_frame = sys._getframe


class Key:
    """What a floor knows of one key.

    Attributes:
        open_until: Calls that begin before this time, in seconds, are refused.
        calls: The calls in flight, oldest first, and when each began, in seconds; infinite while
            the call waits for its client or has begun to answer. So a call that hangs can be seen.
        latencies: Seconds that the last good calls took.
        failed: Number of calls that failed.
        cancelled: Number of calls whose client left.
        refused: Number of calls that were refused.
        headers: The headers of a refusal, for WSGI.
        raw_headers: The same for ASGI.
        headers_until: Until when, in seconds, their Retry-After is true.
    """

    __slots__ = (
        "calls",
        "cancelled",
        "failed",
        "headers",
        "headers_until",
        "latencies",
        "open_until",
        "raw_headers",
        "refused",
    )

    def __init__(self, open_for: float = -inf) -> None:
        self.open_until = _clock() + open_for
        self.calls: dict[Any, float] = {}
        self.latencies: deque[float] = deque(maxlen=1000)
        self.failed = self.cancelled = self.refused = 0
        self.headers: list[tuple[str, str]] = []
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.headers_until = -inf

    def prepare_refusal(self, now: float) -> None:
        """Make the headers of the refusals of the next second."""
        wait = str(ceil(self.open_until - now))
        self.headers = [("retry-after", wait), ("content-length", str(len(REFUSAL_BODY)))]
        self.raw_headers = [(name.encode(), value.encode()) for name, value in self.headers]
        self.headers_until = now + 1.0


# A request: ASGI


class AsgiCall:
    """One request. It is the `receive` of the app, and has its `send`."""

    __slots__ = (
        "is_received",
        "key",
        "latency",
        "pass_receive",
        "pass_send",
        "started",
        "status",
    )

    is_received: bool
    key: Key
    latency: float
    pass_receive: Receive
    pass_send: Send
    started: float
    status: int

    async def __call__(self) -> Message:
        key = self.key
        waits = not self.is_received and not self.status and self in key.calls
        if waits:
            key.calls[self] = inf
        since = _clock()
        try:
            message = await self.pass_receive()
        finally:
            if waits and not self.status and self in key.calls:
                self.started += _clock() - since
                key.calls[self] = self.started
        self.is_received = not message.get("more_body")
        if message["type"] == "http.disconnect" and key.calls.pop(self, None) is not None:
            key.cancelled += 1
        return message

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == START:
            self.status = message["status"]
            self.latency = _clock() - self.started
            if self in self.key.calls:
                self.key.calls[self] = inf
        elif kind == BODY and not message.get("more_body"):
            key = self.key
            if self in key.calls:
                del key.calls[self]
                if self.status < 500:
                    key.latencies.append(self.latency)
                else:
                    key.failed += 1
        pass_send = self.pass_send
        return pass_send(message)


class AsgiFloor:
    """The floor of an ASGI request, of a refusal, and of a request to a real server.

    It keeps these promises:

    - Each route has its own key. The key of a path that was seen before takes one look-up, which
      says as well that the path is not exempt.
    - A call in flight can be seen, so that one that hangs can be. While it waits for its client, or
      once it has begun to answer, it does not count as hanging.
    - Latency is taken at the first byte, and without the time in which the handler waits for its
      client. A status of 500 or above is a failure, an exception before the end is one, too.
    - A client that leaves has no vote. A call ends once, and none stays in flight.
    - A key that is open refuses: it counts that, and says by Retry-After how long to wait.

    Args:
        app: The app.
        key_of: The key of a path that was not seen before.
        open_for: Seconds for which new keys are open.
    """

    def __init__(self, app: App, key_of: Callable[[Message], str], open_for: float = -inf) -> None:
        self.app = app
        self.key_of = key_of
        self.open_for = open_for
        self.keys: dict[str, Key] = {}
        self.seen: dict[str, dict[str, Key]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            key = self.seen[scope["method"]][scope["path"]]
        except KeyError:
            key = self.find(scope)
        now = _clock()
        if now < key.open_until:
            key.refused += 1
            if now >= key.headers_until:
                key.prepare_refusal(now)
            await send({"type": START, "status": 503, "headers": [*key.raw_headers]})
            body = b"" if scope["method"] == "HEAD" else REFUSAL_BODY
            return await send({"type": BODY, "body": body})
        call = AsgiCall()
        call.key = key
        call.pass_send = send
        call.pass_receive = receive
        call.status = 0
        call.is_received = False
        key.calls[call] = call.started = now
        try:
            return await self.app(scope, call, call.send)
        except Exception:
            if key.calls.pop(call, None) is not None:
                key.failed += 1
            raise
        finally:
            if call in key.calls:
                del key.calls[call]
                key.cancelled += 1

    def find(self, scope: Message) -> Key:
        """Find the key of a path that was not seen before."""
        key = self.keys.setdefault(self.key_of(scope), Key(self.open_for))
        paths = self.seen.setdefault(scope["method"], {})
        if len(paths) >= MOST_PATHS:
            paths.clear()
        paths[scope["path"]] = key
        return key


# A request: WSGI


class WsgiCall:
    """One request. It is the body of the response, and has its `start_response`."""

    __slots__ = ("body", "key", "latency", "pass_start", "started", "status")

    body: Any
    key: Key
    latency: float
    pass_start: StartResponse
    started: float
    status: str

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        return self.pass_start(status, headers, exc_info)

    def __iter__(self) -> Iterator[bytes]:
        key = self.key
        try:
            for piece in self.body:
                if not self.latency and piece:
                    self.latency = _clock() - self.started
                    key.calls[self] = inf
                yield piece
        except Exception:
            if key.calls.pop(self, None) is not None:
                key.failed += 1
            raise
        if key.calls.pop(self, None) is not None:
            if self.status < "5":
                key.latencies.append(self.latency)
            else:
                key.failed += 1

    def close(self) -> None:
        if self.key.calls.pop(self, None) is not None:
            self.key.cancelled += 1
        close = getattr(self.body, "close", None)
        if close is not None:
            close()


class WsgiFloor:
    """The floor of a WSGI request, of a Flask request, and of their refusals.

    It keeps the promises of `AsgiFloor`, but for the waiting for the client, which WSGI does not
    show. Latency is taken at the first piece of the body that is not empty. A server closes a body,
    so that one that is not read to its end counts as cancelled.

    Args:
        app: The app.
        key_of: The key of a path that was not seen before.
        open_for: Seconds for which new keys are open.
    """

    def __init__(
        self, app: WsgiApp, key_of: Callable[[dict[str, Any]], str], open_for: float = -inf
    ) -> None:
        self.app = app
        self.key_of = key_of
        self.open_for = open_for
        self.keys: dict[str, Key] = {}
        self.seen: dict[str, dict[str, Key]] = {}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            key = self.seen[environ["REQUEST_METHOD"]][environ["PATH_INFO"]]
        except KeyError:
            key = self.find(environ)
        now = _clock()
        if now < key.open_until:
            key.refused += 1
            if now >= key.headers_until:
                key.prepare_refusal(now)
            start_response("503 Service Unavailable", [*key.headers])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSAL_BODY]
        call = WsgiCall()
        call.key = key
        call.pass_start = start_response
        call.latency = 0.0
        key.calls[call] = call.started = now
        try:
            body = self.app(environ, call.start)
        except BaseException:
            del key.calls[call]
            key.failed += 1
            raise
        if type(body) is list:
            del key.calls[call]
            if call.status < "5":
                key.latencies.append(_clock() - now)
            else:
                key.failed += 1
            return body
        call.body = body
        return call

    def find(self, environ: dict[str, Any]) -> Key:
        """Find the key of a path that was not seen before."""
        key = self.keys.setdefault(self.key_of(environ), Key(self.open_for))
        paths = self.seen.setdefault(environ["REQUEST_METHOD"], {})
        if len(paths) >= MOST_PATHS:
            paths.clear()
        paths[environ["PATH_INFO"]] = key
        return key


# A block


class Block:
    """The permit of one block."""

    __slots__ = ("around", "started")

    around: Self | None
    started: float


class WithFloor:
    """The floor of `with breaker:`.

    A block is told by the frame that has it. While the block goes on, its frame lives, so no other
    frame has the same id. It keeps these promises:

    - A block ends with its own permit: on any thread, in any task and context, in generators that
      are run or closed elsewhere, and where blocks of one breaker are within each other.
    - A call in flight can be seen. An `Exception` is a failure, another exception cancels.
    - A key that is open refuses.

    Another frame at the exit than at the entry, as an ExitStack has, is not served; a permit
    cannot be ended within its block.
    """

    __slots__ = ("blocks", "key")

    def __init__(self, open_for: float = -inf) -> None:
        self.key = Key(open_for)
        self.blocks: dict[int, Block] = {}

    def __enter__(self) -> Block:
        now = _clock()
        if now < self.key.open_until:
            self.key.refused += 1
            raise ConnectionRefusedError
        block = Block()
        block.started = now
        frame = id(_frame(1))
        blocks = self.blocks
        block.around = blocks[frame] if frame in blocks else None  # noqa: SIM401 - get() is slower
        blocks[frame] = block  # the blocks are the calls in flight
        return block

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        frame = id(_frame(1))
        block = self.blocks.pop(frame)
        if block.around is not None:
            self.blocks[frame] = block.around
        if error is None:
            self.key.latencies.append(_clock() - block.started)
        elif isinstance(error, Exception):
            self.key.failed += 1
        else:
            self.key.cancelled += 1
