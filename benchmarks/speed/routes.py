"""The cost to find the key of a request. It must not grow with the number of routes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from recloser_adapters.starlette import RouteKeys

from .report import Goal, Section
from .rounds import Candidate, Effort, measure, plain
from .web import SCOPE

ROUTES = (1, 10, 100, 600)
BARE = "no look-up"


async def _view(request: Request) -> Response:
    return PlainTextResponse("ok")


def key_resolution(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time the look-up of the *last* of many routes, for a cached path and for a new one."""
    candidates = [Candidate(BARE, plain(_requests(lambda scope: None, 1, seen=True)))]
    for routes in ROUTES:
        app = Starlette(routes=[Route(f"/r{n}/{{item}}", _view) for n in range(routes)])
        # Each has its own cache, because new paths would push the seen path out of a shared one.
        seen, new = RouteKeys(app), RouteKeys(app)
        candidates += [
            Candidate(f"{routes}, seen", plain(_requests(seen, routes, seen=True))),
            Candidate(f"{routes}, new", plain(_requests(new, routes, seen=False))),
        ]
    timings = measure(candidates, effort, tick)
    section = Section(
        "Finding the key in a Starlette app, last route of so many",
        ["routes", "seen path, ns", "new path, ns"],
    )
    seen_ns = [timings.added(f"{routes}, seen", BARE) for routes in ROUTES]
    new_ns = [timings.added(f"{routes}, new", BARE) for routes in ROUTES]
    section.rows += [[str(each), a, b] for each, a, b in zip(ROUTES, seen_ns, new_ns, strict=True)]
    ratio = seen_ns[-1] / seen_ns[0]
    section.goals.append(Goal("the key of a seen path at 600 routes, to 1 route", ratio, 1.25))
    return section


def _requests(
    keys: Callable[[dict[str, object]], object], routes: int, *, seen: bool
) -> Callable[[], object]:
    numbers = count()
    stem = f"/r{routes - 1}/"

    def request() -> object:
        # The path is a new str each time, also for a seen path, so that its hash is not stored yet.
        return keys({**SCOPE, "path": f"{stem}{0 if seen else next(numbers)}"})

    return request
