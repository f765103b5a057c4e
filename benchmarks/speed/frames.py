"""The Python frames of a guarded call, and a profile of it."""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from recloser import Breaker, Registry
from recloser.asgi import BreakerMiddleware

from .report import Section
from .web import SCOPE, receive, send, two_messages


def frames() -> Section:
    """Count the Python functions that one guarded call or request enters."""
    decorated = Breaker("frames")(lambda: None)
    app = BreakerMiddleware(two_messages, Registry(), key=lambda scope: "route")

    def request() -> None:
        _run_through(app(dict(SCOPE), receive, send))

    section = Section("Python frames of one call, the caller's own included", ["", "frames"])
    for name, call in (("decorator", decorated), ("ASGI request", request)):
        for _ in range(100):
            call()
        entered = _entered(call)
        section.rows.append([name, float(entered.total())])
        section.notes.append(f"{name}: " + ", ".join(f"{what} x{n}" for what, n in entered.items()))
    return section


def _run_through(request: Any) -> None:
    """Run a coroutine that never waits, without an event loop."""
    try:
        request.send(None)
    except StopIteration:
        return
    raise RuntimeError("the request waited for something")


def _entered(call: Callable[[], object]) -> Counter[str]:
    entered: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            entered[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


def profile(requests: int = 50_000) -> str:
    """Return cProfile's table of guarded ASGI requests. Built-in calls look too cheap in it."""
    app = BreakerMiddleware(two_messages, Registry(), key=lambda scope: "route")

    async def serve() -> None:
        for _ in range(requests):
            await app(dict(SCOPE), receive, send)

    profiler = cProfile.Profile()
    profiler.runcall(asyncio.run, serve())
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(20)
    return text.getvalue()
