"""An app whose breakers Prometheus watches. The folder has all that is needed to look at them.

Run it:  pip install '.[starlette,prometheus]' uvicorn
         python examples/observability/app.py           # on port 8000
         prometheus --config.file=examples/observability/prometheus.yml
Try it:  curl localhost:8000/metrics/                   # what Prometheus reads
         curl -X PUT localhost:8000/shop/down           # the shop fails; `slow` and `up` are the others
         for i in $(seq 99); do curl -s localhost:8000/orders/$i; done
         open localhost:9090/alerts                     # `BreakerOpen` is pending, after a minute firing
         curl -X PUT localhost:8000/shop/up             # it closes by itself, once it is asked again
In Grafana: Dashboards, New, Import, examples/observability/dashboard.json

With several workers each is told, if they share a folder:
         PROMETHEUS_MULTIPROC_DIR=$(mktemp -d) uvicorn --workers 4 --app-dir examples/observability app:app
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from recloser import Registry
from recloser_adapters.prometheus import make_asgi_app
from recloser_adapters.starlette import BreakerMiddleware, exempt

registry = Registry()
trial = Registry(mode="observe")  # for routes where it is tried first
shop = {"is": "up"}  # represents a database or another service
CAPACITY = asyncio.Semaphore(2)  # requests that the shop can serve at a time while it is slow


async def order(request: Request) -> Response:
    if shop["is"] == "down":
        return PlainTextResponse("the shop is down", 502)
    if shop["is"] == "slow":
        async with CAPACITY:
            await asyncio.sleep(0.1)
    else:
        await asyncio.sleep(0.005)
    return PlainTextResponse(f"order {request.path_params['number']}")


@exempt  # from the middleware: it has a breaker that only observes
async def suggestion(request: Request) -> Response:
    with trial["suggestions"]:
        if shop["is"] == "down":
            raise ConnectionError("the shop is down")
        return PlainTextResponse("buy two")


@exempt  # a switch for repairs must never be refused
async def switch(request: Request) -> Response:
    shop["is"] = request.path_params["state"]
    return PlainTextResponse(f"the shop is {shop['is']}")


app = Starlette(
    routes=[
        Route("/orders/{number}", order),
        Route("/suggestions", suggestion),
        Route("/shop/{state}", switch, methods=["PUT"]),
        Mount("/metrics", make_asgi_app(registry, trial)),
    ]
)
app.add_middleware(BreakerMiddleware, registry=registry)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(app, host="127.0.0.1", port=port)
