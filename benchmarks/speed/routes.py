"""Finding the key of a request: the cost must not grow with the number of routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from recloser import Registry
from recloser_adapters import starlette as recloser_starlette

from .report import Goal, Section
from .rounds import Candidate, Effort, awaited, measure
from .web import SCOPE, Message, Receive, Send, receive, send, two_messages

ROUTES = (1, 10, 100, 600)


async def _view(request: Request) -> Response:
    return PlainTextResponse("ok")


def key_resolution(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time the middleware on the *last* of so many routes, for a seen and for a new path."""
    with asyncio.Runner() as runner:
        candidates = [
            Candidate("no breaker", awaited(runner, _requests(two_messages, {}, seen=True)))
        ]
        for routes in ROUTES:
            app = Starlette(routes=[Route(f"/r{n}/{{item}}", _view) for n in range(routes)])
            # Around a trivial app, so that the router's own walk is not in the figures; the
            # routes are found where Starlette puts them, on the scope.
            guarded = recloser_starlette.BreakerMiddleware(two_messages, registry=Registry())
            scope: Message = {"app": app, "path": f"/r{routes - 1}/"}
            candidates += [
                Candidate(
                    f"{routes} routes, seen", awaited(runner, _requests(guarded, scope, seen=True))
                ),
                Candidate(
                    f"{routes} routes, new", awaited(runner, _requests(guarded, scope, seen=False))
                ),
            ]
        timings = measure(candidates, effort, tick)
    section = Section(
        "Finding the key, last route of so many",
        ["routes", "seen path, added ns", "new path, added ns"],
    )
    seen = [timings.added(f"{routes} routes, seen", "no breaker") for routes in ROUTES]
    new = [timings.added(f"{routes} routes, new", "no breaker") for routes in ROUTES]
    section.rows += [[str(each), a, b] for each, a, b in zip(ROUTES, seen, new, strict=True)]
    section.goals.append(
        Goal("a seen path at 600 routes, to the same at 1 route", seen[-1] / seen[0], 1.25)
    )
    return section


def _requests(
    app: Callable[[Message, Receive, Send], Awaitable[None]], extra: Message, *, seen: bool
) -> Callable[[], Awaitable[None]]:
    numbers = count()
    base = {**SCOPE, **extra}
    stem = base["path"]

    async def request() -> None:
        # The string is built for a seen path too, so that both cost the same outside.
        path = f"{stem}{0 if seen else next(numbers)}"
        await app({**base, "path": path}, receive, send)

    return request
