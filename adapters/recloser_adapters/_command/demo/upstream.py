"""The service behind the web apps: `PUT /phase/{name}` sets the phase of its orders.

Run it as `python -m recloser_adapters._command.demo.upstream`.
"""

from __future__ import annotations

import asyncio
import random

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from recloser_adapters._command.demo.children import serve
from recloser_adapters._command.demo.plan import FAILING, HANGING, HEALTHY, PHASES, SLOW

MEDIAN = 0.012  # seconds
SIGMA = 0.25  # of the logarithm: nine of ten answers take 8 to 18 ms
SLOWER = 30.0


def _latency() -> float:
    return MEDIAN * random.lognormvariate(0.0, SIGMA)


async def order(request: Request) -> Response:
    """Answer according to the phase."""
    phase = request.app.state.phase
    if phase == HANGING:
        # Wait until the caller disconnects. The first message is the (empty) body of the request.
        while (await request.receive())["type"] != "http.disconnect":
            pass
    if phase == FAILING:
        return JSONResponse({"error": "the ledger is corrupt"}, status_code=500)
    await asyncio.sleep(_latency() * (SLOWER if phase == SLOW else 1.0))
    return JSONResponse({"order": request.path_params["order"], "total": 12.5})


async def item(request: Request) -> Response:
    """Answer. This part of the upstream is always healthy."""
    await asyncio.sleep(_latency())
    return JSONResponse({"item": request.path_params["item"], "price": 2.5})


async def phase(request: Request) -> Response:
    """Return the phase. A PUT sets it first."""
    if request.method == "PUT":
        name = request.path_params["name"]
        if name not in PHASES:
            return JSONResponse({"error": f"phases are {', '.join(PHASES)}"}, status_code=404)
        request.app.state.phase = name
    return JSONResponse({"phase": request.app.state.phase})


def make_app() -> Starlette:
    """Return the upstream, in the healthy phase."""
    app = Starlette(
        routes=[
            Route("/orders/{order}", order),
            Route("/catalog/{item}", item),
            Route("/phase", phase),
            Route("/phase/{name}", phase, methods=["PUT"]),
        ]
    )
    app.state.phase = HEALTHY
    return app


if __name__ == "__main__":
    serve(make_app())
