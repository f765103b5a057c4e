"""A tiny app in front of a callee, for servers with several workers; `CHAOS_STORE` names its store.

    /call     Calls the callee, behind a breaker: 200 well, 502 not well, 503 refused.
    /state    The state of the breaker and the process id.
    /stalls   The longest time that this worker's loop stood still, in seconds, since it was asked last.

`CHAOS_DIR/dead`, if it exists, makes the callee fail.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from recloser import Registry

registry = Registry(store=os.environ.get("CHAOS_STORE") or None)
breaker = registry["callee"]
DEAD = Path(os.environ.get("CHAOS_DIR", ".")) / "dead"
_TICK = 0.005  # seconds


class Loop:
    """Measures for how long the event loop stands still, if there is one.

    Attributes:
        longest: The longest time of late, in seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._pid = 0

    def start(self) -> None:
        """Begin, in each process anew."""
        if self._pid != os.getpid() and "gevent.monkey" in sys.modules:
            self._pid = os.getpid()
            gevent = import_module("gevent")
            gevent.spawn(self._tick, gevent.sleep)

    def _tick(self, sleep: Callable[[float], None]) -> None:
        while True:
            before = time.perf_counter()
            sleep(_TICK)
            self.longest = max(time.perf_counter() - before - _TICK, self.longest)


loop = Loop()


def answer(path: str) -> tuple[int, bytes]:
    """The status and the body for a path."""
    loop.start()
    if path == "/call":
        permit = breaker.try_acquire()
        if permit is None:
            return 503, b""
        with permit:
            if DEAD.exists():
                permit.failure()
                return 502, b""
        return 200, b""
    longest, loop.longest = loop.longest, 0.0
    fleet = registry.fleet
    about: dict[str, Any] = {
        "pid": os.getpid(),
        "state": breaker.state.value,
        "name": "" if fleet is None else fleet.name,
        "connected": fleet is not None and fleet.is_connected,
        "faults": registry.faults,
        "stall": longest if path == "/stalls" else 0.0,
    }
    return 200, json.dumps(about).encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Serve by WSGI."""
    status, body = answer(environ["PATH_INFO"])
    start_response(f"{status} any", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve by ASGI."""
    if scope["type"] != "http":
        return
    status, body = answer(scope["path"])
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
